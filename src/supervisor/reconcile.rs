//! From table files to workers: what is there, who may, and whose worker it is.
//!
//! Everything that changes (a file, a directory, the allow file, an account)
//! ends here in the same question for each name: is this a table, and whose?

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::accounts::Account;
use super::daemon::Daemon;
use super::logging;
use super::places::How;
use super::process::Owner;
use super::state;
use super::tables::{self, Refusal, Rule, Version};
use super::worker::{TableFile, Worker};
use crate::open_files::named;
use crate::sys::is_being_written;
use crate::worker::protocol::Settings;

/// What a table directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Tables of the system.
    System,
    /// One table a user.
    Spool,
    /// All tables of the one user of `incrond --user`.
    Personal,
}

/// A name of a worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The system's.
    System,
    /// A user's.
    User(String),
}

/// Why a name is no table.
#[derive(Debug)]
pub enum Rejection {
    /// Not meant to be one.
    PassedOver(&'static str),
    /// Meant to be one, but not good.
    Refused(String),
    /// Named after nobody.
    Invalid,
    /// Not there (any more).
    Missing,
}

struct Candidate {
    owner: Owner,
    table: TableFile,
    version: Version,
}

impl Daemon {
    /// The rule for tables that belong to `uid`.
    fn rule(&self, kind: Kind, uid: u32) -> Rule {
        match kind {
            Kind::System => Rule::system(self.euid),
            Kind::Spool => Rule::spool(uid),
            Kind::Personal => Rule::personal(self.euid),
        }
    }

    fn dir(&self, kind: Kind) -> Option<PathBuf> {
        match kind {
            Kind::System => self.config.system_table_dir.clone(),
            Kind::Spool | Kind::Personal => Some(self.config.user_table_dir.clone()),
        }
    }

    /// Whose worker serves a name.
    pub fn key(&self, kind: Kind, name: &str) -> Key {
        match kind {
            Kind::System => Key::System,
            Kind::Spool => Key::User(name.to_owned()),
            Kind::Personal => Key::User(self.me.name.clone()),
        }
    }

    /// Looks at all names of a directory. `force`: tables are sent again even
    /// if their files did not change.
    pub fn scan(&mut self, kind: Kind, force: bool) {
        let Some(dir) = self.dir(kind) else { return };
        let mut names: BTreeSet<OsString> = match list(&dir) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => {
                log::error!(
                    "cannot open directory {} for reading: {}",
                    dir.display(),
                    named(error)
                );
                return;
            }
        };
        names.extend(self.known(kind).into_iter().map(OsString::from));
        for name in names {
            self.look(
                kind,
                &name,
                if force { How::Again } else { How::Attributes },
            );
        }
    }

    fn known(&self, kind: Kind) -> Vec<String> {
        let serves = |key: &Key| (kind == Kind::System) == (*key == Key::System);
        let workers = self.workers.iter().filter(|(key, _)| serves(key));
        workers
            .flat_map(|(_, worker)| worker.tables.keys().cloned())
            .collect()
    }

    /// Looks at one name: serves it, or serves it no more.
    pub fn look(&mut self, kind: Kind, name: &OsStr, how: How) {
        let text = name.to_string_lossy().into_owned();
        let key = self.key(kind, &text);
        let worker = self.workers.get(&key);
        let table = worker.and_then(|worker| worker.tables.get(&text));
        let known = table.is_some();
        let same = |found: &Candidate| {
            worker.is_some_and(|worker| worker.owner == found.owner)
                && table.and_then(|table| table.version) == Some(found.version)
        };
        let what = match kind {
            Kind::Spool => format!("table for user {text}"),
            Kind::System => format!("system table {text}"),
            Kind::Personal => format!("table {text}"),
        };
        match self.assess(kind, name, how) {
            Ok(candidate) => {
                // An install of ours has sent it already.
                if !matches!(how, How::Written | How::Again) && same(&candidate) {
                    return;
                }
                match (self.is_starting(), known, kind) {
                    (true, ..) => log::info!("loading {}", what.trim_start_matches("system ")),
                    (_, true, _) => log::info!("{what} changed, reloading"),
                    (_, false, _) => log::info!("{what} created, loading"),
                }
                self.serve(key, text, candidate);
            }
            Err(Rejection::Missing) if known => {
                log::info!("{what} destroyed, removing");
                self.unserve(&key, &text);
            }
            Err(Rejection::Missing) => {}
            Err(Rejection::PassedOver(why)) => log::debug!("{what} is passed over: {why}"),
            Err(Rejection::Invalid) => {
                log::warn!("table for invalid user {text} found (ignored)");
                self.unserve(&key, &text);
            }
            Err(Rejection::Refused(why)) => {
                let path = self.dir(kind).unwrap_or_default().join(name);
                log::error!("{what} refused: {}: {why}", path.display());
                self.unserve(&key, &text);
            }
        }
    }

