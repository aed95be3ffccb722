//! `poll=D`: looking every D at what the kernel does not tell.
//!
//! Each polled path has a thread of its own. A server that does not answer
//! stops a look in the middle of a system call, for as long as it likes; this
//! holds up its path and nothing else. The thread hands over what it found and
//! wakes the loop.

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::compare::{Difference, compare};
use super::snapshot::{Snapshot, Spec};
use super::{Problem, Report, Request, Source, Waker, differences, walk};
use crate::event::{LineId, LineIds, Origin};
use crate::table::{Filter, Mask, PathSpec};
use crate::time::Moment;

/// The first look is waited for so long; it goes on after that.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// Lines with the same key share a thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    path: PathSpec,
    recursive: bool,
    depth: Option<u32>,
    dotdirs: bool,
    exclude: Vec<String>,
    flags: Mask,
    every: Duration,
}

/// A polled path.
struct Root {
    key: Key,
    spec: Spec,
    lines: Vec<(LineId, Mask)>,
    /// The thread ends when this is dropped.
    _stop: Sender<()>,
}

/// What a thread has to say.
enum Word {
    /// The first look is done: changes from here on are found.
    Begun,
    /// What the last look found.
    Found(Vec<Difference>),
    /// It cannot look.
    Blind(io::Error),
    /// It can again.
    Sees,
}

/// Events found by looking.
pub struct Poll {
    roots: HashMap<u64, Root>,
    last: u64,
    waker: Waker,
    words: Receiver<(u64, Word)>,
    mouth: Sender<(u64, Word)>,
}

impl Poll {
    /// Without lines, and without a thread.
    pub fn new(waker: Waker) -> Self {
        let (mouth, words) = mpsc::channel();
        Self {
            roots: HashMap::new(),
            last: 0,
            waker,
            words,
            mouth,
        }
    }

    /// Polled paths.
    pub fn roots(&self) -> usize {
        self.roots.len()
    }

    /// Reports what the threads have found.
    pub fn collect(&mut self, now: Moment, out: &mut Vec<Report>) {
        let _ = now;
        while let Ok((root, word)) = self.words.try_recv() {
            self.hear(root, word, out);
        }
    }

    fn hear(&mut self, id: u64, word: Word, out: &mut Vec<Report>) {
        // Not there: its last line was removed while it looked.
        let Some(root) = self.roots.get_mut(&id) else {
            return;
        };
        let path = root.key.path.written.display();
        let problem = match word {
            Word::Begun => return,
            Word::Found(found) => return tell(root, &found, out),
            Word::Blind(error) => Problem {
                message: format!("cannot look at {path}: {error}; it is tried again"),
                serious: true,
            },
            Word::Sees => Problem {
                message: format!("{path} can be looked at again"),
                serious: false,
            },
        };
        let lines = root.lines.iter().map(|(line, _)| *line);
        out.extend(lines.map(|line| Report::Problem(line, problem.clone())));
    }

    fn begin(&mut self, key: Key, request: &Request, out: &mut Vec<Report>) {
        self.last += 1;
        let id = self.last;
        let (stop, stopped) = mpsc::channel();
        // What is renamed out of an excluded name is known: only what need not be
        // entered is left out, and the rest is for the filters of each line.
        let closed = Filter::excluding(&key.exclude);
        let spec = Spec::new(request, Filter::default()).without(closed);
        let looker = Looker {
            spec: spec.clone(),
            every: key.every,
            say: Box::new({
                let (mouth, waker) = (self.mouth.clone(), self.waker.clone());
                move |word| {
                    let _ = mouth.send((id, word));
                    waker.wake();
                }
            }),
        };
        let path = key.path.written.display().to_string();
        let lines = vec![(request.line, request.mask)];
        self.roots.insert(
            id,
            Root {
                key,
                spec,
                lines,
                _stop: stop,
            },
        );
        let thread = thread::Builder::new().name("poll".into());
        if let Err(error) = thread.spawn(move || looker.run(&stopped)) {
            let message = format!("cannot poll {path}: no thread for it: {error}");
            out.push(Report::Problem(
                request.line,
                Problem {
                    message,
                    serious: true,
                },
            ));
            return;
        }
        if !self.begun(id, out) {
            let message = format!(
                "the first look at {path} takes long; what changes before it is done is not found"
            );
            out.push(Report::Problem(
                request.line,
                Problem {
                    message,
                    serious: false,
                },
            ));
        }
    }

