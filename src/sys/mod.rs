//! The only unsafe code: system calls that have no safe wrapper, one operation
//! a function, each with the reason why it cannot be undefined.

#![allow(unsafe_code)]

mod daemon;
mod fd;
mod identity;
mod socket;

pub use daemon::{Forked, fork_single_threaded};
pub use fd::own_fd;
pub use identity::{Identity, Spawn, pidfd_of, pidfd_open, pidfd_signal, spawn};
pub use socket::{accept, adopt_channel, receive_packet, send_packet};
