//! An actor in a few words, for a person.

use std::os::unix::ffi::OsStrExt;

use crate::event::{Actor, Confidence, Event};
use crate::table::visible;

/// `  by alice: /usr/bin/rm, pid 4711 (exact)`; nothing where nobody asked.
pub fn text(event: &Event) -> String {
    match event.actor.as_deref() {
        Some(actor) => format!("  by {}", one(actor)),
        None => String::new(),
    }
}

fn one(actor: &Actor) -> String {
    if actor.confidence == Confidence::None {
        return "somebody (none)".into();
    }
    let uid = || actor.uid.map(|uid| format!("uid {uid}"));
    let user = actor
        .user
        .as_ref()
        .map(|user| visible(user.as_bytes()))
        .or_else(uid);
    let exe = actor
        .exe
        .as_ref()
        .map(|exe| visible(exe.as_os_str().as_bytes()));
    let kernel = || actor.cmdline.first().map(|name| visible(name.as_bytes()));
    let mut text = user.unwrap_or_else(|| "somebody".into());
    if let Some(exe) = exe.or_else(kernel) {
        text.push_str(": ");
        text.push_str(&exe);
    }
    text.push_str(&format!(", pid {}", actor.pid));
    if let Some(container) = &actor.container {
        let short = container.get(..12).unwrap_or(container);
        text.push_str(&format!(" in {}", visible(short.as_bytes())));
    }
    text.push_str(&format!(" ({})", actor.confidence.text()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_in_words() {
        let mut actor = Actor {
            pid: 7,
            exe: Some("/bin/r\x1bm".into()),
            uid: Some(1001),
            user: Some("alice".into()),
            confidence: Confidence::Exact,
            ..Actor::default()
        };
        assert_eq!(one(&actor), "alice: /bin/r\\x1bm, pid 7 (exact)");
        actor.user = None;
        actor.container = Some("0123456789abcdef".into());
        assert_eq!(
            one(&actor),
            "uid 1001: /bin/r\\x1bm, pid 7 in 0123456789ab (exact)"
        );
        assert_eq!(one(&Actor::of_pid(9)), "somebody, pid 9 (pid)");
        assert_eq!(one(&Actor::default()), "somebody (none)");
    }
}
