//! How often something is said that may happen a million times.

use std::time::Duration;

use crate::time::Moment;

/// So many in [`SPAN`] are said, the others counted.
const MOST: u32 = 5;
const SPAN: Duration = Duration::from_secs(60);

/// One kind of message of one provider.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Complaints {
    since: Option<Moment>,
    said: u32,
    left_out: u64,
}

impl Complaints {
    /// Whether this one is said.
    pub fn is_said(&mut self, now: Moment) -> bool {
        if self.left_out == 0 && self.since.is_none_or(|since| now >= since + SPAN) {
            self.since = Some(now);
            self.said = 0;
        }
        let said = self.said < MOST;
        match said {
            true => self.said += 1,
            false => self.left_out += 1,
        }
        said
    }

    /// So many are not said in any case.
    pub fn leave_out(&mut self, count: u64, now: Moment) {
        self.since.get_or_insert(now);
        self.left_out += count;
    }

    /// When the number of those left out is to be said.
    pub fn deadline(&self) -> Option<Moment> {
        self.since
            .filter(|_| self.left_out > 0)
            .map(|since| since + SPAN)
    }

    /// That number, once it is due.
    pub fn left_out(&mut self, now: Moment) -> Option<u64> {
        self.deadline().filter(|at| *at <= now)?;
        self.since = None;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_counted() {
        let mut complaints = Complaints::default();
        let said = (0..1000).filter(|_| complaints.is_said(Moment(1))).count();
        assert_eq!(said, 5);
        assert_eq!(complaints.left_out(Moment(2)), None);
        let later = Moment(1) + SPAN;
        assert_eq!(complaints.deadline(), Some(later));
        assert_eq!(complaints.left_out(later), Some(995));
        assert_eq!(
            (complaints.left_out(later), complaints.deadline()),
            (None, None)
        );
        assert!(complaints.is_said(later));
    }
}
