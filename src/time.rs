//! Moments of a clock that only goes forward.
//!
//! The pure rooms take the time as a parameter; this is its type. A simulation
//! makes moments out of nothing, the daemon reads `CLOCK_MONOTONIC`.

use std::ops::{Add, Sub};
use std::time::{Duration, Instant};

/// A moment, in nanoseconds since the process (or the simulation) began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

/// Reads the monotonic clock relative to its own creation.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that shows zero now.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Instant::now())
    }

    /// The present moment.
    pub fn now(&self) -> Moment {
        Moment(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    /// Saturates: a duration of ten thousand years means "never".
    fn add(self, d: Duration) -> Moment {
        let nanos = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_add(nanos))
    }
}

impl Sub for Moment {
    type Output = Duration;

    /// Zero where `earlier` is not earlier.
    fn sub(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
