//! How often one user may ask. Each request costs the supervisor a little, and
//! some a line of the log; asking without end must not cost it without end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::time::Moment;

/// Requests at once, before the rate counts.
const BURST: u32 = 40;
/// One more every so often.
const EVERY: Duration = Duration::from_millis(100);

/// A leaky bucket for each user who has asked lately.
#[derive(Debug, Default)]
pub struct Rate {
    /// When the bucket of a user will be empty.
    full: BTreeMap<u32, Moment>,
}

impl Rate {
    /// Whether `uid` may ask now. Root always may.
    pub fn admit(&mut self, uid: u32, now: Moment) -> bool {
        if uid == 0 {
            return true;
        }
        // Who has an empty bucket is as good as one who never asked.
        self.full.retain(|_, until| *until > now);
        let until = self.full.get(&uid).copied().unwrap_or(now) + EVERY;
        if until - now > EVERY * BURST {
            return false;
        }
        self.full.insert(uid, until);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_rate() {
        let mut rate = Rate::default();
        let mut now = Moment(0);
        let admitted = (0..1000).filter(|_| rate.admit(7, now)).count();
        assert_eq!(admitted, BURST as usize);
        assert!(rate.admit(8, now), "others have their own");
        assert!((0..1000).all(|_| rate.admit(0, now)), "root has none");
        now = now + EVERY * 3;
        assert_eq!((0..1000).filter(|_| rate.admit(7, now)).count(), 3);
        now = now + Duration::from_secs(3600);
        assert!(rate.admit(9, now));
        assert_eq!(rate.full.len(), 1, "nothing is kept of who no longer asks");
    }
}
