//! Exchanges of two directories (renameat2(2)): two records, which do not say that they
//! belong together.

use super::batch::{Batch, ONDIR, RENAME};
use super::parse::{Record, Span};

/// The two records of an exchange are not more than this apart.
pub(super) const NEAR: usize = 64;

/// What a rename of a directory is of an exchange of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    None,
    /// Where the second is.
    First(usize),
    Second,
}

/// The record, soon after this one, by which what this one would replace takes the place
/// that this one left. Others may have come between the two.
pub(super) fn partner(batch: &Batch, at: usize, record: Record) -> Option<usize> {
    let same = |one: (Span, Span), other: (Span, Span)| {
        batch.text(one.0) == batch.text(other.0) && batch.text(one.1) == batch.text(other.1)
    };
    let end = batch.records.len().min(at + 1 + NEAR);
    let leaves = |at: &usize| {
        let next = batch.get(*at);
        next.is_some_and(|next| next.mask & RENAME != 0 && same(next.from, record.to))
    };
    let second = (at + 1..end).find(leaves)?;
    let next = batch.get(second)?;
    let back = next.mask & ONDIR != 0 && same(next.to, record.from);
    (back && batch.text(next.target) != batch.text(record.target)).then_some(second)
}
