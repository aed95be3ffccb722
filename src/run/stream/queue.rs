//! What a stream command is still to read: bounded, in order, and able to give
//! again what a process did not finish reading.
//!
//! Pure. Lines wait, are written to a pipe, and are remembered as given until
//! they must have been read (the pipe holds only so much). When the process
//! dies, the number of unread bytes says which of those to give again.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io::IoSlice;

/// Lines and bytes that wait at most; what is more merges by path, or is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Lines.
    pub lines: usize,
    /// Their bytes.
    pub bytes: usize,
}

impl Default for Limits {
    /// 65,536 lines, 32 MiB: 20,000 events at once, each with its actor and the labels of
    /// its container, are 20 MB.
    fn default() -> Self {
        Self {
            lines: 1 << 16,
            bytes: 32 << 20,
        }
    }
}

/// What became of the events that a stream was handed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Replaced by a later event of the same path, while the queue was full.
    pub merged: u64,
    /// Dropped: the queue was full and held no event of that path.
    pub lost: u64,
    /// Given to a process again because an earlier one had not read them.
    pub again: u64,
}

/// The most slices that one writev(2) takes (`UIO_MAXIOV`).
const MAX_SLICES: usize = 1024;

#[derive(Debug)]
struct Line {
    /// With its newline.
    text: Vec<u8>,
    /// Stands for the path. The hash is keyed at random: nobody can aim at it.
    key: u64,
}

/// The lines of one stream.
#[derive(Debug)]
pub(super) struct Queue {
    limits: Limits,
    waiting: VecDeque<Line>,
    /// Bytes of all of `waiting`.
    bytes: usize,
    /// How much of the first waiting line is written already.
    partly: usize,
    /// Written and perhaps unread, as much as the pipe can hold.
    given: VecDeque<Line>,
    given_bytes: usize,
    hasher: RandomState,
    /// While the queue is full: the latest waiting line of each path, by number.
    latest: Option<HashMap<u64, u64>>,
    /// The number of the first waiting line.
    first: u64,
    pub(super) counts: Counts,
}

impl Queue {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            bytes: 0,
            partly: 0,
            given: VecDeque::new(),
            given_bytes: 0,
            hasher: RandomState::new(),
            latest: None,
            // Lines that are given again get numbers below.
            first: 1 << 62,
            counts: Counts::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Lines that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes a line (without its newline) about the path `key`.
    pub(super) fn push(&mut self, line: &[u8], key: &[u8]) {
        let mut text = Vec::with_capacity(line.len() + 1);
        text.extend_from_slice(line);
        text.push(b'\n');
        let line = Line {
            text,
            key: self.hasher.hash_one(key),
        };
        let fits = self.bytes + line.text.len() <= self.limits.bytes;
        if !fits || self.waiting.len() >= self.limits.lines {
            return self.merge(line);
        }
        if let Some(latest) = &mut self.latest {
            latest.insert(line.key, self.first + self.waiting.len() as u64);
        }
        self.bytes += line.text.len();
        self.waiting.push_back(line);
    }

    /// The queue is full: the line takes the place of an earlier one of its path.
    fn merge(&mut self, line: Line) {
        let (waiting, first) = (&self.waiting, self.first);
        let latest = self.latest.get_or_insert_with(|| {
            waiting
                .iter()
                .zip(first..)
                .map(|(line, number)| (line.key, number))
                .collect()
        });
        let at = latest
            .get(&line.key)
            .and_then(|number| number.checked_sub(first));
        let at = at.and_then(|at| usize::try_from(at).ok());
        // The first may be half written: it stays as it is.
        let at = at.filter(|&at| at > 0 || self.partly == 0);
        let Some(earlier) = at.and_then(|at| self.waiting.get_mut(at)) else {
            self.counts.lost += 1;
            return;
        };
        let bytes = self.bytes - earlier.text.len() + line.text.len();
        if bytes > self.limits.bytes && line.text.len() > earlier.text.len() {
            self.counts.lost += 1;
            return;
        }
        self.bytes = bytes;
        *earlier = line;
        self.counts.merged += 1;
    }

