//! The keys of incron.conf: one table that parser, warnings and a test of the
//! manual page share.

use super::Config;
use super::value::{boolean, count, dialect, duration, file_name, keep, listen, log, path, text};

/// Puts a value into the configuration, or says what would be right.
type Set = fn(&mut Config, &[u8]) -> Result<(), String>;

pub(super) struct Key {
    pub name: &'static str,
    pub set: Set,
    /// What the key is for comes with a later version.
    pub later: bool,
}

const fn key(name: &'static str, set: Set) -> Key {
    Key {
        name,
        set,
        later: false,
    }
}

const fn later(name: &'static str, set: Set) -> Key {
    Key {
        name,
        set,
        later: true,
    }
}

pub(super) const KEYS: &[Key] = &[
    key("system_table_dir", |c, v| {
        path(v).map(|p| c.system_table_dir = Some(p))
    }),
    key("user_table_dir", |c, v| {
        path(v).map(|p| c.user_table_dir = p)
    }),
    key("allowed_users", |c, v| path(v).map(|p| c.allowed_users = p)),
    key("denied_users", |c, v| path(v).map(|p| c.denied_users = p)),
    key("lockfile_dir", |c, v| path(v).map(|p| c.lockfile_dir = p)),
    key("lockfile_name", |c, v| {
        file_name(v).map(|n| c.lockfile_name = n)
    }),
    key("mailer", |c, v| path(v).map(|p| c.mailer = p)),
    key("editor", |c, v| text(v).map(|t| c.editor = t.to_owned())),
    key("control_socket", |c, v| {
        path(v).map(|p| c.control_socket = p)
    }),
    key("state_dir", |c, v| path(v).map(|p| c.state_dir = p)),
    key("provider_dir", |c, v| path(v).map(|p| c.provider_dir = p)),
    key("log", |c, v| log(v).map(|l| c.log = l)),
    key("syslog_socket", |c, v| path(v).map(|p| c.syslog_socket = p)),
    key("dialect", |c, v| dialect(v).map(|d| c.dialect = d)),
    key("max_jobs", |c, v| count(v).map(|n| c.max_jobs = n)),
    key("stop_grace", |c, v| duration(v).map(|d| c.stop_grace = d)),
    key("stop_kill", |c, v| boolean(v).map(|b| c.stop_kill = b)),
    later("metrics_listen", |c, v| {
        listen(v).map(|l| c.metrics_listen = l)
    }),
    later("journal_keep", |c, v| keep(v).map(|k| c.journal_keep = k)),
];

/// The key that `word` was probably meant to be.
pub(super) fn nearest(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    KEYS.iter()
        .map(|key| (strsim::damerau_levenshtein(&word, key.name), key.name))
        .min()
        .filter(|(distance, name)| *distance <= name.len() / 3)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_has_every_key_and_no_other() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/man/incron.conf.5");
        let text = std::fs::read_to_string(path).unwrap();
        let documented: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix(".It Cm "))
            .collect();
        let known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(documented, known);
        for key in KEYS {
            let about = text
                .split(&format!(".It Cm {}\n", key.name))
                .nth(1)
                .unwrap();
            let about = about.split(".It Cm").next().unwrap();
            assert_eq!(
                about.contains("Without effect in this version"),
                key.later,
                "{}",
                key.name
            );
            assert!(about.contains("Default"), "{}", key.name);
        }
    }

    #[test]
    fn near_misses_are_recognised() {
        assert_eq!(nearest("lockfile-dir"), Some("lockfile_dir"));
        assert_eq!(nearest("Editor"), Some("editor"));
        assert_eq!(nearest("xyzzy"), None);
    }
}
