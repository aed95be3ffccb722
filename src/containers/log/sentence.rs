//! The three sentences of podsec-inotify-check-containers, word for word: other
//! programs read them. A part that does not apply is empty and its blank stays.

use std::os::unix::ffi::OsStrExt;

use super::limit::Sum;
use super::{Entry, Severity, Shape, container, label};
use crate::event::Event;
use crate::log::Escaped;
use crate::table::Mask;

/// In which the sentence is; the word before it is English in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    Russian,
}

impl Language {
    /// As the locale for messages says.
    pub fn of_environment() -> Self {
        Self::of(|name| std::env::var(name).ok())
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let names = ["LC_ALL", "LC_MESSAGES", "LANG"];
        let mut set = names.iter().filter_map(|name| variable(name));
        let locale = set.find(|value| !value.is_empty()).unwrap_or_default();
        let language = locale.split(['_', '.', '@']).next();
        match language {
            Some("ru") => Language::Russian,
            _ => Language::English,
        }
    }
}

/// Which part of a container a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Home,
    Configuration,
    Other,
}

/// Of a path inside a container.
pub fn part(path: &[u8]) -> Part {
    if path.starts_with(b"/home/") || path.starts_with(b"/root/") {
        Part::Home
    } else if path.starts_with(b"/etc/") {
        Part::Configuration
    } else {
        Part::Other
    }
}

/// The sentence about an event.
pub fn entry(event: &Event, language: Language, shape: Shape) -> Entry {
    let target = event.target();
    let path = target.as_bytes();
    let (part, severity) = (part(path), Severity::of(path));
    let (events, id) = (events(event.mask), Escaped(container(event).as_bytes()));
    let (word, path) = (prefix(severity), Escaped(path));
    let text = match language {
        Language::English => {
            let place = match part {
                Part::Home => "in home directory",
                Part::Configuration => "in configuration directory",
                Part::Other => "",
            };
            format!(
                "{word}: An event {events} occurred in the container {id} {place} on the file {path}"
            )
        }
        Language::Russian => {
            let place = match part {
                Part::Home => "в домашнем каталоге",
                Part::Configuration => "в каталоге конфигурации",
                Part::Other => "",
            };
            format!("{word}: Событие {events} произошло в контейнере {id} {place} в файле {path}")
        }
    };
    Entry {
        severity,
        time: event.time,
        text,
        fields: fields(event, shape),
    }
}

/// The sentence about events that a limit kept back.
pub fn summary(sum: &Sum, language: Language, shape: Shape) -> Entry {
    let counts: Vec<String> = sum
        .counts
        .iter()
        .map(|(mask, count)| format!("{} {count}", events(Mask(*mask))))
        .collect();
    let (count, counts, seconds) = (sum.count, counts.join("; "), sum.per.as_secs_f64());
    let target = sum.last.target();
    let (id, path) = (
        Escaped(sum.container.as_bytes()),
        Escaped(target.as_bytes()),
    );
    let word = prefix(sum.severity);
    let text = match language {
        Language::English => format!(
            "{word}: {count} more events occurred in the container {id} in {seconds} s \
             ({counts}), the last on the file {path}"
        ),
        Language::Russian => format!(
            "{word}: Ещё {count} событий произошло в контейнере {id} за {seconds} с \
             ({counts}), последнее в файле {path}"
        ),
    };
    Entry {
        severity: sum.severity,
        time: sum.last.time,
        text,
        fields: fields(&sum.last, shape),
    }
}

fn prefix(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "Warning",
        Severity::Critical => "Critical",
    }
}

/// Event names as `%e` of inotifywait(1) has them: its order, and CLOSE beside the
/// two that it stands for.
fn events(mask: Mask) -> String {
    const ORDER: [(Mask, &str); 16] = [
        (Mask::ACCESS, "ACCESS"),
        (Mask::MODIFY, "MODIFY"),
        (Mask::ATTRIB, "ATTRIB"),
        (Mask::CLOSE_WRITE, "CLOSE_WRITE"),
        (Mask::CLOSE_NOWRITE, "CLOSE_NOWRITE"),
        (Mask::OPEN, "OPEN"),
        (Mask::MOVED_FROM, "MOVED_FROM"),
        (Mask::MOVED_TO, "MOVED_TO"),
        (Mask::DELETE, "DELETE"),
        (Mask::CREATE, "CREATE"),
        (Mask::DELETE_SELF, "DELETE_SELF"),
        (Mask::UNMOUNT, "UNMOUNT"),
        (Mask::COMPLETE, "COMPLETE"),
        (Mask::CLOSE, "CLOSE"),
        (Mask::MOVE_SELF, "MOVE_SELF"),
        (Mask::ISDIR, "ISDIR"),
    ];
    let names = ORDER.iter().filter(|(bit, _)| mask.intersects(*bit));
    let names: Vec<&str> = names.map(|(_, name)| *name).collect();
    names.join(",")
}

/// What `journalctl INCRON_CONTAINER=web` finds.
fn fields(event: &Event, shape: Shape) -> Vec<(String, String)> {
    if !shape.fields {
        return Vec::new();
    }
    let labels = ["name", "id", "image", "engine", "owner", "layer", "pod"];
    let labels = labels.into_iter().filter_map(|name| {
        let field = match name {
            "name" => "container".into(),
            name => format!("container_{name}"),
        };
        Some((field, label(event, name)?.to_owned()))
    });
    let mut fields: Vec<(String, String)> = labels.collect();
    fields.push(("event".into(), event.mask.text()));
    let path = Escaped(event.target().as_bytes()).to_string();
    fields.push(("path".into(), path));
    if let Some(actor) = &event.actor {
        fields.push(("actor_pid".into(), actor.pid.to_string()));
        let exe = actor.exe.as_ref().map(|exe| exe.as_os_str().as_bytes());
        fields.extend(exe.map(|exe| ("actor_exe".into(), Escaped(exe).to_string())));
        fields.extend(actor.uid.map(|uid| ("actor_uid".into(), uid.to_string())));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_container() {
        for (path, severity) in [
            ("/home/ann/x", Severity::Warning),
            ("/root/.ssh/authorized_keys", Severity::Warning),
            ("/etc/passwd", Severity::Warning),
            ("/etc", Severity::Critical),
            ("/rooted/x", Severity::Critical),
            ("/usr/etc/x", Severity::Critical),
            ("/home", Severity::Critical),
        ] {
            assert_eq!(Severity::of(path.as_bytes()), severity, "{path}");
        }
    }

    #[test]
    fn names_are_those_of_inotifywait() {
        assert_eq!(events(Mask::CREATE | Mask::ISDIR), "CREATE,ISDIR");
        assert_eq!(events(Mask::CLOSE_WRITE), "CLOSE_WRITE,CLOSE");
        assert_eq!(events(Mask::MOVED_FROM), "MOVED_FROM");
        assert_eq!(events(Mask::CREATE | Mask::MODIFY), "MODIFY,CREATE");
    }

    #[test]
    fn the_first_variable_that_is_set_decides() {
        let of = |all: &'static [(&'static str, &'static str)]| {
            Language::of(|name| {
                let found = all.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[("LANG", "ru_RU.UTF-8")]), Language::Russian);
        assert_eq!(
            of(&[("LANG", "ru_RU.UTF-8"), ("LC_ALL", "C")]),
            Language::English
        );
        assert_eq!(
            of(&[("LC_ALL", ""), ("LC_MESSAGES", "ru")]),
            Language::Russian
        );
        assert_eq!(of(&[("LANG", "run")]), Language::English);
        assert_eq!(of(&[]), Language::English);
    }
}
