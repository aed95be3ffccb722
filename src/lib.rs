//! Commands run when files change, for every user of a machine, the way cron
//! runs them when time passes.
//!
//! Paths come in, events flow through, commands go out:
//!
//! ```text
//!  table      what the user asked for: path, mask, command    (pure)
//!  watch      where events come from: inotify, trees, paths not there yet
//!  schedule   when a command may start: settle, batch, limit  (pure)
//!  run        how it is run: spawn, output, timeout
//!  state      what the paths of catch-up lines held when it was last reported
//!  worker     one loop that joins these for one owner
//!  supervisor the tables of a machine, its workers, the control socket
//!  homes      a provider: the home directories of accounts
//! ```
//!
//! Beside them stand the programs that speak to the daemon, and helpers of tables:
//! `containers` finds containers.
//!
//! A pure room does no I/O and takes the time as a parameter, so that days of
//! events run through it in a test in milliseconds. The only unsafe code is in
//! `sys`.

pub mod config;
pub mod containers;
pub mod control;
pub mod event;
pub mod exit;
pub mod homes;
pub mod incronctl;
pub mod incrontab;
pub mod log;
pub mod open_files;
pub mod paths;
pub mod run;
pub mod schedule;
pub mod state;
pub mod supervisor;
pub mod sys;
pub mod table;
pub mod time;
pub mod watch;
pub mod worker;
