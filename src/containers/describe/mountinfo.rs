//! The mount that is a container's root, as /proc/PID/mountinfo tells it: the
//! kernel's own word for the layers, whichever engine made them (proc(5)).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// What is mounted at a container's `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// The kernel's overlay; paths as the engine gave them, so maybe relative, and
    /// short links. Lower layers top first.
    Overlay { upper: PathBuf, lower: Vec<PathBuf> },
    /// fuse-overlayfs, whose layers only its own arguments and files name.
    Fuse,
    /// A directory of another file system: the drivers vfs and btrfs, `--rootfs`.
    Other,
}

/// The root in a mountinfo text; None where there is none.
pub fn root(text: &[u8]) -> Option<Root> {
    // A later mount on / hides an earlier one.
    text.split(|&byte| byte == b'\n').rev().find_map(line)
}

fn line(line: &[u8]) -> Option<Root> {
    let mut fields = line.split(|&byte| byte == b' ');
    if fields.nth(4)? != b"/" {
        return None;
    }
    // Optional fields end with a dash.
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let (kind, _source, options) = (fields.next()?, fields.next()?, fields.next()?);
    Some(match kind {
        b"overlay" => overlay(options)?,
        b"fuse.fuse-overlayfs" => Root::Fuse,
        _ => Root::Other,
    })
}

/// None for an overlay without an upper layer: it is read-only, nothing changes.
fn overlay(options: &[u8]) -> Option<Root> {
    let mut upper = None;
    let mut lower = Vec::new();
    for option in options.split(|&byte| byte == b',') {
        if let Some(path) = option.strip_prefix(b"upperdir=") {
            upper = Some(OsString::from_vec(plain(path)).into());
        } else if let Some(path) = option.strip_prefix(b"lowerdir+=") {
            lower.push(OsString::from_vec(plain(path)).into()); // one each, from Linux 6.5
        } else if let Some(paths) = option.strip_prefix(b"lowerdir=") {
            lower.extend(layers(&plain(paths)));
        }
    }
    match upper {
        Some(upper) => Some(Root::Overlay { upper, lower }),
        None => Some(Root::Other),
    }
}

/// Paths with colons between them; a colon of a path has a backslash before it.
pub fn layers(text: &[u8]) -> Vec<PathBuf> {
    let mut paths = vec![Vec::new()];
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        let last = paths.last_mut();
        match (byte, last) {
            (b':', _) => paths.push(Vec::new()),
            (b'\\', Some(last)) => last.extend(bytes.next()),
            (_, Some(last)) => last.push(byte),
            (_, None) => {}
        }
    }
    let paths = paths.into_iter().filter(|path| !path.is_empty());
    paths.map(|path| OsString::from_vec(path).into()).collect()
}

/// A field without its escapes: `\040` is a blank.
fn plain(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let code = (byte == b'\\')
            .then(|| after.get(..3).and_then(octal))
            .flatten();
        bytes.push(code.unwrap_or(byte));
        rest = match code {
            Some(_) => after.get(3..).unwrap_or_default(),
            None => after,
        };
    }
    bytes
}

fn octal(digits: &[u8]) -> Option<u8> {
    let digits = OsStr::from_bytes(digits).to_str()?;
    u8::from_str_radix(digits, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_container_of_podman() {
        let text = b"95 70 0:41 / / rw,relatime - overlay overlay rw,lowerdir=/s/overlay/l/AB:/s/overlay/l/CD,upperdir=/s/overlay/6f/diff,workdir=/s/overlay/6f/work,uuid=on\n\
            96 95 0:5 / /proc rw - proc proc rw\n";
        let Some(Root::Overlay { upper, lower }) = root(text) else {
            panic!("no overlay");
        };
        assert_eq!(upper, PathBuf::from("/s/overlay/6f/diff"));
        let wanted: Vec<PathBuf> = vec!["/s/overlay/l/AB".into(), "/s/overlay/l/CD".into()];
        assert_eq!(lower, wanted);
    }

    #[test]
    fn paths_of_any_kind() {
        let text = br"1 0 0:4 / / rw shared:1 master:2 - overlay o rw,lowerdir+=/a\040b,lowerdir+=/c,upperdir=/u\054p\134x/diff";
        let Some(Root::Overlay { upper, lower }) = root(text) else {
            panic!("no overlay");
        };
        assert_eq!(upper, PathBuf::from(r"/u,p\x/diff"));
        assert_eq!(lower, [PathBuf::from("/a b"), "/c".into()]);
        assert_eq!(
            layers(br"/a\:b:/c::/d"),
            [PathBuf::from("/a:b"), "/c".into(), "/d".into()]
        );
    }

    #[test]
    fn other_roots() {
        assert_eq!(
            root(b"1 0 0:4 /x / rw - ext4 /dev/sda rw\n"),
            Some(Root::Other)
        );
        let fuse = b"1 0 0:4 / / rw - fuse.fuse-overlayfs fuse-overlayfs rw,user_id=0\n";
        assert_eq!(root(fuse), Some(Root::Fuse));
        assert_eq!(
            root(b"1 0 0:4 / / rw - overlay o ro,lowerdir=/a:/b"),
            Some(Root::Other)
        );
        let over = b"1 0 0:4 / / rw - ext4 /d rw\n2 1 0:5 / / rw - overlay o rw,upperdir=/u\n";
        assert!(matches!(root(over), Some(Root::Overlay { .. })));
        assert_eq!(root(b""), None);
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = root(&text);
            let _ = layers(&text);
        }

        #[test]
        fn colons_and_backslashes_of_a_path_are_kept(path in "[a-c:\\\\/]{1,12}") {
            let written = path.replace('\\', "\\\\").replace(':', "\\:");
            prop_assert_eq!(layers(written.as_bytes()), vec![PathBuf::from(path)]);
        }
    }
}
