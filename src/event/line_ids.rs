//! The lines that one event is told to.
//!
//! In a directory of a thousand lines an event is still one event: the list of its
//! lines is made once, and shared by all who hear of it or remember it. One line,
//! which is what most paths have, needs no memory of its own.

use std::rc::Rc;
use std::slice;

use super::LineId;

/// Numbers of lines, in order, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineIds(Held);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    One(LineId),
    Many(Rc<[LineId]>),
}

impl LineIds {
    /// A list of these lines; it sorts them where they are not in order.
    pub fn new(ids: &[LineId]) -> Self {
        if let [one] = ids {
            return Self::from(*one);
        }
        let in_order = ids.is_sorted_by(|a, b| a < b);
        Self(Held::Many(if in_order {
            ids.into()
        } else {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids.dedup();
            ids.into()
        }))
    }

    /// The lines, in the order of their numbers.
    pub fn as_slice(&self) -> &[LineId] {
        match &self.0 {
            Held::One(id) => slice::from_ref(id),
            Held::Many(ids) => ids,
        }
    }

    /// True where `id` is one of them.
    pub fn contains(&self, id: LineId) -> bool {
        self.as_slice().binary_search(&id).is_ok()
    }
}

impl From<LineId> for LineIds {
    fn from(id: LineId) -> Self {
        Self(Held::One(id))
    }
}

impl<'a> IntoIterator for &'a LineIds {
    type Item = LineId;
    type IntoIter = std::iter::Copied<slice::Iter<'a, LineId>>;

    fn into_iter(self) -> Self::IntoIter {
        self.as_slice().iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_and_each_once() {
        let ids = |ids: &[u32]| LineIds::new(&ids.iter().map(|i| LineId(*i)).collect::<Vec<_>>());
        assert_eq!(ids(&[3, 1, 3, 2]), ids(&[1, 2, 3]));
        assert_eq!(ids(&[7]), LineId(7).into());
        assert!(ids(&[1, 5, 9]).contains(LineId(5)) && !ids(&[1, 5, 9]).contains(LineId(6)));
        assert_eq!(ids(&[]).into_iter().count(), 0);
    }

    #[test]
    fn as_small_as_a_shared_list() {
        assert_eq!(size_of::<LineIds>(), size_of::<Rc<[LineId]>>());
    }
}
