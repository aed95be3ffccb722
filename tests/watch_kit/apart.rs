//! Other programs, started while no other test uses a kit.
//!
//! What this process starts has all that any of its threads has open, until it executes: a
//! file that a test beside it has written and closed is open still, and the kernel tells of
//! its close later. A kit's test needs no waiting only as long as that does not happen.

use std::cell::RefCell;
use std::io;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

static STARTING: RwLock<()> = RwLock::new(());

thread_local! {
    /// The kits of this thread, and what they share.
    static KITS: RefCell<(usize, Option<RwLockReadGuard<'static, ()>>)> =
        const { RefCell::new((0, None)) };
}

fn using() -> RwLockReadGuard<'static, ()> {
    STARTING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Held by a kit: nobody starts a program meanwhile, but the thread itself.
pub struct Share(());

impl Share {
    pub fn new() -> Self {
        KITS.with_borrow_mut(|(count, share)| {
            share.get_or_insert_with(using);
            *count += 1;
        });
        Self(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        KITS.with_borrow_mut(|(count, share)| {
            *count -= 1;
            if *count == 0 {
                *share = None;
            }
        });
    }
}

/// Starts it; it has executed when this returns.
pub fn start(command: &mut Command) -> io::Result<Child> {
    KITS.with_borrow_mut(|(_, share)| *share = None);
    let alone = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    let child = command.spawn();
    drop(alone);
    KITS.with_borrow_mut(|(count, share)| *share = (*count > 0).then(using));
    child
}

/// Runs it to its end.
pub fn status(command: &mut Command) -> io::Result<ExitStatus> {
    start(command)?.wait()
}

/// Runs it to its end; what it printed.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let command = command.stdin(Stdio::null());
    start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?.wait_with_output()
}
