//! The only unsafe code: system calls that have no safe wrapper, one operation
//! a function, each with the reason why it cannot be undefined.

#![allow(unsafe_code)]

mod clock;
mod daemon;
pub mod fanotify;
mod fd;
mod identity;
pub mod inotify;
mod lease;
mod link;
pub(crate) mod memory;
mod namespace;
pub mod netlink;
#[cfg(feature = "pam")]
mod pam;
pub(crate) mod pipe;
pub mod process;
pub mod realtime;
mod socket;
pub mod spawn;
pub(crate) mod xattr;

pub use daemon::{Forked, fork_single_threaded};
pub use fd::own_fd;
pub use identity::{Identity, Spawn, pidfd_of, pidfd_open, spawn_worker};
#[cfg(feature = "pam")]
pub use identity::{exec_worker, join_groups};
pub use lease::is_being_written;
pub use link::read_link_at;
pub use namespace::{namespace_owner, read_files_as};
#[cfg(feature = "pam")]
pub use pam::{PamError, PamSession, clear_environment};
pub use socket::{accept, adopt_channel, receive_packet, receive_text, send_packet};
