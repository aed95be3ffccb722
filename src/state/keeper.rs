//! How the loop talks to the thread that looks and writes.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::desk::Desk;
use super::{Mark, Marks, WatchId};
use crate::sys::inotify::Stamp;
use crate::watch::Waker;
use crate::watch::compare::Difference;
use crate::watch::snapshot::Spec;

/// What the loop wants done.
pub enum Job {
    /// A path is watched from now on: what happened to it before?
    Begin {
        /// Its number.
        id: WatchId,
        /// See [`super::key`].
        key: Vec<u8>,
        /// What it covers.
        spec: Arc<Spec>,
    },
    /// Write down what was found of a path that was not known, but for these.
    Remember(WatchId, HashSet<Box<[u8]>>),
    /// Look at touched paths.
    Look(Vec<(WatchId, Marks)>),
    /// Write down what was seen, but for these.
    Commit(HashMap<WatchId, HashSet<Box<[u8]>>>),
    /// Nobody wants to know of it any more.
    End(WatchId),
    /// All tables are loaded: what belongs to none of their lines may go.
    Loaded,
}

/// What the thread has to say.
pub enum Reply {
    /// To `Begin`.
    Compared {
        /// Which.
        id: WatchId,
        /// None: nothing was known of it; `Remember` comes next.
        found: Option<Vec<Difference>>,
        /// A file with a later stamp was changed after the path was watched. Not of
        /// the clock that stamps files: some stamps (Linux 6.13) are ahead of that.
        at: Stamp,
    },
    /// To `Remember`: these must be looked at again.
    Remembered(WatchId, Vec<Box<[u8]>>),
    /// To `Look`: `Commit` comes next.
    Looked,
    /// To `Commit`: these must be looked at again.
    Committed(Vec<(WatchId, Box<[u8]>, Mark)>),
}

/// The loop's end.
pub struct Keeper {
    jobs: Option<Sender<Job>>,
    replies: Receiver<Reply>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread; it opens the file at `path` first.
    ///
    /// # Errors
    /// No more threads.
    pub fn start(path: PathBuf, waker: Waker) -> std::io::Result<Self> {
        let (jobs, orders) = mpsc::channel();
        let (say, replies) = mpsc::channel();
        let thread = thread::Builder::new().name("state".into()).spawn(move || {
            let mut desk = Desk::new(path);
            while let Ok(job) = orders.recv() {
                if let Some(reply) = desk.does(job) {
                    let _ = say.send(reply);
                    waker.wake();
                }
            }
        })?;
        Ok(Self {
            jobs: Some(jobs),
            replies,
            thread: Some(thread),
        })
    }

    /// Has something done.
    pub fn ask(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }

    /// The next reply, if there is one.
    pub fn reply(&self) -> Option<Reply> {
        self.replies.try_recv().ok()
    }

    /// The next reply, waited for; None: it takes too long.
    pub fn wait(&self, longest: Duration) -> Option<Reply> {
        self.replies.recv_timeout(longest).ok()
    }
}

impl Drop for Keeper {
    /// Lets the thread end what it is at: an open transaction is worth it.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
