//! What a command printed: cut into lines for the log, its end kept for the
//! report, its whole kept for a mail. All of it bounded, whatever the command does.

use std::time::Duration;

use super::Report;
use crate::schedule::RunId;
use crate::time::Moment;

/// A longer line is reported in pieces of this size.
pub const MAX_LINE: usize = 4096;
/// How much of the end of the output [`Report::Ended`] carries.
pub const TAIL: usize = 4096;
/// A mail holds no more output than this.
pub const MAX_MAIL: usize = 1 << 20;

/// A run may print this much at once; then [`RATE`] bytes a second. What is
/// more is not reported as lines but counted, so that no command can fill the
/// log or keep the worker busy.
const BURST: u64 = 1 << 20;
const RATE: u64 = 64 << 10;
/// After a loss, lines are reported again once this much is allowed.
const RESUME: u64 = BURST / 8;
/// What a line costs beside its bytes.
const LINE_COST: u64 = 64;

/// Where the lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Each line is a [`Report::Output`].
    Lines,
    /// Gathered for a mail.
    Mail,
}

/// The output of one run.
#[derive(Debug)]
pub(crate) struct Capture {
    keep: Keep,
    /// A line that has not ended yet.
    partial: Vec<u8>,
    tail: Vec<u8>,
    mail: Vec<u8>,
    mail_lost: u64,
    allowed: u64,
    refilled: Moment,
    lost_lines: u64,
    lost_bytes: u64,
}

impl Capture {
    pub(crate) fn new(keep: Keep, now: Moment) -> Self {
        Self {
            keep,
            partial: Vec::new(),
            tail: Vec::new(),
            mail: Vec::new(),
            mail_lost: 0,
            allowed: BURST,
            refilled: now,
            lost_lines: 0,
            lost_bytes: 0,
        }
    }

    /// Takes what was just read.
    pub(crate) fn take(&mut self, run: RunId, bytes: &[u8], now: Moment, out: &mut Vec<Report>) {
        self.keep_tail(bytes);
        match self.keep {
            Keep::Mail => self.gather(bytes),
            Keep::Lines => {
                self.refill(run, now, out);
                self.split(run, bytes, out);
            }
        }
    }

    /// From here on, lines are reported.
    pub(super) fn report_lines(&mut self) {
        self.keep = Keep::Lines;
    }