    /// Whether a name is a table, and whose worker serves it.
    fn assess(&self, kind: Kind, name: &OsStr, how: How) -> Result<Candidate, Rejection> {
        let dir = self.dir(kind).ok_or(Rejection::Missing)?;
        if let Some(why) = tables::passed_over(name) {
            return Err(Rejection::PassedOver(why));
        }
        let file = name.to_str().ok_or(Rejection::Missing)?.to_owned();
        if kind == Kind::Personal && !file.ends_with(".incron") {
            return Err(Rejection::PassedOver("its name does not end in .incron"));
        }
        // Before the account is looked up: what is gone needs no name service.
        if std::fs::symlink_metadata(dir.join(name))
            .is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
        {
            return Err(Rejection::Missing);
        }
        let owner = self.owner(kind, &file)?;
        let uid = owner
            .account
            .as_ref()
            .map_or(self.euid, |account| account.uid);
        let rule = self.rule(kind, uid);
        if kind == Kind::System {
            tables::trusted_directory(&dir, &rule.owners)
                .map_err(|why| Rejection::Refused(format!("{}: {why}", dir.display())))?;
        }
        match tables::open(&dir, name, &rule) {
            // Half a table must not be loaded, nor take the place of a whole
            // one; the end of its writing is an event of its own.
            Ok(opened) if how != How::Written && is_being_written(opened.file.as_fd()) => {
                Err(Rejection::PassedOver("it is being written"))
            }
            Ok(opened) => {
                let table = TableFile {
                    dir,
                    file,
                    rule,
                    version: None,
                };
                Ok(Candidate {
                    owner,
                    table,
                    version: opened.version,
                })
            }
            Err(Refusal::Missing) => Err(Rejection::Missing),
            Err(why) => Err(Rejection::Refused(why.to_string())),
        }
    }

    fn owner(&self, kind: Kind, file: &str) -> Result<Owner, Rejection> {
        match kind {
            Kind::System => Ok(Owner {
                name: "system".into(),
                system: true,
                account: None,
            }),
            Kind::Personal => Ok(Owner {
                name: self.me.name.clone(),
                system: false,
                account: None,
            }),
            Kind::Spool => self.user(file),
        }
    }

    /// The owner of a user's worker, if that user is one, and may have it.
    fn user(&self, name: &str) -> Result<Owner, Rejection> {
        let refused = |why: String| Err(Rejection::Refused(why));
        let account = match Account::by_name(name) {
            Ok(Some(account)) => account,
            Ok(None) => return Err(Rejection::Invalid),
            Err(error) => {
                return match self.still_known(name) {
                    Some(owner) => Ok(owner),
                    None => refused(format!("cannot look up the user: {error}")),
                };
            }
        };
        if let Err(why) = self.access.check(name) {
            return refused(format!("user '{name}' is not allowed to use incron: {why}"));
        }
        let account = match self.euid {
            0 => Some(account),
            euid if euid == account.uid => None,
            _ => return refused("only root can serve the tables of others".to_owned()),
        };
        Ok(Owner {
            name: name.to_owned(),
            system: false,
            account,
        })
    }

    /// A name service that is away for a moment ends nobody's worker.
    fn still_known(&self, name: &str) -> Option<Owner> {
        let worker = self.workers.get(&Key::User(name.to_owned()))?;
        self.access
            .check(name)
            .is_ok()
            .then(|| worker.owner.clone())
    }

    fn serve(&mut self, key: Key, name: String, candidate: Candidate) {
        if self
            .workers
            .get(&key)
            .is_some_and(|worker| worker.owner != candidate.owner)
        {
            log::warn!("the account of {name} has changed; its worker is started anew");
            self.dismiss(&key);
        }
        let settings = self.settings(&candidate.owner);
        let now = self.clock.now();
        let worker = self
            .workers
            .entry(key)
            .or_insert_with(|| Worker::new(candidate.owner, settings, now));
        worker.put(name, candidate.table);
        worker.reconsider(now);
    }

    fn unserve(&mut self, key: &Key, name: &str) {
        let Some(worker) = self.workers.get_mut(key) else {
            return;
        };
        if worker.take(name) && worker.tables.is_empty() {
            self.dismiss(key);
        }
    }

    /// What a worker is told of the configuration.
    pub fn settings(&self, owner: &Owner) -> Settings {
        Settings {
            owner: owner.name.clone(),
            system: owner.system,
            dialect: self.config.dialect,
            max_jobs: self.config.max_jobs,
            stop_grace: self.config.stop_grace.as_secs(),
            stop_kill: self.config.stop_kill,
            mailer: self.config.mailer.clone(),
            provider_dir: self.config.provider_dir.clone(),
            state: state::file(&self.config.state_dir, owner),
            log: logging::choice(&self.config),
        }
    }
}

fn list(dir: &Path) -> io::Result<BTreeSet<OsString>> {
    std::fs::read_dir(dir)?
        .map(|entry| Ok(entry?.file_name()))
        .collect()
}
