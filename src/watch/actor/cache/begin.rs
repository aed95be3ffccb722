//! How a process begins: as a copy of its parent, until it executes or is looked at.

use std::sync::Arc;

use super::{Cache, GRAIN, Slot};
use crate::watch::actor::process::{Known, Process, Reader, Run};

impl<R: Reader> Cache<R> {
    pub(super) fn fork(&mut self, parent: i32, child: i32, at: u64) {
        if self.knows(child, at) {
            return;
        }
        if self
            .slots
            .get(&parent)
            .is_none_or(|slot| slot.now.as_of < self.gap)
        {
            let now = self.reader.now();
            self.find_again(parent, now);
        }
        let run_of_parent = |slot: Option<&Slot>| slot.and_then(|slot| slot.now.run.clone());
        let run = self.run_of_child(parent, run_of_parent(self.slots.get(&parent)));
        let gap = self.gap;
        let above = self.slots.get_mut(&parent);
        let above = above.map(|slot| (slot.now.clone(), slot.parents_of_children(parent)));
        // Of a parent seen too late, or unsure, or without a program as a kernel
        // thread, nothing is taken on trust while the child itself can be asked.
        let sure = above.as_ref().is_some_and(|(parent, _)| {
            let seen = parent.as_of <= at && parent.as_of >= gap && !parent.guessed();
            seen && parent.image.exe.is_some()
        });
        if !sure && self.read_child(child, at, parent) {
            return;
        }
        let (like, parents) = above.unwrap_or_else(|| (Process::unknown(at), Arc::default()));
        let process = Process {
            since: at,
            as_of: at,
            ids_as_of: at,
            start: self.reader.ticks(at),
            ppid: parent,
            parents,
            run,
            ns_pid: like.ns_pid.map(|_| 0),
            // However late the parent was looked at, it was so when this one began.
            known: if sure {
                Known::Exact
            } else {
                like.known.min(Known::Late)
            },
            inherited: true,
            ..like
        };
        self.put(child, process);
    }

    /// A new process of which /proc shall tell all. False: it is gone.
    pub(super) fn read_child(&mut self, pid: i32, at: u64, parent: i32) -> bool {
        let now = self.reader.now();
        let start = self.reader.ticks(at);
        let Some(mut reading) = self.reader.read(pid, None) else {
            return false;
        };
        if !reading.whole || reading.rest.start.abs_diff(start) > GRAIN {
            return false;
        }
        reading.rest.ppid = parent;
        self.insert(pid, reading, now, Known::Exact);
        if let Some(slot) = self.slots.get_mut(&pid) {
            slot.now.since = at;
        }
        true
    }

    pub(super) fn run_of_child(
        &self,
        parent: i32,
        of_parent: Option<Arc<Run>>,
    ) -> Option<Arc<Run>> {
        match parent == self.own {
            true => Some(Arc::default()),
            false => of_parent,
        }
    }
}
