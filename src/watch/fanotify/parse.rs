//! Records of a fanotify group as the kernel writes them (fanotify(7)): a fixed
//! part, then pieces of information, each with its own length. Every length is
//! checked; what does not fit ends the record, or the buffer.
//!
//! A handle is kept as it stands in the record, from its file system's number to
//! its last byte: equal bytes mean the same directory.

/// The fixed part: `struct fanotify_event_metadata`.
const FIXED: usize = 24;
/// `struct fanotify_event_info_header`.
const HEADER: usize = 4;
/// What a handle's bytes follow: the file system's number, their count, their type.
pub(super) const BEFORE: usize = 16;
/// `FANOTIFY_METADATA_VERSION`
const VERSION: u8 = 3;

const FID: u8 = 1;
const DFID_NAME: u8 = 2;
const DFID: u8 = 3;
const PIDFD: u8 = 4;
const OLD_DFID_NAME: u8 = 10;
const NEW_DFID_NAME: u8 = 12;

/// A piece of the buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    at: u32,
    length: u32,
}

impl Span {
    /// Its bytes; empty for one that is not there.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        let at = self.at as usize;
        bytes.get(at..at + self.length as usize).unwrap_or_default()
    }

    pub fn is_empty(self) -> bool {
        self.length == 0
    }
}

/// One record. `from` alone is there for all but a rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub mask: u64,
    pub pid: i32,
    /// Directory and name.
    pub from: (Span, Span),
    /// Of a rename: the new ones.
    pub to: (Span, Span),
    /// The thing itself.
    pub target: Span,
    /// A descriptor that belongs to whoever reads this; negative: none.
    pub pidfd: i32,
}

