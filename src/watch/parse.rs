//! From the bytes of a read to events, without trusting them: `struct
//! inotify_event` of inotify(7), and `struct linux_dirent64` of getdents64(2).

use crate::table::Mask;

/// The fixed part of an inotify event.
const HEAD: usize = 16;
/// No event is smaller.
pub(super) const SMALLEST: usize = HEAD;
/// No event is larger: head, 255 bytes of name, NUL.
pub(super) const LARGEST: usize = HEAD + 256;

/// One event as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Raw<'a> {
    pub wd: i32,
    pub mask: Mask,
    pub cookie: u32,
    pub name: &'a [u8],
    /// Bytes it took in the stream.
    pub len: usize,
}

fn word(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at + 4)?.try_into().ok()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&b| b == 0).next().unwrap_or_default()
}

/// The event at the start of `bytes`, if a whole one is there.
pub(super) fn event(bytes: &[u8]) -> Option<Raw<'_>> {
    let len = u32::from_ne_bytes(word(bytes, 12)?) as usize;
    let name = bytes.get(HEAD..HEAD.checked_add(len)?)?;
    Some(Raw {
        wd: i32::from_ne_bytes(word(bytes, 0)?),
        mask: Mask(u32::from_ne_bytes(word(bytes, 4)?)),
        cookie: u32::from_ne_bytes(word(bytes, 8)?),
        name: until_nul(name),
        len: HEAD + len,
    })
}

/// True where the queue was full at some point of these events.
pub(super) fn overflows(mut bytes: &[u8]) -> bool {
    while let Some(raw) = event(bytes) {
        if raw.mask.intersects(Mask::Q_OVERFLOW) {
            return true;
        }
        bytes = bytes.get(raw.len..).unwrap_or_default();
    }
    false
}

/// True for events after which the picture may be wrong.
pub(super) fn structural(raw: &Raw<'_>) -> bool {
    let names = Mask::CREATE | Mask::DELETE | Mask::MOVE;
    raw.mask.intersects(Mask::MOVE_SELF | names)
        || raw.mask.contains(Mask::ATTRIB | Mask::ISDIR) && !raw.name.is_empty()
}

/// One entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub inode: u64,
    pub name: &'a [u8],
    /// `libc::DT_DIR` ...; `DT_UNKNOWN` where the file system does not say.
    pub kind: u8,
}

/// The entry at the start of `bytes` and the bytes it takes.
pub(super) fn entry(bytes: &[u8]) -> Option<(Entry<'_>, usize)> {
    const NAME: usize = 19;
    let inode = u64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?);
    let len = u16::from_ne_bytes(bytes.get(16..18)?.try_into().ok()?) as usize;
    let kind = *bytes.get(18)?;
    let name = until_nul(bytes.get(NAME..len)?);
    Some((Entry { inode, name, kind }, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(wd: i32, mask: u32, name: &[u8]) -> Vec<u8> {
        let mut b = Vec::new();
        b.extend_from_slice(&wd.to_ne_bytes());
        b.extend_from_slice(&mask.to_ne_bytes());
        b.extend_from_slice(&0u32.to_ne_bytes());
        b.extend_from_slice(&u32::try_from(name.len()).unwrap().to_ne_bytes());
        b.extend_from_slice(name);
        b
    }

    #[test]
    fn an_event_ends_its_name_at_the_first_nul() {
        let b = bytes(3, 0x100, b"abc\0\0\0\0\0");
        let e = event(&b).unwrap();
        assert_eq!(
            (e.wd, e.mask, e.name, e.len),
            (3, Mask::CREATE, &b"abc"[..], 24)
        );
    }

    #[test]
    fn cut_or_lying_bytes_are_no_event() {
        let mut b = bytes(3, 0x100, b"abc\0");
        for n in 0..b.len() {
            assert_eq!(event(&b[..n]), None);
        }
        b[12..16].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(event(&b), None);
    }

    #[test]
    fn any_bytes_are_survived() {
        for seed in 0..=255u8 {
            let b: Vec<u8> = (0..80u8)
                .map(|i| i.wrapping_mul(seed).wrapping_add(seed))
                .collect();
            for n in 0..b.len() {
                let _ = (event(&b[n..]), entry(&b[n..]));
            }
        }
    }
}
