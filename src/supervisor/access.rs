//! Who may have a table: the allow and deny files.
//!
//! The allow file exists: only who stands in it. Else the deny file exists:
//! all but who stands in it. Else everyone. A file that exists and cannot be
//! read lets nobody in, because it may have named anybody. Root is no exception.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::config::Config;

/// No list is longer, in bytes.
const MAX_LIST: u64 = 1024 * 1024;

/// Both files as they were when they were read.
#[derive(Clone, Debug)]
pub struct Access {
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Everyone,
    Only(PathBuf, HashSet<Vec<u8>>),
    AllBut(PathBuf, HashSet<Vec<u8>>),
    Nobody(String),
}

impl Access {
    /// Reads the files that `config` names.
    pub fn read(config: &Config) -> Self {
        Self {
            rule: rule(&config.allowed_users, &config.denied_users),
        }
    }

    /// For `incrond --user`: whoever starts it may use it.
    pub fn everyone() -> Self {
        Self {
            rule: Rule::Everyone,
        }
    }

    /// Ok, or the reason why `user` may not, for a person.
    pub fn check(&self, user: &str) -> Result<(), String> {
        match &self.rule {
            Rule::Everyone => Ok(()),
            Rule::Only(_, names) if names.contains(user.as_bytes()) => Ok(()),
            Rule::Only(file, _) => Err(format!("not listed in {}", file.display())),
            Rule::AllBut(file, names) if names.contains(user.as_bytes()) => {
                Err(format!("listed in {}", file.display()))
            }
            Rule::AllBut(..) => Ok(()),
            Rule::Nobody(why) => Err(why.clone()),
        }
    }
}

fn rule(allowed: &Path, denied: &Path) -> Rule {
    match list(allowed) {
        Ok(Some(names)) => return Rule::Only(allowed.to_owned(), names),
        Ok(None) => {}
        Err(error) => return Rule::Nobody(format!("cannot read {}: {error}", allowed.display())),
    }
    match list(denied) {
        Ok(Some(names)) => Rule::AllBut(denied.to_owned(), names),
        Ok(None) => Rule::Everyone,
        Err(error) => Rule::Nobody(format!("cannot read {}: {error}", denied.display())),
    }
}

/// The first word of each line; None when there is no such file.
fn list(path: &Path) -> io::Result<Option<HashSet<Vec<u8>>>> {
    let open = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    let file = match open {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = Vec::new();
    file.take(MAX_LIST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_LIST {
        return Err(io::Error::other("larger than 1 MiB"));
    }
    let first_word = |line: &[u8]| {
        line.split(|b| b.is_ascii_whitespace())
            .find(|word| !word.is_empty())
            .map(<[u8]>::to_vec)
    };
    Ok(Some(
        text.split(|&b| b == b'\n').filter_map(first_word).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }
        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.0.path().join(name), text).unwrap();
        }
        fn check(&self, user: &str) -> Result<(), String> {
            let config = Config {
                allowed_users: self.0.path().join("allow"),
                denied_users: self.0.path().join("deny"),
                ..Config::default()
            };
            Access::read(&config).check(user)
        }
    }

    #[test]
    fn with_neither_file_everyone_may() {
        assert_eq!(Files::new().check("alice"), Ok(()));
    }

    #[test]
    fn the_allow_file_decides_alone() {
        let files = Files::new();
        files.write("allow", "  alice the first\nbob\r\n");
        files.write("deny", "alice\n");
        assert_eq!(files.check("alice"), Ok(()));
        assert_eq!(files.check("bob"), Ok(()));
        assert!(files.check("carol").unwrap_err().contains("not listed"));
        assert!(files.check("root").is_err());
        files.write("allow", "");
        assert!(files.check("alice").is_err());
    }

    #[test]
    fn the_deny_file_decides_where_there_is_no_other() {
        let files = Files::new();
        files.write("deny", "bob\n");
        assert_eq!(files.check("alice"), Ok(()));
        assert!(files.check("bob").unwrap_err().contains("listed in"));
    }

    #[test]
    fn what_cannot_be_read_lets_nobody_in() {
        let files = Files::new();
        std::fs::create_dir(files.0.path().join("allow")).unwrap();
        assert!(
            files
                .check("alice")
                .unwrap_err()
                .contains("not a regular file")
        );
    }
}
