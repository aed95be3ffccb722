//! What the requests of the control socket do, and who may ask for it.

use std::ffi::OsStr;
use std::io::Read;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::accounts::Account;
use super::client::refused;
use super::clients::Asked;
use super::daemon::{Daemon, Phase};
use super::outbox::Order;
use super::places::How;
use super::process::{Owner, Process};
use super::reconcile::{Key, Kind};
use super::spool;
use super::tables::{self, Opened, Refusal, Rule};
use super::waiting::{Waiting, What};
use super::worker::Worker;
use crate::control::{Answer, MAX_TABLE, Request};
use crate::time::Moment;

/// How long an answer waits for a worker to have loaded or dropped a table.
const LOAD_PATIENCE: Duration = Duration::from_secs(5);
/// How long it waits for workers' figures.
const STATUS_PATIENCE: Duration = Duration::from_secs(1);
/// How long it waits for some of a worker's lines.
const LINES_PATIENCE: Duration = Duration::from_secs(5);
/// The table that requests mean under `incrond --user`.
const PERSONAL_TABLE: &str = "incrontab.incron";

enum Reply {
    Now(Answer),
    Later(What, Duration),
}

impl Daemon {
    /// Answers what has been asked, or notes who waits.
    pub(super) fn answer_requests(&mut self) {
        for Asked {
            client,
            uid,
            request,
        } in std::mem::take(&mut self.clients.requests)
        {
            let now = self.clock.now();
            let reply = match self.admit(uid, now).and_then(|()| self.obey(uid, request)) {
                Ok(reply) => reply,
                Err(answer) => Reply::Now(answer),
            };
            match reply {
                Reply::Now(answer) => self.clients.answer(client, &answer, &self.poll, now),
                Reply::Later(what, patience) => {
                    self.waiting.push(Waiting {
                        client,
                        until: now + patience,
                        what,
                    });
                }
            }
        }
    }

    fn admit(&mut self, uid: u32, now: Moment) -> Result<(), Answer> {
        if self.phase == Phase::Stopping {
            return Err(refused("busy", "incrond is stopping"));
        }
        match self.rate.admit(uid, now) {
            true => Ok(()),
            false => Err(refused(
                "busy",
                "too many requests to incrond; wait a moment",
            )),
        }
    }

    fn obey(&mut self, uid: u32, request: Request) -> Result<Reply, Answer> {
        let user = match &request {
            Request::Install { user, .. }
            | Request::Get { user }
            | Request::Remove { user, .. }
            | Request::Reload { user } => user.clone(),
            Request::Status => return Ok(self.ask_figures(uid)),
            Request::Lines {
                owner,
                system,
                after,
            } => return self.ask_lines(uid, owner, *system, *after),
        };
        let account = self.permit(uid, &user)?;
        let changes = matches!(request, Request::Install { .. } | Request::Reload { .. });
        if uid != 0 || changes {
            self.access.check(&user).map_err(|why| {
                refused(
                    "denied",
                    &format!("user '{user}' is not allowed to use incron: {why}"),
                )
            })?;
        }
        match request {
            Request::Install { table, expect, .. } => {
                self.compare(&account, expect.as_deref())?;
                self.install(&account, &table)
            }
            Request::Get { .. } => self.get(&account).map(Reply::Now),
            Request::Remove { expect, .. } => {
                self.compare(&account, expect.as_deref())?;
                self.remove(&account)
            }
            _ => self.load_again(&account),
        }
    }

    /// One's own table, or root any.
    fn permit(&self, uid: u32, user: &str) -> Result<Account, Answer> {
        let account = match Account::by_name(user) {
            Ok(Some(account)) if account.name == user => account,
            Ok(_) => return Err(refused("unknown_user", &format!("user '{user}' not found"))),
            Err(error) => {
                let message = format!("cannot look up user '{user}': {error}");
                return Err(refused("failed", &message));
            }
        };
        if uid != 0 && uid != account.uid {
            let message = format!("cannot override user to '{user}': insufficient privileges");
            return Err(refused("permission", &message));
        }
        if self.config.personal && account.uid != self.euid {
            let message = format!("this incrond serves only user '{}'", self.me.name);
            return Err(refused("permission", &message));
        }
        // It becomes a file name; an account that is none cannot have a table.
        if tables::passed_over(OsStr::new(user)).is_some() || user.contains('/') {
            let message = format!("user '{user}' cannot have a table: the name cannot be a file's");
            return Err(refused("unknown_user", &message));
        }
        Ok(account)
    }

    fn kind(&self) -> Kind {
        if self.config.personal {
            Kind::Personal
        } else {
            Kind::Spool
        }
    }

    fn file(&self, account: &Account) -> String {
        if self.config.personal {
            PERSONAL_TABLE.to_owned()
        } else {
            account.name.clone()
        }
    }

    fn install(&mut self, account: &Account, table: &str) -> Result<Reply, Answer> {
        let text = BASE64.decode(table).map_err(|error| {
            refused("bad_request", &format!("the table is not base64: {error}"))
        })?;
        if text.len() > MAX_TABLE {
            let message = format!("the table has {} bytes, more than {MAX_TABLE}", text.len());
            return Err(refused("too_large", &message));
        }
        let file = self.file(account);
        spool::install(&self.config.user_table_dir, &file, &text).map_err(|error| {
            log::error!("cannot install the table of user {}: {error}", account.name);
            refused("failed", &format!("cannot install the table: {error}"))
        })?;
        self.load_again(account)
    }

