//! The share of a processor that the threads which go first may take together: four
//! fifths of each window. A fork bomb must leave the machine to its administrator.

use std::time::{Duration, Instant};

/// Of the threads of one processor.
pub(super) struct Share {
    window: Instant,
    busy: Duration,
    /// Until then they rest.
    until: Instant,
}

impl Share {
    const WINDOW: Duration = Duration::from_millis(20);
    const MOST: Duration = Duration::from_millis(16);
    const PAUSE: Duration = Duration::from_millis(4);

    pub fn new(now: Instant) -> Self {
        Self {
            window: now,
            busy: Duration::ZERO,
            until: now,
        }
    }

    /// One of them was busy from `began` to `now`.
    pub fn used(&mut self, began: Instant, now: Instant) {
        self.busy += now.duration_since(began);
        if now.duration_since(self.window) >= Self::WINDOW {
            if self.busy >= Self::MOST {
                self.until = now + Self::PAUSE;
            }
            (self.window, self.busy) = (now, Duration::ZERO);
        }
    }

    /// How long they have to rest yet.
    pub fn rest(&self, now: Instant) -> Option<Duration> {
        let left = self.until.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_always_busy_rests() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let rests = |busy: u64, of: u64| {
            let mut share = Share::new(start);
            let one = |n: &u64| {
                share.used(at(n * of), at(n * of + busy));
                share.rest(at(n * of + busy)) == Some(Share::PAUSE)
            };
            (0..40).filter(one).count()
        };
        assert_eq!(rests(1, 1), 2);
        assert_eq!(rests(5, 10), 0);
    }
}
