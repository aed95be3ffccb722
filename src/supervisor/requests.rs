//! What the requests of the control socket do, and who may ask for it.

use std::ffi::OsStr;
use std::io::Read;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

use super::accounts::Account;
use super::clients::{Asked, refused};
use super::daemon::Daemon;
use super::outbox::Order;
use super::places::How;
use super::reconcile::{Key, Kind};
use super::spool;
use super::tables::{self, Refusal, Rule};
use super::worker::Worker;
use crate::control::{Answer, MAX_TABLE, Request};
use crate::time::Moment;

/// How long an answer waits for a worker to have loaded a table.
const LOAD_PATIENCE: Duration = Duration::from_secs(5);
/// How long it waits for workers' figures.
const STATUS_PATIENCE: Duration = Duration::from_secs(1);
/// The table that requests mean under `incrond --user`.
const PERSONAL_TABLE: &str = "incrontab.incron";

/// A client whose answer depends on workers.
#[derive(Debug)]
pub struct Waiting {
    client: u64,
    /// Then it gets what is known.
    pub until: Moment,
    what: What,
}

#[derive(Debug)]
enum What {
    /// For the answer of this number about a table.
    Load {
        key: Key,
        table: String,
        process: u64,
        number: u64,
        result: Option<(u32, u32)>,
    },
    /// For the figures of these processes.
    Figures { keys: Vec<Key>, asked: Vec<u64> },
}

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
            let reply = match self.obey(uid, request) {
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

    fn obey(&mut self, uid: u32, request: Request) -> Result<Reply, Answer> {
        let user = match &request {
            Request::Install { user, .. }
            | Request::Get { user }
            | Request::Remove { user }
            | Request::Reload { user } => user.clone(),
            Request::Status => return Ok(self.ask_figures(uid)),
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
            Request::Install { table, .. } => self.install(&account, &table),
            Request::Get { .. } => self.get(&account).map(Reply::Now),
            Request::Remove { .. } => self.remove(&account).map(Reply::Now),
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

    fn get(&self, account: &Account) -> Result<Answer, Answer> {
        let dir = &self.config.user_table_dir;
        let rule = Rule {
            owners: vec![account.uid, 0, self.euid],
            one_name: !self.config.personal,
            links: self.config.personal,
        };
        let file = match tables::open(dir, OsStr::new(&self.file(account)), &rule) {
            Ok(opened) => opened.file,
            Err(Refusal::Missing) => return Ok(Answer::NoTable),
            Err(why) => return Err(refused("failed", &format!("cannot read the table: {why}"))),
        };
        let mut text = Vec::new();
        file.take(MAX_TABLE as u64)
            .read_to_end(&mut text)
            .map_err(|error| refused("failed", &format!("cannot read the table: {error}")))?;
        Ok(Answer::Table {
            table: BASE64.encode(text),
        })
    }

    fn remove(&mut self, account: &Account) -> Result<Answer, Answer> {
        let file = self.file(account);
        match spool::remove(&self.config.user_table_dir, &file) {
            Ok(true) => {
                self.look(self.kind(), OsStr::new(&file), How::Gone);
                Ok(Answer::Done {
                    lines: None,
                    errors: None,
                })
            }
            Ok(false) => Ok(Answer::NoTable),
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
        let key = Key::User(account.name.clone());
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

    fn ask_figures(&mut self, uid: u32) -> Reply {
        let mut keys = Vec::new();
        let mut asked = Vec::new();
        for (key, worker) in &mut self.workers {
            let own = worker
                .owner
                .account
                .as_ref()
                .map_or(self.euid, |account| account.uid);
            if uid != 0 && (uid != own || worker.owner.system) {
                continue;
            }
            keys.push(key.clone());
            if let Some(process) = &mut worker.process {
                process.status = None;
                process.outbox.push(Order::Status);
                asked.push(process.id);
            }
        }
        Reply::Later(What::Figures { keys, asked }, STATUS_PATIENCE)
    }

    /// A worker has answered for a table.
    pub(super) fn loaded(&mut self, id: u64, table: &str, lines: u32, errors: u32) {
        for waiting in &mut self.waiting {
            if let What::Load {
                table: wanted,
                process,
                result,
                ..
            } = &mut waiting.what
                && *process == id
                && wanted == table
            {
                *result = Some((lines, errors));
            }
        }
    }

    /// Answers those whose workers have spoken, or who have waited enough.
    pub(super) fn answer_waiting(&mut self) {
        let now = self.clock.now();
        for mut waiting in std::mem::take(&mut self.waiting) {
            let done = self.is_answerable(&mut waiting.what) || waiting.until <= now;
            if done {
                let answer = self.final_answer(&waiting.what);
                self.clients
                    .answer(waiting.client, &answer, &self.poll, now);
            } else {
                self.waiting.push(waiting);
            }
        }
    }

    fn is_answerable(&self, what: &mut What) -> bool {
        match what {
            What::Load {
                key,
                table,
                process: id,
                number,
                result,
            } => {
                let process = self
                    .workers
                    .get(key)
                    .and_then(|worker| worker.process.as_ref());
                let Some(process) = process else { return false };
                // The first look, or another process since: count anew.
                if process.id != *id {
                    (*id, *number, *result) = (process.id, process.outbox.awaited(table), None);
                }
                process.outbox.answered(table) >= *number && result.is_some()
            }
            What::Figures { keys, asked } => keys
                .iter()
                .filter_map(|key| self.workers.get(key)?.process.as_ref())
                .all(|process| process.status.is_some() || !asked.contains(&process.id)),
        }
    }

    fn final_answer(&self, what: &What) -> Answer {
        match what {
            What::Load { result, .. } => Answer::Done {
                lines: result.map(|(lines, _)| lines),
                errors: result.map(|(_, errors)| errors),
            },
            What::Figures { keys, .. } => Answer::Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                workers: keys
                    .iter()
                    .filter_map(|key| self.workers.get(key))
                    .map(figures)
                    .collect(),
            },
        }
    }
}

/// One worker, for `Answer::Status`.
fn figures(worker: &Worker) -> serde_json::Value {
    let process = worker.process.as_ref();
    let state = match process {
        Some(process) if process.ready => "running",
        Some(_) => "starting",
        None => "waiting",
    };
    let mut object = json!({
        "owner": worker.owner.name,
        "system": worker.owner.system,
        "state": state,
        "pid": process.map(|process| process.pid()),
        "restarts": worker.restarts,
        "malformed": process.map_or(0, |process| process.malformed),
    });
    let status = process.and_then(|process| process.status.as_ref());
    if let Some(serde_json::Value::Object(status)) =
        status.and_then(|s| serde_json::to_value(s).ok())
        && let Some(object) = object.as_object_mut()
    {
        object.extend(status);
    }
    object
}
