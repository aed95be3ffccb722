//! Waiting for files: each change in a directory is a reason to look again.

pub mod rsyslogd;

use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::os::fd::AsFd;

/// Nothing here takes nearly as long; only a hang does.
const DEADLINE: Duration = Duration::from_secs(180);

/// Waits until `condition` holds; it is asked after each change in `directory`.
pub fn wait_for(directory: &Path, mut condition: impl FnMut() -> bool) {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).unwrap();
    inotify
        .add_watch(directory, AddWatchFlags::IN_ALL_EVENTS)
        .unwrap();
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "the condition never came true");
        let mut fds = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::try_from(left).unwrap()).unwrap();
        let _ = inotify.read_events();
    }
}
