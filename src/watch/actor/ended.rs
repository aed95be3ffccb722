//! Processes that have ended, in the order in which they did: kept a while, because
//! their last events are still on the way, and bounded, because a fork bomb is not.

use std::collections::VecDeque;

/// So many,
const MOST: usize = 32_768;
/// so many bytes of what they do not share,
const WEIGHT: usize = 8 << 20;
/// for so many nanoseconds.
const TIME: u64 = 60_000_000_000;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Its number.
    pub pid: i32,
    /// When it ended.
    pub at: u64,
    /// What it takes of memory for itself alone.
    pub weight: usize,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Ended {
    queue: VecDeque<End>,
    weight: usize,
}

impl Ended {
    /// One more; `forget` is called for each that goes for it.
    pub fn push(&mut self, end: End, mut forget: impl FnMut(End)) {
        self.weight += end.weight;
        self.queue.push_back(end);
        while let Some(first) = self.queue.front().copied() {
            let old = first.at.saturating_add(TIME) < end.at;
            if !old && self.queue.len() <= MOST && self.weight <= WEIGHT {
                break;
            }
            self.queue.pop_front();
            self.weight -= first.weight;
            forget(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded() {
        let mut ended = Ended::default();
        let mut gone = Vec::new();
        let end = |pid, at, weight| End { pid, at, weight };
        for pid in 0..100_000 {
            ended.push(end(pid, 1, 1000), |end| gone.push(end.pid));
        }
        assert!(ended.weight <= WEIGHT && ended.queue.len() > 8000);
        assert!(
            gone.iter()
                .copied()
                .eq(0..100_000 - ended.queue.len() as i32)
        );
        for pid in 0..100_000 {
            ended.push(end(pid, 2, 10), |_| ());
        }
        assert_eq!(ended.queue.len(), MOST);
        ended.push(end(5, TIME + 3, 10), |_| ());
        assert_eq!((ended.queue.len(), ended.weight), (1, 10));
    }
}
