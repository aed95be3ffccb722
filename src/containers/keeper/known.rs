//! What a keeper makes of one file: a container that runs, one that does not, or
//! nothing.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{EpollEvent, EpollFlags};

use super::{Keeper, LONGEST, LOOKS, Running, TRIES, pause};
use crate::containers::container::Container;
use crate::containers::describe::{Found, Unclear, asleep, describe, owner};
use crate::containers::files;
use crate::containers::process::Pid;
use crate::containers::say;
use crate::containers::store::Kind;
use crate::log::Escaped;
use crate::sys;

impl Keeper {
    /// Looks at one file with a process number.
    pub(super) fn check(&mut self, file: &Path, tries: u32) {
        if self.kind(file) == Some(Kind::Stored) {
            return self.check_asleep(file);
        }
        // Half a number is followed by the event of its end.
        let number = files::text(file, 64).ok();
        let Some(pid) = number.and_then(|text| text.trim().parse::<Pid>().ok()) else {
            return;
        };
        let known = self
            .running
            .get(file)
            .map(|one| (one.pid, one.container.complete));
        match known {
            Some((same, true)) if same == pid => return,
            Some((same, false)) if same == pid => {}
            Some(_) => self.ended(file),
            None => {}
        }
        let Some(kind) = self.kind(file).filter(|_| pid > 1) else {
            return;
        };
        let Ok(pidfd) = sys::pidfd_of(pid) else {
            return; // it has ended already
        };
        let found = Found {
            file,
            kind,
            pid,
            owner: self.uid,
        };
        match describe(&found, self.settings.layers) {
            // The number may have become another's while we read.
            _ if has_ended(&pidfd) => {}
            Ok(container) => self.add(file, pidfd, container, tries),
            Err(Unclear::NotYet(_) | Unclear::Stray(_) | Unclear::Closed(_))
                if known.is_none() && tries < LOOKS =>
            {
                self.later(file, tries, pause(tries).min(LONGEST));
            }
            Err(Unclear::Gone(_) | Unclear::Stray(_)) => {}
            Err(Unclear::Closed(_)) if known.is_some() => {} // what was told of it stays
            Err(error) => {
                let file = Escaped(file.as_os_str().as_encoded_bytes()).to_string();
                let what = match error {
                    Unclear::Closed(_) => "stands for a container that is not told",
                    _ => "is not believed",
                };
                say(&format!("{file} {what}: {error}"));
            }
        }
    }

    fn kind(&self, file: &Path) -> Option<Kind> {
        let mut bases = self.bases.iter();
        bases
            .find(|store| store.pattern().matches(file))
            .map(|store| store.kind)
    }

    fn add(&mut self, file: &Path, pidfd: OwnedFd, container: Container, tries: u32) {
        let engines = &self.settings.engines;
        if !engines.is_empty() && !engines.contains(&container.engine) {
            return;
        }
        // The looks that it took to be clear do not count.
        let is_known = self.running.contains_key(file);
        let tries = if is_known { tries } else { 0 };
        if !container.complete && tries < TRIES {
            self.later(file, tries, pause(tries));
        }
        if let Some(known) = self.running.get_mut(file) {
            if known.container != container {
                self.teller.form().added(&container);
                known.container = container;
            }
            return;
        }
        let token = self.next;
        self.next += 1;
        let watched = self
            .epoll
            .add(&pidfd, EpollEvent::new(EpollFlags::EPOLLIN, token));
        if let Err(error) = watched {
            return say(&format!("a container is left out: {error}"));
        }
        self.tokens.insert(token, file.to_owned());
        if let Some(lost) = container.watched.lost {
            let name = Escaped(container.name.as_bytes()).to_string();
            say(&format!("{name} of {}: {lost}", container.owner.name));
        }
        self.teller.form().added(&container);
        let running = Running {
            pid: container.pid,
            pidfd,
            token,
            container,
        };
        self.running.insert(file.to_owned(), running);
    }

    pub(super) fn ended(&mut self, file: &Path) {
        if let Some(one) = self.running.remove(file) {
            self.tokens.remove(&one.token);
            let _ = self.epoll.delete(&one.pidfd);
            let key = one.container.key();
            let mut asleep = self.asleep.values();
            match asleep.find_map(|all| all.get(&key)) {
                Some(stored) => self.teller.form().added(stored),
                None => self.teller.form().removed(&key),
            }
        }
    }

    /// Looks at a list of all that is stored.
    fn check_asleep(&mut self, file: &Path) {
        let Some(all) = asleep(file, &owner(self.uid), self.settings.asked) else {
            return; // half written: the event of its end follows
        };
        let now: HashMap<String, Container> = all.into_iter().map(|one| (one.key(), one)).collect();
        let before = self.asleep.remove(file).unwrap_or_default();
        let runs = |key: &String| self.running.values().any(|one| one.container.key() == *key);
        for (key, container) in now.iter().filter(|(key, _)| !runs(key)) {
            if before.get(key) != Some(container) {
                self.teller.form().added(container);
            }
        }
        for key in before.keys() {
            if !now.contains_key(key) && !runs(key) {
                self.teller.form().removed(key);
            }
        }
        self.asleep.insert(file.to_owned(), now);
    }
}

fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}
