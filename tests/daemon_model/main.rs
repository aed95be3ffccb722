//! Random operations under a running daemon, which is told to read its tables again,
//! whose table is edited, whose worker is killed, and which is stopped, killed and
//! started at random moments, against the model of tests/watch_model.
//!
//! Each line streams its events to a process of its own, which keeps them. At a check
//! a sentinel is written; when every line has told of it,
//!
//! - every change that a line asks for was told, once it had happened; over an end of
//!   the worker only to lines with `catch-up=`, and as far as the state shows it;
//! - what happened while nothing ran is marked `offline`, and nothing else is.
//!
//! At the end of a game nothing was told more often than it happened, but for what is
//! marked `offline` after a kill -9: that may repeat what was not yet written down.
//!
//! The games are the same in every run, but the daemon's pace is not. A failure is
//! printed as the shortest sequence found, with its seed: `DAEMON_MODEL_SEED` replays
//! one, and `DAEMON_MODEL_OPS` says how many operations from that seed on.
#![allow(dead_code)] // of tests/watch_model a part is used

mod acts;
#[path = "../watch_model/checks.rs"]
mod checks;
#[path = "../common/mod.rs"]
mod common;
#[path = "../watch_model/dice.rs"]
mod dice;
#[path = "../watch_model/file.rs"]
mod file;
mod game;
mod life;
#[path = "../watch_model/line.rs"]
mod line;
#[path = "../watch_model/operations.rs"]
mod operations;
#[path = "../watch_model/scope.rs"]
mod scope;
mod served;
#[path = "../watch_model/shrink.rs"]
mod shrink;
#[path = "../watch_model/snapshot.rs"]
mod snapshot;
#[path = "../supervisor_support/mod.rs"]
mod supervisor_support;
mod table;

#[test]
fn a_table_that_is_edited_and_reloaded_misses_nothing_and_repeats_nothing() {
    acts::play_all(acts::Deck { ends: false }, 12_000);
}

#[test]
fn nothing_is_missed_over_the_end_of_worker_and_daemon() {
    acts::play_all(acts::Deck { ends: true }, 12_000);
}
