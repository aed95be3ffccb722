//! At most so many lines of one container in a time; what is more is counted, and
//! the sum is a line of its own when that time is over. Pure: the time is a
//! parameter.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::str::FromStr;
use std::time::Duration;

use super::Severity;
use crate::event::Event;
use crate::table::duration;
use crate::time::Moment;

/// Kinds of events named in one sum; a mask has more combinations than a line has
/// room.
const KINDS: usize = 16;

/// `N/D`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(Option<(u64, Duration)>);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WANTED: &str = "a number, a slash and a duration are wanted, as in 1000/10s, or none";
        if text == "none" {
            return Ok(Limit(None));
        }
        let (count, per) = text.split_once('/').ok_or(WANTED)?;
        let count: u64 = count.parse().map_err(|_| WANTED)?;
        let per = duration::parse(per).map_err(|error| error.to_string())?;
        if count == 0 || per.is_zero() {
            return Err(WANTED.into());
        }
        Ok(Limit(Some((count, per))))
    }
}

/// What was kept back of one container.
#[derive(Clone, Debug)]
pub struct Sum {
    /// As [`Limiter::admit`] was told.
    pub container: String,
    /// Events that were not written.
    pub count: u64,
    /// How many of each mask; the rarest may be missing.
    pub counts: BTreeMap<u32, u64>,
    /// The worst of them.
    pub severity: Severity,
    /// The last of them.
    pub last: Box<Event>,
    /// In which time.
    pub per: Duration,
}

struct Window {
    written: u64,
    sum: Option<Sum>,
}

/// All containers that had an event lately.
pub struct Limiter {
    limit: Limit,
    windows: HashMap<String, Window>,
    /// Ends of windows, the first to come in front: all are equally long.
    ends: VecDeque<(Moment, String)>,
}

impl Limiter {
    pub fn new(limit: Limit) -> Self {
        Self {
            limit,
            windows: HashMap::new(),
            ends: VecDeque::new(),
        }
    }

    /// Whether the event is to be written; else it is counted. Ask [`Self::sum`]
    /// first.
    pub fn admit(&mut self, container: &str, event: &Event, now: Moment) -> bool {
        use std::os::unix::ffi::OsStrExt;
        let Some((most, per)) = self.limit.0 else {
            return true;
        };
        let Some(window) = self.windows.get_mut(container) else {
            let first = Window {
                written: 1,
                sum: None,
            };
            self.windows.insert(container.to_owned(), first);
            self.ends.push_back((now + per, container.to_owned()));
            return true;
        };
        if window.written < most {
            window.written += 1;
            return true;
        }
        let severity = Severity::of(event.target().as_bytes());
        let sum = window.sum.get_or_insert_with(|| Sum {
            container: container.to_owned(),
            count: 0,
            counts: BTreeMap::new(),
            severity,
            last: Box::new(event.clone()),
            per,
        });
        sum.count += 1;
        sum.severity = sum.severity.max(severity);
        if sum.counts.len() < KINDS || sum.counts.contains_key(&event.mask.0) {
            *sum.counts.entry(event.mask.0).or_default() += 1;
        }
        *sum.last = event.clone();
        false
    }

    /// The next container whose time is over by `now` and of which something was
    /// kept back.
    pub fn sum(&mut self, now: Moment) -> Option<Sum> {
        while self.ends.front().is_some_and(|(end, _)| *end <= now) {
            let (_, container) = self.ends.pop_front()?;
            let window = self.windows.remove(&container);
            if let Some(sum) = window.and_then(|window| window.sum) {
                return Some(sum);
            }
        }
        None
    }

    /// When [`Self::sum`] has something to say, if ever.
    pub fn deadline(&self) -> Option<Moment> {
        let waits = |container| self.windows.get(container).is_some_and(|w| w.sum.is_some());
        let first = self.ends.iter().find(|(_, container)| waits(container));
        first.map(|(end, _)| *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Origin;
    use crate::table::Mask;
    use proptest::prelude::*;

    fn event(name: &str) -> Event {
        Event {
            mask: Mask::CREATE,
            watch: "/etc".into(),
            name: name.into(),
            old_path: None,
            time: std::time::SystemTime::UNIX_EPOCH,
            origin: Origin::Kernel,
            actor: None,
            seq: 1,
            labels: None,
        }
    }

    #[test]
    fn limits_are_read() {
        let read = |text: &str| text.parse::<Limit>();
        assert_eq!(read("5/2s"), Ok(Limit(Some((5, Duration::from_secs(2))))));
        assert_eq!(read("none"), Ok(Limit(None)));
        for wrong in [
            "", "5", "5/", "0/1s", "5/0s", "-1/1s", "5/2", "x/1s", "5/1s/1s",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        /// Each event is written or in exactly one sum, and no window has more than
        /// its number of lines.
        #[test]
        fn nothing_is_lost(steps in prop::collection::vec((0u8..3, 0u64..40), 0..200), most in 1u64..5) {
            let per = Duration::from_nanos(100);
            let mut limiter = Limiter::new(Limit(Some((most, per))));
            let mut now = Moment(0);
            let (mut written, mut summed) = (0, 0);
            let mut times: Vec<Vec<u64>> = vec![Vec::new(); 3];
            for (container, pause) in &steps {
                now = now + Duration::from_nanos(*pause);
                while let Some(sum) = limiter.sum(now) {
                    prop_assert_eq!(sum.counts.values().sum::<u64>(), sum.count);
                    summed += sum.count;
                }
                if limiter.admit(&container.to_string(), &event("x"), now) {
                    written += 1;
                    times[usize::from(*container)].push(now.0);
                }
            }
            while let Some(sum) = limiter.sum(Moment(u64::MAX)) {
                summed += sum.count;
            }
            prop_assert_eq!(written + summed, steps.len() as u64);
            prop_assert!(limiter.windows.is_empty() && limiter.ends.is_empty());
            // Two windows touch any span of their length.
            for times in times {
                for (n, start) in times.iter().enumerate() {
                    let within = times[n..].iter().filter(|at| **at < start + 100).count();
                    prop_assert!(within as u64 <= 2 * most);
                }
            }
        }
    }

    #[test]
    fn a_sum_is_due_only_where_something_was_kept_back() {
        let mut limiter = Limiter::new("1/1s".parse().unwrap());
        assert!(limiter.admit("a", &event("1"), Moment(0)));
        assert_eq!(limiter.deadline(), None);
        assert!(!limiter.admit("a", &event("2"), Moment(1)));
        assert!(limiter.admit("b", &event("1"), Moment(2)));
        assert_eq!(limiter.deadline(), Some(Moment(0) + Duration::from_secs(1)));
        assert!(limiter.sum(Moment(5)).is_none());
        let sum = limiter.sum(Moment(1_000_000_000)).unwrap();
        assert_eq!((sum.count, sum.last.name.to_str()), (1, Some("2")));
        assert!(limiter.admit("a", &event("3"), Moment(1_000_000_001)));
    }
}
