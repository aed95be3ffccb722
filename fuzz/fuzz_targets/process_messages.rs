//! What the kernel might say of processes, in any order: the messages are read, merged and
//! told to a cache, which may ask a machine of a few processes. It keeps to its bounds, and
//! calls nothing exact that has no program.

#![no_main]

use std::cell::Cell;

use incron::watch::actor::cache::{Cache, Look};
use incron::watch::actor::merge::{Entry, Merge};
use incron::watch::actor::message::{What, parse};
use incron::watch::actor::process::{Image, Known, Program, Reader, Rest};
use libfuzzer_sys::fuzz_target;

/// `struct nlmsghdr`, `struct cn_msg`, `struct proc_event`.
const LENGTH: usize = 16 + 20 + 40;
const NOTHING: fn(&mut Cache<Machine>) = |_| ();

/// Processes with an even number are there.
struct Machine(Cell<u64>);

impl Reader for Machine {
    type Found = i32;

    fn open(&self, pid: i32) -> Option<(i32, Program)> {
        let program = Program {
            exe: Some(format!("/bin/{pid}").into()),
            cmdline: vec!["x".into()],
        };
        (pid % 2 == 0).then_some((pid, program))
    }

    fn rest(&self, found: &i32, _: Option<&Image>) -> Option<Rest> {
        (found % 4 == 0).then(Rest::default)
    }

    fn is_like(&self, found: &i32, _: &Image) -> Option<bool> {
        Some(found % 8 == 0)
    }

    fn pids(&self) -> Vec<i32> {
        (0..64).collect()
    }

    fn now(&self) -> u64 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }

    fn ticks(&self, at: u64) -> u64 {
        at / 100
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut cache = Cache::new(Machine(Cell::new(0)), 1);
    let mut merge = Merge::default();
    for (nth, bytes) in bytes.chunks(LENGTH).enumerate() {
        // What is before the event is the kernel's own: its length and sender.
        let Some(message) = parse(bytes) else {
            merge.lost |= bytes.first() == Some(&1);
            continue;
        };
        merge.add(match message.what {
            What::Exec { pid } => Entry::Executed(message, Look::new(cache.reader(), pid)),
            _ => Entry::Message(message),
        });
        let act = match bytes.first() {
            Some(2) => Cache::heal,
            Some(3) => |cache: &mut Cache<Machine>| cache.scan(8),
            _ => NOTHING,
        };
        if nth % 4 == 3 {
            merge.tell(&mut cache, message.at);
            act(&mut cache);
        }
    }
    merge.tell(&mut cache, u64::MAX);
    assert!(cache.len() <= 40_000);
    for pid in -1..64 {
        let when = cache.reader().now();
        if let Some(found) = cache.find(pid, when) {
            assert!(found.known < Known::Exact || found.image.exe.is_some());
            assert!(found.parents.len() <= 8);
        }
    }
});
