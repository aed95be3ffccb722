//! The share of its processor that a thread which goes first may take: four fifths of
//! each window. A fork bomb must leave the machine to its administrator.

use std::time::{Duration, Instant};

/// Of one thread.
pub(super) struct Share {
    window: Instant,
    busy: Duration,
}

impl Share {
    const WINDOW: Duration = Duration::from_millis(20);
    const MOST: Duration = Duration::from_millis(16);
    const PAUSE: Duration = Duration::from_millis(4);

    pub fn new(now: Instant) -> Self {
        Self {
            window: now,
            busy: Duration::ZERO,
        }
    }

    /// It was busy from `began` to `now`; how long it has to rest.
    pub fn used(&mut self, began: Instant, now: Instant) -> Option<Duration> {
        if now.duration_since(self.window) >= Self::WINDOW {
            let tired = self.busy + now.duration_since(began) >= Self::MOST;
            *self = Self::new(now);
            return tired.then_some(Self::PAUSE);
        }
        self.busy += now.duration_since(began);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_always_busy_rests() {
        let start = Instant::now();
        let mut share = Share::new(start);
        let at = |ms| start + Duration::from_millis(ms);
        let rests = (0..40).filter(|ms| share.used(at(*ms), at(ms + 1)).is_some());
        assert_eq!(rests.count(), 2);
        let mut share = Share::new(start);
        let idle = (0..40).filter(|ms| share.used(at(ms * 10), at(ms * 10 + 5)).is_some());
        assert_eq!(idle.count(), 0);
    }
}