    fn open(&self, account: &Account) -> Result<Opened, Refusal> {
        let rule = match self.config.personal {
            true => Rule::personal(self.euid),
            false => Rule::spool(account.uid),
        };
        let file = self.file(account);
        tables::open(&self.config.user_table_dir, OsStr::new(&file), &rule)
    }

    /// Ok where the table is the one the client has seen. Only we write it on
    /// request, so none can come between this and the change that follows.
    fn compare(&self, account: &Account, expect: Option<&str>) -> Result<(), Answer> {
        let Some(expect) = expect else { return Ok(()) };
        let same = match self.open(account) {
            Ok(opened) => opened.version.to_string() == expect,
            Err(Refusal::Missing) => expect.is_empty(),
            Err(_) => false,
        };
        let changed = || refused("changed", "the table was changed by someone else");
        same.then_some(()).ok_or_else(changed)
    }

    fn get(&self, account: &Account) -> Result<Answer, Answer> {
        let Opened { file, version } = match self.open(account) {
            Ok(opened) => opened,
            Err(Refusal::Missing) => return Ok(Answer::NoTable),
            Err(why) => return Err(refused("failed", &format!("cannot read the table: {why}"))),
        };
        let mut text = Vec::new();
        file.take(MAX_TABLE as u64)
            .read_to_end(&mut text)
            .map_err(|error| refused("failed", &format!("cannot read the table: {error}")))?;
        Ok(Answer::Table {
            table: BASE64.encode(text),
            version: version.to_string(),
        })
    }

    /// The answer comes when the worker runs nothing of the table any more.
    fn remove(&mut self, account: &Account) -> Result<Reply, Answer> {
        let file = self.file(account);
        let worker = self.workers.get(&self.key(self.kind(), &file));
        let process = worker.and_then(|worker| worker.process.as_ref());
        let process = process.map_or(0, |process| process.id);
        match spool::remove(&self.config.user_table_dir, &file) {
            Ok(true) => {
                self.look(self.kind(), OsStr::new(&file), How::Gone);
                let awaited = |process: &Process| process.outbox.awaited(&file);
                let number = self.held(process).map_or(0, awaited);
                let what = What::Drop {
                    process,
                    table: file,
                    number,
                };
                Ok(Reply::Later(what, LOAD_PATIENCE))
            }
            Ok(false) => Ok(Reply::Now(Answer::NoTable)),
            Err(error) => Err(refused(
                "failed",
                &format!("cannot remove the table: {error}"),
            )),
        }
    }

    /// Has the worker load the table now; the answer comes when it has.
    fn load_again(&mut self, account: &Account) -> Result<Reply, Answer> {
        let file = self.file(account);
        if !self.config.user_table_dir.join(&file).exists() {
            return Ok(Reply::Now(Answer::NoTable));
        }
        self.look(self.kind(), OsStr::new(&file), How::Written);
        let key = self.key(self.kind(), &file);
        if !self
            .workers
            .get(&key)
            .is_some_and(|worker| worker.tables.contains_key(&file))
        {
            return Err(refused(
                "failed",
                "the table was refused; the log of incrond says why",
            ));
        }
        let what = What::Load {
            key,
            table: file,
            process: 0,
            number: 0,
            result: None,
        };
        Ok(Reply::Later(what, LOAD_PATIENCE))
    }

    /// Whether the figures of a worker are for `uid`: root, or the owner.
    fn may_see(&self, uid: u32, owner: &Owner) -> bool {
        let account = owner.account.as_ref();
        let own = account.map_or(self.euid, |account| account.uid);
        uid == 0 || (uid == own && !owner.system)
    }

    fn ask_lines(
        &mut self,
        uid: u32,
        name: &str,
        system: bool,
        after: u32,
    ) -> Result<Reply, Answer> {
        let of_it = |worker: &&Worker| worker.owner.system == system && worker.owner.name == name;
        let worker = self.workers.values().find(of_it);
        // Who may not see it does not learn whether it is there.
        if !worker.map_or(uid == 0, |worker| self.may_see(uid, &worker.owner)) {
            let message = format!("the lines of '{name}' are not yours to see");
            return Err(refused("permission", &message));
        }
        let process = self
            .workers
            .values_mut()
            .find(|worker| worker.owner.system == system && worker.owner.name == name)
            .and_then(|worker| worker.process.as_mut())
            .ok_or_else(|| refused("failed", &format!("'{name}' has no worker now")))?;
        if !process.outbox.ask_lines(after) {
            return Err(refused("busy", "too many ask for these lines; try again"));
        }
        let what = What::Lines {
            process: process.id,
            after,
            page: None,
        };
        Ok(Reply::Later(what, LINES_PATIENCE))
    }

    fn ask_figures(&mut self, uid: u32) -> Reply {
        let mut keys = Vec::new();
        let mut asked = Vec::new();
        let seen: Vec<Key> = self
            .workers
            .iter()
            .filter(|(_, worker)| self.may_see(uid, &worker.owner))
            .map(|(key, _)| key.clone())
            .collect();
        for key in seen {
            let Some(worker) = self.workers.get_mut(&key) else {
                continue;
            };
            keys.push(key);
            if let Some(process) = &mut worker.process {
                process.status = None;
                process.outbox.push(Order::Status);
                asked.push(process.id);
            }
        }
        Reply::Later(What::Figures { keys, asked }, STATUS_PATIENCE)
    }
}
