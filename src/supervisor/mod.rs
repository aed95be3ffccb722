//! incrond: the tables of the machine, the workers' lives, the control socket.
//!
//! The supervisor runs as root and therefore does little: it never parses a
//! user's table, never opens a user's path, never runs a user's command. Each
//! owner of a table has a worker, this same program started again as that user,
//! which gets its table as an open descriptor.
//!
//! ```text
//!  tables, access, accounts   what may be served, and whose it is
//!  reconcile, reload          files and directories -> workers
//!  worker, process, outbox    one owner's worker, its process, what it is told
//!  life, session              how workers start and end, and their PAM sessions
//!  clients, client, requests  the control socket: connections, what they ask,
//!  waiting, rate, spool       answers that wait, how often, where tables are kept
//!  daemon                     the loop
//! ```

pub mod access;
mod accounts;
mod channel;
mod check;
mod cli;
mod client;
mod clients;
mod daemon;
mod daemonize;
mod life;
mod lock;
pub mod logging;
mod notify;
mod outbox;
mod places;
mod poll;
mod process;
mod rate;
mod reconcile;
mod reload;
mod requests;
mod saved;
#[cfg(feature = "pam")]
mod session;
pub mod spool;
mod start;
mod state;
pub mod tables;
mod waiting;
mod worker;

pub use start::main;
