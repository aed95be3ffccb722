//! What lines were told of one name since the queue was last empty, as far as a
//! rescan must know it in order not to say it again.
//!
//! A file that is written without end must not make this grow. A rescan asks of a
//! line only whether it was told an event bit (and any at all) after a time, and
//! whether the name was given up; so of all the words with one bit to the same lines
//! the latest says what they all say, and what came before the name was given up is
//! of another thing. That is what is kept: a word for each list of lines and bit.

use super::differences::PARTING;
use super::found::{self, Thing};
use crate::event::{LineId, LineIds};
use crate::sys::inotify::Stamp;
use crate::table::Mask;

/// What lines were told, and when it was read.
#[derive(Clone, Debug)]
struct Word {
    lines: LineIds,
    mask: Mask,
    at: Stamp,
}

/// What was told of one name, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Words(Vec<Word>);

impl Words {
    /// `lines` were told `mask`, read at `at`.
    pub fn say(&mut self, lines: &LineIds, mask: Mask, at: Stamp) {
        let mut mask = mask & !Mask::ISDIR;
        let parting = mask.intersects(PARTING);
        // Other lists that share lines with this one may say that the name was given
        // up: a word from before that must not speak for what came after.
        let given_up = |word: &Word| word.mask.intersects(PARTING);
        let since = self.0.iter().rposition(given_up).map_or(0, |at| at + 1);
        let mut place = 0;
        self.0.retain_mut(|word| {
            let stands = place >= since && word.at > at;
            place += 1;
            if word.lines != *lines {
                return true;
            }
            if parting {
                mask |= word.mask & PARTING;
                return false;
            }
            if stands {
                mask = mask & !word.mask;
            } else {
                word.mask = word.mask & !mask;
            }
            !word.mask.is_empty()
        });
        let last = self.0.last_mut().filter(|_| !parting);
        match last.filter(|w| w.lines == *lines && w.at == at && !w.mask.intersects(PARTING)) {
            Some(word) => word.mask |= mask,
            None if mask.is_empty() => {}
            None => self.0.push(Word {
                lines: lines.clone(),
                mask,
                at,
            }),
        }
    }

    /// What is left of `due`, which `line` should hear of `thing`.
    pub fn left(&self, line: LineId, due: Mask, thing: Thing) -> Mask {
        let mut left = due;
        for word in self.to(line) {
            // What was told before the name was last free is of another thing.
            left = if word.mask.intersects(PARTING) {
                due
            } else {
                found::left(left, word.mask, word.at, thing)
            };
        }
        left
    }

    /// True where `line` was told that the name was given up.
    pub fn parted(&self, line: LineId) -> bool {
        self.to(line).any(|word| word.mask.intersects(PARTING))
    }

    fn to(&self, line: LineId) -> impl Iterator<Item = &Word> {
        self.0.iter().filter(move |word| word.lines.contains(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Everything as it was said, for the oracle.
    fn all(said: &[(LineIds, Mask, Stamp)]) -> Words {
        let word = |(lines, mask, at): &(LineIds, Mask, Stamp)| Word {
            lines: lines.clone(),
            mask: *mask,
            at: *at,
        };
        Words(said.iter().map(word).collect())
    }

    fn lists() -> impl Strategy<Value = LineIds> {
        let some = |ids: &[u32]| LineIds::new(&ids.iter().map(|i| LineId(*i)).collect::<Vec<_>>());
        prop_oneof![
            Just(some(&[1])),
            Just(some(&[1, 2])),
            Just(some(&[2, 3])),
            Just(some(&[1, 2, 3]))
        ]
    }

    fn masks() -> impl Strategy<Value = Mask> {
        let bit = prop_oneof![0..12_u32, Just(16)].prop_map(|bit| Mask(1 << bit));
        (bit, any::<bool>(), any::<bool>()).prop_map(|(bit, complete, dir)| match (complete, dir) {
            (true, _) if bit == Mask::CLOSE_WRITE => bit | Mask::COMPLETE,
            (_, true) => bit | Mask::ISDIR,
            _ => bit,
        })
    }

    proptest! {
        #[test]
        fn says_what_all_the_words_said(
            said in prop::collection::vec((lists(), masks(), 0..3_i64), 0..40),
            thing in (0..50_i64, 0..50_i64, any::<bool>(), any::<bool>(), any::<bool>()),
        ) {
            let mut words = Words::default();
            let mut log = Vec::new();
            let mut now = 0;
            for (lines, mask, passed) in said {
                now += passed;
                words.say(&lines, mask, Stamp(now));
                log.push((lines, mask, Stamp(now)));
            }
            let log = all(&log);
            let (born, changed, made, written, moved) = thing;
            let thing = Thing {
                regular: true, nonempty: true, made, written, moved,
                born: Stamp(born), changed: Stamp(changed), ..Thing::default()
            };
            for line in (1..4).map(LineId) {
                prop_assert_eq!(words.parted(line), log.parted(line));
                for bit in (0..12).chain([16]) {
                    let due = Mask(1 << bit);
                    prop_assert_eq!(words.left(line, due, thing), log.left(line, due, thing));
                }
            }
        }
    }

    #[test]
    fn a_word_of_a_later_time_stands() {
        let line = LineId(1);
        let mut words = Words::default();
        words.say(&line.into(), Mask::MODIFY, Stamp::NEVER);
        words.say(&line.into(), Mask::MODIFY | Mask::ATTRIB, Stamp(5));
        let changed = Thing {
            changed: Stamp(9),
            ..Thing::default()
        };
        let due = Mask::MODIFY | Mask::ATTRIB;
        assert_eq!(words.left(line, due, changed), Mask::ATTRIB);
    }

    #[test]
    fn a_million_words_of_one_name_take_the_room_of_a_few() {
        let (one, both) = (
            LineIds::from(LineId(1)),
            LineIds::new(&[LineId(1), LineId(2)]),
        );
        let mut words = Words::default();
        let mut most = 0;
        for now in 0..1_000_000_i64 {
            let bit = Mask(1 << (now * 7 % 12));
            let lines = if now % 3 == 0 { &one } else { &both };
            words.say(lines, bit, Stamp(now));
            most = most.max(words.0.len());
            assert!(words.0.capacity() <= 64, "after {now}");
        }
        assert!(most <= 2 * 12, "{most}");
    }
}
