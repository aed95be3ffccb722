//! conmon, the process that podman and CRI-O leave beside each container: its words
//! name the container, and where its files are.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::containers::process::{self, Pid};

/// What a conmon was started for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitor {
    /// The container's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where its config.json is.
    pub bundle: PathBuf,
    /// The file that gets the number of its first process.
    pub pidfile: PathBuf,
}

impl Monitor {
    /// What the process `pid` is started for; None where it is no conmon.
    pub fn of(pid: Pid) -> Option<Monitor> {
        match process::comm(pid) == "conmon" {
            true => Monitor::parse(process::words(pid)),
            false => None,
        }
    }

    fn parse(words: Vec<OsString>) -> Option<Monitor> {
        let mut words = words.into_iter();
        let (mut id, mut name, mut bundle, mut pidfile) = (None, None, None, None);
        while let Some(word) = words.next() {
            let place = match word.to_str() {
                Some("-c" | "--cid") => &mut id,
                Some("-n" | "--name") => &mut name,
                Some("-b" | "--bundle") => &mut bundle,
                Some("-p" | "--container-pidfile") => &mut pidfile,
                // What follows is a word of another program.
                Some("--exit-command-arg" | "--runtime-arg") => {
                    let _ = words.next();
                    continue;
                }
                _ => continue,
            };
            if place.is_none() {
                *place = words.next();
            }
        }
        let text = |word: OsString| word.to_string_lossy().into_owned();
        Some(Monitor {
            id: text(id?),
            name: name.map(text).unwrap_or_default(),
            bundle: PathBuf::from(bundle?),
            pidfile: PathBuf::from(pidfile?),
        })
        .filter(|monitor| monitor.bundle.is_absolute() && monitor.pidfile.is_absolute())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Monitor> {
        Monitor::parse(line.split(' ').map(OsString::from).collect())
    }

    #[test]
    fn the_words_of_podman() {
        let line = "conmon --api-version 1 -c aa -u aa -r /usr/bin/runc -b /s/overlay-containers/aa/userdata \
            -p /r/overlay-containers/aa/userdata/pidfile -n c1 --exit-command-arg -p --exit-command-arg /x";
        let monitor = parse(line).unwrap();
        assert_eq!((&*monitor.id, &*monitor.name), ("aa", "c1"));
        assert_eq!(
            monitor.bundle,
            PathBuf::from("/s/overlay-containers/aa/userdata")
        );
        assert_eq!(
            monitor.pidfile,
            PathBuf::from("/r/overlay-containers/aa/userdata/pidfile")
        );
    }

    #[test]
    fn others_are_none() {
        for line in [
            "",
            "conmon",
            "conmon -c",
            "conmon -c a -b b -p /c",
            "conmon -c a -b /b",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
