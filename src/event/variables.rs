//! The INCRON_ variables of a run: what the shell form of a command refers to, and
//! what any command may read. incron-events(7) documents them.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::{Event, EventContext};

impl Event {
    /// Appends the variables for this event. The caller sees to it that they stand in
    /// place of any others of the same names.
    pub fn variables(&self, context: &EventContext<'_>, out: &mut Vec<(OsString, OsString)>) {
        let mut time = String::with_capacity(30);
        super::time::push(&mut time, self.time);
        let old = self
            .old_path
            .as_ref()
            .map(|p| p.clone().into_os_string())
            .unwrap_or_default();
        out.extend([
            ("INCRON_WATCH".into(), self.watch.clone()),
            ("INCRON_FILE".into(), self.name.clone()),
            ("INCRON_TARGET".into(), self.target()),
            ("INCRON_EVENT".into(), self.mask.text().into()),
            ("INCRON_MASK".into(), self.mask.0.to_string().into()),
            ("INCRON_OLD".into(), old),
            ("INCRON_TIME".into(), time.into()),
            ("INCRON_TABLE".into(), context.table.into()),
            ("INCRON_LINE".into(), context.line.to_string().into()),
            ("INCRON_KEY".into(), context.key.into()),
        ]);
        if let Some(actor) = &self.actor {
            let number = |id: Option<u32>| id.map(|id| OsString::from(id.to_string()));
            let text = |text: &Option<String>| text.clone().map(OsString::from);
            let words = |words: &[OsString]| (!words.is_empty()).then(|| quoted(words));
            let variables: [(&str, Option<OsString>); 13] = [
                ("INCRON_PID", Some(actor.pid.to_string().into())),
                ("INCRON_PPID", actor.ppid.map(|pid| pid.to_string().into())),
                ("INCRON_UID", number(actor.uid)),
                ("INCRON_USER", text(&actor.user)),
                ("INCRON_GID", number(actor.gid)),
                ("INCRON_EXE", actor.exe.clone().map(OsString::from)),
                ("INCRON_CMDLINE", words(&actor.cmdline)),
                ("INCRON_LOGIN", text(&actor.login)),
                ("INCRON_LOGIN_UID", number(actor.login_uid)),
                ("INCRON_SESSION", number(actor.session)),
                ("INCRON_CGROUP", text(&actor.cgroup)),
                ("INCRON_CONTAINER", text(&actor.container)),
                ("INCRON_CONFIDENCE", Some(actor.confidence.text().into())),
            ];
            out.extend(
                variables
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.into(), value?))),
            );
        }
        for (name, value) in self.labels.iter().flat_map(|labels| labels.iter()) {
            // A NUL would end the value early in the command's environment.
            out.push((label_variable(name).into(), value.replace('\0', "").into()));
        }
    }
}

/// Words as a shell would need them. They are bytes, and stay what they are.
fn quoted(words: &[OsString]) -> OsString {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"%+,-./:=@_".contains(b);
    let mut text = Vec::new();
    for word in words.iter().map(|word| word.as_bytes()) {
        if !text.is_empty() {
            text.push(b' ');
        }
        if !word.is_empty() && word.iter().all(plain) {
            text.extend_from_slice(word);
            continue;
        }
        text.push(b'\'');
        for byte in word {
            match byte {
                b'\'' => text.extend_from_slice(b"'\\''"),
                byte => text.push(*byte),
            }
        }
        text.push(b'\'');
    }
    OsString::from_vec(text)
}

/// `INCRON_LABEL_` and the label's name in capitals, `_` for what a name cannot hold.
fn label_variable(label: &str) -> String {
    let mut name = String::from("INCRON_LABEL_");
    name.extend(label.chars().map(|c| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    }));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell() {
        let words = ["a/b", "", "c d", "it's", "é"].map(OsString::from);
        let text = quoted(&words).into_string().unwrap();
        assert_eq!(text, "a/b '' 'c d' 'it'\\''s' 'é'");
        assert_eq!(
            shell_words::split(&text).unwrap(),
            ["a/b", "", "c d", "it's", "é"]
        );
        let raw = OsString::from_vec(vec![0xff]);
        assert_eq!(quoted(&[raw]).as_bytes(), b"'\xff'");
    }

    #[test]
    fn names_of_labels() {
        assert_eq!(label_variable("image-Id"), "INCRON_LABEL_IMAGE_ID");
        assert_eq!(label_variable("é=\0"), "INCRON_LABEL____");
    }
}