    /// The output is complete, or the run is over: an unfinished line counts as one.
    pub(crate) fn flush(&mut self, run: RunId, out: &mut Vec<Report>) {
        if !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            self.line(run, line, out);
        }
        self.report_loss(run, out);
    }

    /// The end of the output.
    pub(super) fn take_tail(&mut self) -> Vec<u8> {
        let mut tail = std::mem::take(&mut self.tail);
        tail.drain(..tail.len().saturating_sub(TAIL));
        tail
    }

    /// What was gathered for a mail, with a last line that says what is missing.
    pub(super) fn take_mail(&mut self) -> Vec<u8> {
        let mut mail = std::mem::take(&mut self.mail);
        if self.mail_lost > 0 {
            mail.extend_from_slice(
                format!("\n[{} more bytes of output not mailed]\n", self.mail_lost).as_bytes(),
            );
        }
        mail
    }

    /// Keeps between one and two tails, so that most calls only append.
    fn keep_tail(&mut self, bytes: &[u8]) {
        let new = &bytes[bytes.len().saturating_sub(TAIL)..];
        if self.tail.len() + new.len() > 2 * TAIL {
            let old = TAIL - new.len();
            self.tail.drain(..self.tail.len().saturating_sub(old));
        }
        self.tail.extend_from_slice(new);
    }

    fn gather(&mut self, bytes: &[u8]) {
        let (kept, lost) = bytes.split_at(bytes.len().min(MAX_MAIL - self.mail.len()));
        self.mail.extend_from_slice(kept);
        self.mail_lost += lost.len() as u64;
    }

    fn split(&mut self, run: RunId, bytes: &[u8], out: &mut Vec<Report>) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (mut text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            while self.partial.len() + text.len() > MAX_LINE {
                let (head, rest) = text.split_at(MAX_LINE - self.partial.len());
                text = rest;
                self.finish(run, head, out);
            }
            if ended {
                self.finish(run, text, out);
            } else {
                self.partial.extend_from_slice(text);
            }
        }
    }

    /// A line ends with `end`.
    fn finish(&mut self, run: RunId, end: &[u8], out: &mut Vec<Report>) {
        let size = (self.partial.len() + end.len()) as u64;
        if self.lost_lines > 0 || self.allowed < size + LINE_COST {
            self.partial.clear();
            self.lose(size);
            return;
        }
        let mut line = std::mem::take(&mut self.partial);
        line.extend_from_slice(end);
        self.line(run, line, out);
    }

    fn line(&mut self, run: RunId, line: Vec<u8>, out: &mut Vec<Report>) {
        if self.keep != Keep::Lines {
            return;
        }
        let cost = line.len() as u64 + LINE_COST;
        if self.lost_lines > 0 || self.allowed < cost {
            return self.lose(line.len() as u64);
        }
        self.allowed -= cost;
        out.push(Report::Output(run, line));
    }

    fn lose(&mut self, bytes: u64) {
        self.lost_lines += 1;
        self.lost_bytes += bytes;
    }

    fn refill(&mut self, run: RunId, now: Moment, out: &mut Vec<Report>) {
        // A span that is too short for one byte stays on the clock.
        let span = now - self.refilled;
        if span < Duration::from_millis(1) {
            return;
        }
        self.refilled = now;
        let earned = span.as_nanos().saturating_mul(RATE.into()) / 1_000_000_000;
        let earned = u64::try_from(earned).unwrap_or(u64::MAX);
        self.allowed = self.allowed.saturating_add(earned).min(BURST);
        if self.allowed >= RESUME {
            self.report_loss(run, out);
        }
    }

    fn report_loss(&mut self, run: RunId, out: &mut Vec<Report>) {
        if self.lost_lines > 0 {
            let note = format!(
                "[{} lines, {} bytes of output left out: too much at once]",
                self.lost_lines, self.lost_bytes
            );
            (self.lost_lines, self.lost_bytes) = (0, 0);
            out.push(Report::Output(run, note.into_bytes()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RUN: RunId = RunId(1);

    fn lines(chunks: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut capture = Capture::new(Keep::Lines, Moment(0));
        let mut out = Vec::new();
        for chunk in chunks {
            capture.take(RUN, chunk, Moment(0), &mut out);
        }
        capture.flush(RUN, &mut out);
        let lines = out
            .into_iter()
            .map(|report| match report {
                Report::Output(_, line) => line,
                other => panic!("{other:?}"),
            })
            .collect();
        (lines, capture.take_tail())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// However it arrives, every byte is in exactly one line, and none is too long.
        #[test]
        fn nothing_is_lost_or_doubled(
            chunks in prop::collection::vec(
                prop::collection::vec(prop_oneof![1 => Just(b'\n'), 40 => any::<u8>()], 0..6000), 0..8)
        ) {
            let whole = chunks.concat();
            let (lines, tail) = lines(&chunks);
            prop_assert!(lines.iter().all(|line| line.len() <= MAX_LINE && !line.contains(&b'\n')));
            let joined: Vec<u8> = lines.concat();
            let expected: Vec<u8> = whole.iter().copied().filter(|&b| b != b'\n').collect();
            prop_assert_eq!(joined, expected);
            prop_assert_eq!(tail, &whole[whole.len().saturating_sub(TAIL)..]);
        }
    }

    #[test]
    fn a_flood_is_counted_and_said() {
        let mut capture = Capture::new(Keep::Lines, Moment(0));
        let mut out = Vec::new();
        for _ in 0..100 {
            capture.take(RUN, &b"y\n".repeat(32 << 10), Moment(0), &mut out);
        }
        let shown = out.len();
        assert!(shown < 20_000, "{shown} lines");
        capture.flush(RUN, &mut out);
        let Some(Report::Output(_, note)) = out.last() else {
            panic!("no note")
        };
        let lost = 100 * (32 << 10) - shown;
        assert!(String::from_utf8_lossy(note).starts_with(&format!("[{lost} lines, {lost} bytes")));
    }

    #[test]
    fn lines_come_back_after_a_flood() {
        let mut capture = Capture::new(Keep::Lines, Moment(0));
        let mut out = Vec::new();
        capture.take(RUN, &b"y\n".repeat(1 << 20), Moment(0), &mut out);
        out.clear();
        let later = Moment(0) + Duration::from_secs(60);
        capture.take(RUN, b"calm\n", later, &mut out);
        assert_eq!(out.len(), 2);
        assert!(matches!(&out[1], Report::Output(_, line) if line == b"calm"));
    }

    #[test]
    fn a_mail_says_what_it_leaves_out() {
        let mut capture = Capture::new(Keep::Mail, Moment(0));
        let mut out = Vec::new();
        capture.take(RUN, &vec![b'x'; MAX_MAIL + 5], Moment(0), &mut out);
        assert!(out.is_empty());
        assert!(
            capture
                .take_mail()
                .ends_with(b"\n[5 more bytes of output not mailed]\n")
        );
    }
}
