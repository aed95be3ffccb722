//! From a difference between two snapshots to the events that a line is told:
//! those the kernel would have told, as far as a state shows them.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;

use super::compare::{Difference, What};
use super::found::{self, ORDER, Thing};
use super::snapshot::Spec;
use crate::event::{Event, Origin, next_seq};
use crate::table::Mask;

/// What becomes of a path: it is there afterwards.
pub const ARRIVAL: Mask = Mask(Mask::CREATE.0 | Mask::MOVED_TO.0);
/// What ends a path.
pub const PARTING: Mask =
    Mask(Mask::DELETE.0 | Mask::MOVED_FROM.0 | Mask::DELETE_SELF.0 | Mask::MOVE_SELF.0);
const WRITTEN: Mask = Mask(Mask::MODIFY.0 | Mask::CLOSE_WRITE.0 | Mask::COMPLETE.0);

/// The bits that a line with mask `asked` is told of `difference` at its path.
pub fn due(asked: Mask, difference: &Difference, is_root: bool) -> Mask {
    let (entry, what) = (&difference.entry, difference.what);
    let thing = Thing {
        dir: entry.is_dir(),
        regular: entry.is_file(),
        nonempty: entry.size > 0,
        made: what == What::Made,
        written: true,
        ..Thing::default()
    };
    if is_root {
        return of_root(asked, what, thing);
    }
    match what {
        What::Gone => found::due(
            asked,
            Thing {
                gone: true,
                ..thing
            },
        ),
        What::Moved => found::due(
            asked,
            Thing {
                moved: true,
                ..thing
            },
        ),
        What::Made => found::due(asked, thing),
        What::Replaced => found::due(
            asked,
            Thing {
                nonempty: true,
                ..thing
            },
        ),
        What::Written => asked & WRITTEN,
        What::Closed => asked & (Mask::CLOSE_WRITE | Mask::COMPLETE),
        What::Attributes => asked & Mask::ATTRIB,
        What::Nothing => Mask(0),
    }
}

/// Of the watched path itself: a file that a line stands on is told of as one.
fn of_root(asked: Mask, what: What, thing: Thing) -> Mask {
    let arrival = |bits| found::for_file(asked, bits, true, true);
    match what {
        What::Attributes => asked & Mask::ATTRIB,
        What::Gone => arrival(Mask::DELETE),
        _ if thing.dir => Mask(0),
        What::Moved | What::Replaced => arrival(Mask::MOVED_TO),
        What::Made => match found::due(asked, thing) {
            told if told.is_empty() => arrival(Mask::CREATE),
            told => told,
        },
        What::Written => asked & WRITTEN,
        What::Closed => asked & (Mask::CLOSE_WRITE | Mask::COMPLETE),
        What::Nothing => Mask(0),
    }
}

/// The events for `bits` of `difference`, one a bit, in the kernel's order; where
/// it was renamed and `asked` has MOVED_FROM, first that of the old path.
pub fn events(
    spec: &Spec,
    difference: &Difference,
    asked: Mask,
    bits: Mask,
    origin: Origin,
    out: &mut Vec<Rc<Event>>,
) {
    let kind = if difference.entry.is_dir() {
        Mask::ISDIR
    } else {
        Mask(0)
    };
    let time = SystemTime::now();
    let mut tell = |mask: Mask, path: &[u8], old_path: Option<PathBuf>| {
        let (watch, name) = spec.place(path);
        let mask = mask | kind;
        out.push(Rc::new(Event {
            mask,
            watch,
            name,
            old_path,
            time,
            origin,
            actor: None,
            seq: next_seq(),
            labels: None,
        }));
    };
    let old_path = difference.old_path.as_deref();
    if let (What::Moved, Some(old)) = (difference.what, old_path)
        && asked.intersects(Mask::MOVED_FROM)
    {
        tell(Mask::MOVED_FROM, old, None);
    }
    let old_path = old_path.map(|old| PathBuf::from(spec.absolute(old)));
    let thing = Thing {
        moved: difference.what == What::Moved,
        ..Thing::default()
    };
    for bit in ORDER
        .into_iter()
        .chain([Mask::DELETE_SELF, Mask::MOVE_SELF])
    {
        let step = found::step(bits, bit, thing);
        if !step.is_empty() {
            let old_path = old_path.clone().filter(|_| step.intersects(Mask::MOVED_TO));
            tell(step, &difference.path, old_path);
        }
    }
}