    /// What is to be written next.
    pub(super) fn slices(&self) -> Vec<IoSlice<'_>> {
        let lines = self
            .waiting
            .iter()
            .take(MAX_SLICES)
            .map(|line| line.text.as_slice());
        let mut slices: Vec<IoSlice<'_>> = lines.map(IoSlice::new).collect();
        if let Some(first) = slices.first_mut() {
            first.advance(self.partly);
        }
        slices
    }

    /// `size` more bytes are written, into a pipe that holds `capacity`.
    pub(super) fn written(&mut self, size: usize, capacity: usize) {
        self.partly += size;
        while self
            .waiting
            .front()
            .is_some_and(|line| line.text.len() <= self.partly)
            && let Some(line) = self.waiting.pop_front()
        {
            self.partly -= line.text.len();
            self.bytes -= line.text.len();
            self.first += 1;
            self.given_bytes += line.text.len();
            self.given.push_back(line);
        }
        let beyond = |line: &Line, given: usize| given - line.text.len() >= capacity;
        while self
            .given
            .front()
            .is_some_and(|line| beyond(line, self.given_bytes))
            && let Some(line) = self.given.pop_front()
        {
            self.given_bytes -= line.text.len();
        }
        if self.waiting.len() < self.limits.lines / 2 && self.bytes < self.limits.bytes / 2 {
            self.latest = None;
        }
    }

    /// The process is gone and `unread` bytes are in its pipe: each line of which
    /// it did not read all waits again, whole.
    pub(super) fn take_back(&mut self, unread: usize) {
        self.counts.again += u64::from(self.partly > 0);
        let mut rest = unread.saturating_sub(self.partly);
        self.partly = 0;
        while rest > 0
            && let Some(line) = self.given.pop_back()
        {
            rest = rest.saturating_sub(line.text.len());
            self.bytes += line.text.len();
            self.first -= 1;
            self.counts.again += 1;
            self.waiting.push_front(line);
        }
        self.given.clear();
        self.given_bytes = 0;
    }

    /// All that waits, each line with its newline.
    pub(super) fn take_all(&mut self) -> Vec<Vec<u8>> {
        self.first += self.waiting.len() as u64;
        (self.bytes, self.partly, self.latest) = (0, 0, None);
        self.waiting.drain(..).map(|line| line.text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn queue(lines: usize) -> Queue {
        Queue::new(Limits {
            lines,
            bytes: 1 << 20,
        })
    }

    fn texts(queue: &mut Queue) -> Vec<String> {
        let lines = queue.take_all();
        lines
            .iter()
            .map(|line| String::from_utf8_lossy(line).trim_end().to_owned())
            .collect()
    }

    #[test]
    fn full_it_merges_by_path_then_counts_the_loss() {
        let mut queue = queue(2);
        for (line, key) in [
            ("a1", "a"),
            ("b1", "b"),
            ("a2", "a"),
            ("c1", "c"),
            ("a3", "a"),
        ] {
            queue.push(line.as_bytes(), key.as_bytes());
        }
        assert_eq!(
            queue.counts,
            Counts {
                merged: 2,
                lost: 1,
                again: 0
            }
        );
        assert_eq!(texts(&mut queue), ["a3", "b1"]);
    }

    #[test]
    fn a_line_that_is_half_written_is_not_replaced() {
        let mut queue = queue(1);
        queue.push(b"first", b"a");
        queue.written(2, 100);
        queue.push(b"second", b"a");
        assert_eq!((queue.counts.merged, queue.counts.lost), (0, 1));
        assert_eq!(&*queue.slices()[0], b"rst\n");
    }

    #[test]
    fn what_was_half_read_is_given_again_whole() {
        let mut queue = queue(100);
        for line in ["one", "two", "three", "four"] {
            queue.push(line.as_bytes(), line.as_bytes());
        }
        // All but the end of "four" is written; the reader stopped inside "two".
        queue.written("one\ntwo\nthree\nfo".len(), 100);
        queue.take_back("o\nthree\nfo".len());
        assert_eq!(queue.counts.again, 3);
        assert_eq!(texts(&mut queue), ["two", "three", "four"]);
    }

    proptest! {
        /// Against a model pipe of 64 bytes: whoever reads how much and dies when,
        /// each line is read in full by somebody, in order, with no more than the
        /// half-read ones twice.
        #[test]
        fn nothing_is_lost(
            steps in prop::collection::vec((0usize..20, 0usize..80, any::<bool>()), 1..60)
        ) {
            let mut queue = queue(10_000);
            let (mut pipe, mut read) = (VecDeque::<u8>::new(), Vec::<u8>::new());
            let (mut pushed, mut seen) = (0, Vec::<usize>::new());
            let whole = |read: &mut Vec<u8>, seen: &mut Vec<usize>| {
                while let Some(end) = read.iter().position(|&byte| byte == b'\n') {
                    let line: Vec<u8> = read.drain(..=end).collect();
                    seen.push(String::from_utf8(line).unwrap().trim().parse().unwrap());
                }
            };
            for (push, take, dies) in steps.into_iter().chain([(0, 0, true)]) {
                for _ in 0..push {
                    queue.push(format!("{pushed:03}").as_bytes(), &[pushed as u8]);
                    pushed += 1;
                }
                let room = 64 - pipe.len();
                let bytes: Vec<u8> =
                    queue.slices().iter().flat_map(|s| s.to_vec()).take(room).collect();
                queue.written(bytes.len(), 64);
                pipe.extend(bytes);
                let take = take.min(pipe.len());
                read.extend(pipe.drain(..take));
                whole(&mut read, &mut seen);
                if dies {
                    queue.take_back(pipe.len());
                    pipe.clear();
                    read.clear();
                }
            }
            let rest = queue.take_all();
            seen.extend(rest.iter().map(|l| String::from_utf8_lossy(l).trim().parse::<usize>().unwrap()));
            prop_assert_eq!(seen, (0..pushed).collect::<Vec<_>>());
        }
    }
}
