//! The lines a worker serves: which events they want, and what they share.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::Duration;

use super::account::{self, AccountError};
use super::environment;
use super::filters::Filters;
use super::status::{Record, Run};
use crate::event::{Event, EventContext, LineId, LineIds};
use crate::run::{Identity, Outcome};
use crate::schedule::{RunId, stream};
use crate::table::{Line, Options, Wanted, WhoFilter};
use crate::watch::Request;

/// One served line.
pub struct Served {
    /// As parsed.
    pub line: Line,
    /// Its table's name.
    pub table: Rc<str>,
    host: Rc<str>,
    /// `by=` and `exe=`, where it has them.
    who: Option<Box<WhoFilter>>,
    /// The environment of its commands, but for what differs from event to event.
    pub env: Environment,
    /// Who its commands run as, where `user=` or `group=` says so.
    pub identity: Option<Identity>,
    /// What an operator may ask of its past.
    pub record: Record,
}

/// All lines of a worker, by number and by table.
#[derive(Default)]
pub struct Lines {
    by_id: HashMap<LineId, Served>,
    tables: BTreeMap<Rc<str>, Vec<LineId>>,
    last: u32,
    filters: Filters,
}

/// What a reload changes.
#[derive(Default)]
pub struct Change {
    /// Lines that are new; to be watched first.
    pub added: Vec<LineId>,
    /// Lines that go; to be given up after the new ones are watched.
    pub removed: Vec<LineId>,
    /// Lines that stay as they are, perhaps at another place in the table.
    pub kept: Vec<LineId>,
}

impl Lines {
    /// Decides which lines of those that the source reported an event for run their
    /// commands: their filters must want the path.
    pub fn wanting(&mut self, lines: &LineIds, event: &Event, wanting: &mut Vec<LineId>) {
        self.filters.wanting(lines, event, wanting);
    }

    /// A line that wants an event for its path gets it, if it wants it for its actor.
    /// False: it does not, or there is no such line any more.
    pub fn given(&mut self, id: LineId, event: &Event) -> bool {
        let Some(served) = self.by_id.get_mut(&id) else {
            return false; // the line went while its event was on the way
        };
        if let Some(filter) = &served.who {
            let actor = event.actor.as_deref();
            let exe = actor.and_then(|actor| actor.exe.as_deref());
            let wanted = filter.wants(
                actor.and_then(|actor| actor.uid),
                actor.and_then(|actor| actor.user.as_deref()),
                exe.map(|exe| exe.as_os_str().as_bytes()),
            );
            served.record.unknown += u64::from(wanted == Wanted::Unknown);
            if wanted != Wanted::Yes {
                return false;
            }
        }
        served.record.events += 1;
        true
    }

    /// Decides, and gives it if so, for a line on the paths of a provider, whose is the
    /// first `own` bytes of the event's path.
    pub fn wants_below(&mut self, id: LineId, event: &Event, own: usize) -> bool {
        self.filters.want_below(id, event, own) && self.given(id, event)
    }

    /// An event that an earlier worker saved comes back to a line.
    pub fn resumed(&mut self, id: LineId) {
        if let Some(served) = self.by_id.get_mut(&id) {
            served.record.events += 1;
        }
    }

    /// A run of a line has started.
    pub fn started(&mut self, id: LineId, run: RunId, pid: i32) {
        if let Some(served) = self.by_id.get_mut(&id) {
            served.record.runs += 1;
            served.record.last = Some(Run::started(run, pid));
        }
    }

    /// A run of a line has ended.
    pub fn ended(&mut self, id: LineId, run: RunId, outcome: Outcome, duration: Duration) {
        let last = self
            .by_id
            .get_mut(&id)
            .and_then(|served| served.record.last.as_mut())
            .filter(|last| last.run == run);
        if let Some(last) = last {
            last.end = Some((outcome, duration));
        }
    }

    /// The numbers of all lines after `after`, in order.
    pub fn ids_after(&self, after: LineId) -> Vec<LineId> {
        let mut ids: Vec<LineId> = self
            .by_id
            .keys()
            .copied()
            .filter(|id| *id > after)
            .collect();
        ids.sort_unstable();
        ids
    }

    /// A served line.
    pub fn get(&self, id: LineId) -> Option<&Served> {
        self.by_id.get(&id)
    }

    /// How many lines are served.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How many tables are loaded.
    pub fn tables(&self) -> usize {
        self.tables.len()
    }

    /// Puts the lines in the place of those of the table of this name. A line
    /// that stands in both keeps its number, and with it all that is under way.
    pub fn replace(&mut self, name: &str, lines: Vec<Served>) -> Change {
        let name: Rc<str> = name.into();
        let mut old = self.tables.remove(&name).unwrap_or_default();
        let mut change = Change::default();
        let mut ids = Vec::with_capacity(lines.len());
        for (same, mut served) in self.same_work(&old, &lines).into_iter().zip(lines) {
            let id = same.unwrap_or_else(|| {
                self.last += 1;
                LineId(self.last)
            });
            self.filters.set(id, &served.line);
            if let Some(before) = self.by_id.get(&id) {
                served.record = before.record.clone();
                change.kept.push(id);
            } else {
                change.added.push(id);
            }
            self.by_id.insert(id, served);
            ids.push(id);
        }
        let kept: HashSet<LineId> = change.kept.iter().copied().collect();
        old.retain(|id| !kept.contains(id));
        change.removed = old;
        self.tables.insert(name, ids);
        change
    }

