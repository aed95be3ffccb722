//! When the processes are looked at: soon after somebody executed a monitor, and a
//! few times more. A user who opens conmon all the time gets neither all of our time
//! nor keeps us from looking.

use std::time::{Duration, Instant};

/// After an execution, in ms after the one before: the words of the process are
/// there soon, but a machine may be busy, and its disk slow.
const LOOKS: [u64; 5] = [10, 40, 150, 800, 3000];
/// Looking takes at most one part in so many of the time.
const SHARE: u32 = 10;

/// The looks that are to come.
#[derive(Debug)]
pub struct Looks {
    left: std::slice::Iter<'static, u64>,
    at: Option<Instant>,
    floor: Instant,
}

impl Looks {
    /// None.
    pub fn new(now: Instant) -> Looks {
        Looks {
            left: [].iter(),
            at: None,
            floor: now,
        }
    }

    /// When the next one is.
    pub fn next(&self) -> Option<Instant> {
        self.at
    }

    /// Whether hearing of an execution would bring the next one forward.
    pub fn would_hear(&self, now: Instant) -> bool {
        let soon = now + first();
        self.at.is_none_or(|at| at > soon.max(self.floor))
    }

    /// Somebody executed a monitor.
    pub fn heard(&mut self, now: Instant) {
        let before = self.at;
        self.left = LOOKS.iter();
        self.plan(now);
        self.at = match (before, self.at) {
            (Some(before), Some(at)) => Some(before.min(at)),
            (_, at) => at,
        };
    }

    /// One was done.
    pub fn done(&mut self, began: Instant, now: Instant) {
        self.floor = now + now.saturating_duration_since(began) * SHARE;
        self.plan(now);
    }

    fn plan(&mut self, now: Instant) {
        let next = self.left.next().map(|&ms| now + Duration::from_millis(ms));
        self.at = next.map(|at| at.max(self.floor));
    }
}

fn first() -> Duration {
    Duration::from_millis(LOOKS[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn some_looks_and_then_rest() {
        let start = Instant::now();
        let mut looks = Looks::new(start);
        assert_eq!(looks.next(), None);
        looks.heard(start);
        let mut times = Vec::new();
        while let Some(at) = looks.next() {
            times.push(at - start);
            looks.done(at, at);
        }
        assert_eq!(times, [ms(10), ms(50), ms(200), ms(1000), ms(4000)]);
        assert!(looks.would_hear(start + ms(4000)));
    }

    #[test]
    fn a_second_one_is_looked_for_as_soon() {
        let start = Instant::now();
        let mut looks = Looks::new(start);
        looks.heard(start);
        assert!(!looks.would_hear(start));
        looks.done(start + ms(10), start + ms(10));
        assert!(looks.would_hear(start + ms(12)));
        looks.heard(start + ms(12));
        assert_eq!(looks.next(), Some(start + ms(22)));
    }

    #[test]
    fn a_flood_is_looked_at_for_a_tenth_of_the_time() {
        let start = Instant::now();
        let mut looks = Looks::new(start);
        let (mut now, mut count) = (start, 0);
        looks.heard(now);
        while now < start + ms(10_000) {
            if looks.would_hear(now) {
                looks.heard(now);
            }
            now = looks.next().unwrap();
            looks.done(now, now + ms(5));
            now += ms(5);
            looks.heard(now);
            count += 1;
        }
        assert!((100..=200).contains(&count), "{count}");
    }
}
