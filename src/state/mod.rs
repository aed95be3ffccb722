//! What `catch-up=` lines need to know at a start: what their paths held when
//! it was last known that all of it had been reported.
//!
//! A thread keeps it in SQLite, so that neither a look at a hundred thousand
//! files nor a slow disk holds up an event. The loop says what was touched
//! ([`Marks`]) and the thread writes it down in two steps, of which the order is
//! the whole point:
//!
//! 1. The thread looks at the touched paths ([`Job::Look`]).
//! 2. The loop reads its sources empty: it has then heard of every change that
//!    the look could have seen. Paths touched again, and those whose event still
//!    waits for its command, are taken out.
//! 3. The thread writes down the rest in one transaction ([`Job::Commit`]).
//!
//! So the file never holds a state whose change nobody was told, whenever the
//! process is killed; what was told and not yet written down is told again. A
//! path that changed within the same tick of the clock as the look waits for the
//! next one, since a further change in that tick would not show.

mod desk;
mod keeper;
mod marks;
mod rows;
mod store;

pub use keeper::{Job, Keeper, Reply};
pub use marks::{Close, Mark, Marks};
pub use store::{Store, StoreError};

use crate::watch::snapshot::Spec;

/// A remembered path, by its number within a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u32);

/// What identifies a remembered path over restarts and edits of its table: the
/// path and the options that say what is covered; not the mask, the command or
/// the place in the table.
pub fn key(spec: &Spec, exclude: &[String]) -> Vec<u8> {
    let mut key = spec.written().to_vec();
    key.push(0);
    key.extend_from_slice(spec.options().as_bytes());
    for glob in exclude {
        key.push(0);
        key.extend_from_slice(glob.as_bytes());
    }
    key
}
