//! File systems that ended under their marks.
//!
//! The numbers of a mount and of a device are given to the next one at once, so a table
//! of mounts that looks as it did proves nothing. A mark ends with its file system, and
//! /proc/self/fdinfo has a line for each that is left (proc(5), since Linux 3.8).

use std::collections::HashSet;
use std::fs;
use std::os::fd::AsRawFd;

use super::{FsId, Group};

impl Group {
    /// Gives the file systems that have ended since the last call. Their marks are no
    /// longer counted on: another mount of the same file system needs new ones.
    pub fn ended(&mut self) -> Vec<FsId> {
        let Ok(text) = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.fd.as_raw_fd()))
        else {
            return Vec::new();
        };
        let marked: HashSet<u64> = text.lines().filter_map(device_of_mark).collect();
        let (ways, systems) = (&mut self.ways, &mut self.systems);
        let mut ended = Vec::new();
        for (fs, system) in systems {
            let asked = system.mask != 0 || ways.keys().any(|key| key.starts_with(fs));
            let left = device(&system.device).is_none_or(|device| marked.contains(&device));
            // The mark may be the next one's, which a path led to before we knew.
            let replaced = std::mem::take(&mut system.replaced);
            if asked && (replaced || !left) {
                system.mask = 0;
                ways.retain(|key, _| !key.starts_with(fs));
                ended.push(*fs);
            }
        }
        ended
    }
}

/// The device of `fanotify ... sdev:HEX ...`.
fn device_of_mark(line: &str) -> Option<u64> {
    let fields = line.strip_prefix("fanotify ")?;
    let device = fields.split(' ').find_map(|f| f.strip_prefix("sdev:"))?;
    u64::from_str_radix(device, 16).ok()
}

/// `MAJOR:MINOR` as the kernel writes it in fdinfo: 20 bits for the minor.
fn device(text: &[u8]) -> Option<u64> {
    let (major, minor) = std::str::from_utf8(text).ok()?.split_once(':')?;
    let (major, minor): (u64, u64) = (major.parse().ok()?, minor.parse().ok()?);
    Some(major << 20 | minor)
}

#[cfg(test)]
mod tests {
    use super::{device, device_of_mark};

    #[test]
    fn a_device_is_the_same_in_both_tables() {
        let whole = "fanotify sdev:800013 mflags:0 mask:3b ignored_mask:0";
        assert_eq!(device_of_mark(whole), device(b"8:19"));
        let one = "fanotify ino:2f sdev:fe00000 mflags:0 mask:40 ignored_mask:0 fhandle-bytes:8";
        assert_eq!(device_of_mark(one), device(b"254:0"));
        assert_eq!(device_of_mark("fanotify flags:43 event-flags:8000"), None);
        assert_eq!(device_of_mark("pos:\t0"), None);
        assert_eq!(device(b""), None);
    }
}