    /// For each of `lines`, the one of `old` that does the same work, each once.
    /// Found by path and command: to compare all with all takes seconds from
    /// some thousand lines on.
    fn same_work(&self, old: &[LineId], lines: &[Served]) -> Vec<Option<LineId>> {
        let mut known: HashMap<_, VecDeque<&LineId>> = HashMap::new();
        for id in old {
            if let Some(served) = self.by_id.get(id) {
                known.entry(served.work()).or_default().push_back(id);
            }
        }
        let mut same = Vec::with_capacity(lines.len());
        for served in lines {
            let found = known.get_mut(&served.work()).and_then(|ids| {
                let at = ids.iter().position(|id| {
                    let known = self.by_id.get(id);
                    known.is_some_and(|known| known.line.same_work(&served.line))
                });
                ids.remove(at?).copied()
            });
            same.push(found);
        }
        same
    }

    /// Forgets a table; its lines.
    pub fn remove_table(&mut self, name: &str) -> Vec<LineId> {
        self.tables.remove(name).unwrap_or_default()
    }

    /// Forgets a line.
    pub fn forget(&mut self, id: LineId) {
        self.filters.forget(id);
        self.by_id.remove(&id);
    }

    /// The lines of `table` that do what `path` and `command` say, for work that
    /// an earlier worker saved.
    pub fn find(&self, table: &str, work: (&[u8], &[u8])) -> Vec<LineId> {
        let does = |id: &&LineId| self.by_id.get(id).is_some_and(|s| s.work() == work);
        let ids = self.tables.get(table);
        ids.map_or_else(Vec::new, |ids| ids.iter().filter(does).copied().collect())
    }

    /// Of these lines the one with this number in its table, else the first.
    pub fn numbered(&self, ids: &[LineId], number: u32) -> Option<LineId> {
        let has = |id: &&LineId| self.by_id.get(id).is_some_and(|s| s.line.number == number);
        ids.iter().find(has).or(ids.first()).copied()
    }
}

impl Served {
    /// Prepares a line. `base` is the environment before the table's own
    /// `NAME=value` lines; `before` the line above, with which it may share what
    /// both have. Errors: its `user=` or `group=` does not exist.
    pub fn new(
        line: Line,
        table: &str,
        base: &[(OsString, OsString)],
        host: &Rc<str>,
        before: Option<&Self>,
    ) -> Result<Self, AccountError> {
        let alike = |before: &&Self| {
            let (ours, theirs) = (&line.options, &before.line.options);
            Rc::ptr_eq(&line.env, &before.line.env)
                && (&ours.user, &ours.group) == (&theirs.user, &theirs.group)
        };
        let (env, identity) = match before.filter(alike) {
            Some(before) => (Rc::clone(&before.env), before.identity.clone()),
            None => surroundings(&line, base)?,
        };
        Ok(Self {
            table: table.into(),
            host: Rc::clone(host),
            // Checked by the parser; without it a line has no filter at all.
            who: WhoFilter::new(&line.options)
                .ok()
                .filter(|filter| !filter.is_empty())
                .map(Box::new),
            env,
            identity,
            record: Record::default(),
            line,
        })
    }

    /// True where each event goes to the line's process as it comes.
    pub fn streams_at_once(&self) -> bool {
        stream::at_once(&self.line.options)
    }

    /// Its options, as far as the scheduler is concerned.
    pub fn schedule(&self) -> Options {
        stream::scheduled(&self.line.options)
    }

    /// What the line asks of the source.
    pub fn request(&self, id: LineId) -> Request {
        let options = &self.line.options;
        Request {
            line: id,
            path: self.line.path.clone(),
            mask: self.line.mask,
            recursive: options.recursive,
            depth: options.depth,
            dotdirs: options.dotdirs,
            exclude: options.exclude.clone(),
            poll: options.poll,
            source: options.source,
            who: options.who,
        }
    }

    /// What makes it this line for whoever edits its table: path and command.
    pub fn work(&self) -> (&[u8], &[u8]) {
        let Line { path, command, .. } = &self.line;
        (path.written.as_bytes(), command.text.as_bytes())
    }

    /// What an event does not know of itself.
    pub fn context(&self) -> EventContext<'_> {
        EventContext {
            host: &self.host,
            table: &self.table,
            line: self.line.number,
            key: self.key(),
        }
    }

    /// One event as JSON (incron-events(7)).
    pub fn json(&self, event: &Event) -> String {
        event.to_json(&self.context())
    }

    /// The label for searching: `key=`, else the table's name.
    pub fn key(&self) -> &str {
        self.line.options.key.as_deref().unwrap_or(&self.table)
    }
}

/// The environment of a line's commands, shared by its runs.
type Environment = Rc<[(OsString, OsString)]>;

/// The environment of a line's commands and who they run as.
fn surroundings(
    line: &Line,
    base: &[(OsString, OsString)],
) -> Result<(Environment, Option<Identity>), AccountError> {
    let account = account::of(&line.options)?;
    let mut env = base.to_vec();
    if let Some(user) = &account.user {
        environment::become_user(&mut env, user);
    }
    let own = line.env.iter();
    for (name, value) in own.filter(|(name, _)| !environment::is_ours(name)) {
        environment::set(&mut env, name, value);
    }
    Ok((env.into(), account.identity))
}
