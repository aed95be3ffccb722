//! The part of a line's options that decides when.

use std::time::Duration;

use crate::table::{self, Busy, Options};

/// max-wait of settle where the line does not say.
const MAX_WAIT_SETTLES: u32 = 10;
/// How long batch=N waits for its Nth path where the line has no max-wait.
pub(super) const BATCH_PATIENCE: Duration = Duration::from_secs(10);
/// The options that decide when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) settle: Duration,
    /// Of settle alone.
    pub(super) max_wait: Duration,
    /// Of settle and batch together, where the line says so.
    pub(super) patience: Option<Duration>,
    pub(super) batch: Option<table::Batch>,
    pub(super) busy: Busy,
    pub(super) jobs: u32,
    pub(super) no_loop: bool,
    pub(super) retry: u32,
    /// What is due goes to a process that runs already: it takes no room from others.
    pub(super) feeds: bool,
}

impl Flow {
    pub(super) fn new(options: &Options) -> Self {
        let max_wait = options.settle.saturating_mul(MAX_WAIT_SETTLES);
        Self {
            settle: options.settle,
            max_wait: options.max_wait.unwrap_or(max_wait),
            patience: options.max_wait,
            batch: options.batch,
            busy: options.busy,
            jobs: options.jobs.unwrap_or(u32::MAX).max(1),
            no_loop: options.no_loop,
            retry: options.retry,
            feeds: options.stream,
        }
    }

    /// An event is due as soon as it comes.
    pub(super) fn immediate(&self) -> bool {
        self.settle.is_zero() && self.batch.is_none()
    }

    /// One run at a time.
    pub(super) fn solo(&self) -> bool {
        self.busy != Busy::Parallel
    }
}