impl Record {
    /// Where it stands among those that were read with it.
    pub fn place(self) -> u32 {
        self.from.0.at
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    number(bytes, at).map(u32::from_ne_bytes)
}

/// Appends the records of `bytes` from `at` on. False: some of it was none.
pub(super) fn records(bytes: &[u8], mut at: usize, out: &mut Vec<Record>) -> bool {
    while at < bytes.len() {
        let Some((record, next)) = record(bytes, at) else {
            return false;
        };
        out.push(record);
        at = next;
    }
    true
}

fn record(bytes: &[u8], at: usize) -> Option<(Record, usize)> {
    let length = u32_at(bytes, at)? as usize;
    let end = at.checked_add(length)?;
    let whole = bytes.get(..end)?;
    if length < FIXED || *whole.get(at + 4)? != VERSION {
        return None;
    }
    let fixed = usize::from(u16::from_ne_bytes(number(whole, at + 6)?));
    let mut record = Record {
        mask: u64::from_ne_bytes(number(whole, at + 8)?),
        pid: i32::from_ne_bytes(number(whole, at + 20)?),
        from: Default::default(),
        to: Default::default(),
        target: Span::default(),
        pidfd: -1,
    };
    let mut info = at + fixed.max(FIXED);
    while info < end {
        let Some(next) = piece(whole, info, &mut record) else {
            break;
        };
        info = next;
    }
    Some((record, end))
}

/// Reads the piece of information at `at`; gives where the next one begins.
fn piece(whole: &[u8], at: usize, record: &mut Record) -> Option<usize> {
    let kind = *whole.get(at)?;
    let length = usize::from(u16::from_ne_bytes(number(whole, at + 2)?));
    let next = at + length;
    if length < HEADER || next > whole.len() {
        return None;
    }
    let inner = whole.get(..next)?;
    let start = at + HEADER;
    match kind {
        PIDFD => record.pidfd = i32::from_ne_bytes(number(inner, start)?),
        FID | DFID | DFID_NAME | OLD_DFID_NAME | NEW_DFID_NAME => {
            let bytes = u32_at(inner, start + 8)? as usize;
            let end = start.checked_add(BEFORE)?.checked_add(bytes)?;
            inner.get(start..end)?;
            let handle = span(start, end)?;
            let text = inner.get(end..)?.split(|&b| b == 0).next()?;
            let name = span(end, end + text.len())?;
            match kind {
                FID => record.target = handle,
                NEW_DFID_NAME => record.to = (handle, name),
                DFID => record.from = (handle, Span::default()),
                _ => record.from = (handle, name),
            }
        }
        _ => {}
    }
    Some(next)
}

fn span(at: usize, end: usize) -> Option<Span> {
    Some(Span {
        at: u32::try_from(at).ok()?,
        length: u32::try_from(end.checked_sub(at)?).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn info(kind: u8, handle: &[u8], name: Option<&[u8]>) -> Vec<u8> {
        let mut body = vec![7u8; 8];
        body.extend((handle.len() as u32).to_ne_bytes());
        body.extend(1i32.to_ne_bytes());
        body.extend(handle);
        if let Some(name) = name {
            body.extend(name);
            body.push(0);
        }
        while !body.len().is_multiple_of(4) {
            body.push(0);
        }
        let mut all = vec![kind, 0];
        all.extend((body.len() as u16 + 4).to_ne_bytes());
        all.extend(body);
        all
    }

    fn event(mask: u64, infos: &[Vec<u8>]) -> Vec<u8> {
        let body: Vec<u8> = infos.concat();
        let mut all = ((FIXED + body.len()) as u32).to_ne_bytes().to_vec();
        all.extend([VERSION, 0]);
        all.extend((FIXED as u16).to_ne_bytes());
        all.extend(mask.to_ne_bytes());
        all.extend((-1i32).to_ne_bytes());
        all.extend(42i32.to_ne_bytes());
        all.extend(body);
        all
    }

    #[test]
    fn a_rename_has_two_places_and_a_target() {
        let long = [b'n'; 255];
        let bytes = event(
            0x1000_0000,
            &[
                info(OLD_DFID_NAME, b"olddir", Some(b"a")),
                info(NEW_DFID_NAME, b"newdirectory", Some(&long)),
                info(FID, b"thing", None),
            ],
        );
        let mut out = Vec::new();
        assert!(records(&bytes, 0, &mut out));
        let r = out[0];
        assert_eq!((r.mask, r.pid, r.pidfd), (0x1000_0000, 42, -1));
        assert_eq!(r.from.1.of(&bytes), b"a");
        assert_eq!(r.to.1.of(&bytes), &long);
        assert!(r.to.0.of(&bytes).ends_with(b"newdirectory"));
        assert!(r.target.of(&bytes).ends_with(b"thing"));
        assert_eq!(r.target.of(&bytes).len(), BEFORE + 5);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn random_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            records(&bytes, 0, &mut out);
        }

        /// A good record, cut anywhere and with bytes changed: nothing is read that
        /// is not inside of it.
        #[test]
        fn what_is_read_is_inside(
            handle in proptest::collection::vec(any::<u8>(), 0..40),
            name in proptest::collection::vec(1u8..=255, 0..256),
            cut in 0usize..400,
            changes in proptest::collection::vec((0usize..400, any::<u8>()), 0..4),
        ) {
            let one = event(0x100, &[info(DFID_NAME, &handle, Some(&name)), info(FID, &handle, None)]);
            let mut bytes = [one.clone(), one].concat();
            if changes.is_empty() && cut >= bytes.len() {
                let mut out = Vec::new();
                prop_assert!(records(&bytes, 0, &mut out));
                prop_assert_eq!(out.len(), 2);
                for r in out {
                    prop_assert_eq!(r.from.1.of(&bytes), &name[..]);
                    prop_assert_eq!(r.target.of(&bytes).len(), BEFORE + handle.len());
                }
            }
            for (at, byte) in changes {
                if let Some(b) = bytes.get_mut(at) {
                    *b = byte;
                }
            }
            bytes.truncate(cut);
            let mut out = Vec::new();
            records(&bytes, 0, &mut out);
            for r in &out {
                for span in [r.from.0, r.from.1, r.to.0, r.to.1, r.target] {
                    prop_assert!(span.at as usize + span.length as usize <= bytes.len());
                }
            }
        }
    }
}