    /// Waits for the first look: what changes after `add` is found.
    fn begun(&mut self, id: u64, out: &mut Vec<Report>) -> bool {
        loop {
            match self.words.recv_timeout(FIRST_LOOK) {
                Ok((root, Word::Begun)) if root == id => return true,
                Ok((root, word)) => self.hear(root, word, out),
                Err(_) => return false,
            }
        }
    }
}

fn tell(root: &Root, found: &[Difference], out: &mut Vec<Report>) {
    let mut events = Vec::new();
    let asking = alike(&root.lines);
    for difference in found {
        for (lines, mask) in &asking {
            let bits = differences::due(*mask, difference, root.spec.is_root(&difference.path));
            differences::events(
                &root.spec,
                difference,
                *mask,
                bits,
                Origin::Poll,
                &mut events,
            );
            out.extend(
                events
                    .drain(..)
                    .map(|event: Rc<_>| Report::Event(lines.clone(), event)),
            );
        }
    }
}

/// The lines that ask for the same, together: what one is told, all are.
fn alike(lines: &[(LineId, Mask)]) -> Vec<(LineIds, Mask)> {
    let mut by_mask: Vec<(Mask, Vec<LineId>)> = Vec::new();
    for (line, mask) in lines {
        match by_mask.iter_mut().find(|(known, _)| known == mask) {
            Some((_, together)) => together.push(*line),
            None => by_mask.push((*mask, vec![*line])),
        }
    }
    let list = |(mask, lines): (Mask, Vec<LineId>)| (LineIds::new(&lines), mask);
    by_mask.into_iter().map(list).collect()
}

/// What a thread does.
struct Looker {
    spec: Spec,
    every: Duration,
    say: Box<dyn Fn(Word) + Send>,
}

impl Looker {
    fn run(self, stopped: &Receiver<()>) {
        let mut known = None;
        let mut blind = false;
        let mut begun = false;
        loop {
            match walk::take(&self.spec) {
                Ok(now) => {
                    if std::mem::take(&mut blind) {
                        (self.say)(Word::Sees);
                    }
                    self.look(&mut known, now);
                }
                Err(error) if !blind => {
                    blind = true;
                    (self.say)(Word::Blind(error));
                }
                Err(_) => {}
            }
            if !std::mem::replace(&mut begun, true) {
                (self.say)(Word::Begun);
            }
            match stopped.recv_timeout(self.every) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => return,
            }
        }
    }

    fn look(&self, known: &mut Option<Snapshot>, now: Snapshot) {
        if let Some(before) = known.as_ref() {
            let found = compare(before, &now);
            if !found.is_empty() {
                (self.say)(Word::Found(found));
            }
        }
        *known = Some(now);
    }
}

impl Source for Poll {
    fn fd(&self) -> BorrowedFd<'_> {
        self.waker.fd()
    }

    fn add(&mut self, request: Request, out: &mut Vec<Report>) {
        let Some(every) = request.poll else { return };
        let key = Key {
            path: request.path.clone(),
            recursive: request.recursive,
            depth: request.depth,
            dotdirs: request.dotdirs,
            exclude: request.exclude.clone(),
            flags: request.mask & Mask::DONT_FOLLOW,
            every,
        };
        let line = (request.line, request.mask);
        match self.roots.values_mut().find(|root| root.key == key) {
            Some(root) => {
                root.lines.retain(|(known, _)| *known != request.line);
                root.lines.push(line);
            }
            None => self.begin(key, &request, out),
        }
    }

    fn remove(&mut self, line: LineId) {
        self.roots.retain(|_, root| {
            root.lines.retain(|(known, _)| *known != line);
            !root.lines.is_empty()
        });
    }

    fn read(&mut self, now: Moment, out: &mut Vec<Report>) -> io::Result<bool> {
        self.waker.clear();
        self.collect(now, out);
        Ok(false)
    }

    fn deadline(&self) -> Option<Moment> {
        None
    }

    fn tick(&mut self, _now: Moment, _out: &mut Vec<Report>) {}
}
