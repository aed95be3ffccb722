//! One loop that joins watch, schedule and run for one owner.

pub mod protocol;

use std::os::fd::OwnedFd;
use std::process::ExitCode;

/// The worker process: re-executed by the supervisor, already its owner.
/// `channel` is its end of the SOCK_SEQPACKET pair of `protocol`.
pub fn main(channel: OwnedFd) -> ExitCode {
    let _ = channel;
    ExitCode::SUCCESS
}
