//! File systems whose changes the kernel does not, or not all, tell: a line on
//! one of them works less than it looks, and the log says so when it is loaded.
//!
//! The numbers are `f_type` of statfs(2), from <linux/magic.h> and, for those
//! that keep theirs to themselves, the source of the file system (Linux 6.12).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::statfs::statfs;

use super::Request;
use crate::table::Pattern;

/// What to expect of a kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// Others change it, and only what this machine does is told.
    Remote,
    /// The kernel makes its files up; their content changes without a write.
    Made,
    /// Changes made beneath it are not told.
    Beneath,
}

/// Number, name, what to expect.
const TABLE: &[(u32, &str, Expect)] = &[
    (0x6969, "NFS", Expect::Remote),
    (0x517b, "SMB", Expect::Remote),
    (0xff53_4d42, "CIFS", Expect::Remote),
    (0xfe53_4d42, "SMB2", Expect::Remote),
    (0x6573_5546, "FUSE", Expect::Remote),
    (0x0102_1997, "9p", Expect::Remote),
    (0x00c3_6400, "Ceph", Expect::Remote),
    (0x5346_414f, "AFS", Expect::Remote),
    (0x6b41_4653, "AFS", Expect::Remote),
    (0x7375_7245, "Coda", Expect::Remote),
    (0x564c, "NCP", Expect::Remote),
    (0x0bd0_0bd0, "Lustre", Expect::Remote),
    (0x2003_0528, "OrangeFS", Expect::Remote),
    (0x0116_1970, "GFS2", Expect::Remote),
    (0x7461_636f, "OCFS2", Expect::Remote),
    (0x786f_4256, "vboxsf", Expect::Remote),
    (0x9fa0, "proc", Expect::Made),
    (0x6265_6572, "sysfs", Expect::Made),
    (0x6462_6720, "debugfs", Expect::Made),
    (0x7472_6163, "tracefs", Expect::Made),
    (0x6265_6570, "configfs", Expect::Made),
    (0x0027_e0eb, "cgroup", Expect::Made),
    (0x6367_7270, "cgroup2", Expect::Made),
    (0x7363_6673, "securityfs", Expect::Made),
    (0xf97c_ff8c, "selinuxfs", Expect::Made),
    (0xde5e_81e4, "efivarfs", Expect::Made),
    (0x794c_7630, "overlay", Expect::Beneath),
    (0xf15f, "eCryptfs", Expect::Beneath),
];

fn find(number: u32) -> Option<(&'static str, Expect)> {
    let (_, name, expect) = TABLE.iter().find(|row| row.0 == number)?;
    Some((name, *expect))
}

/// One line for the log where the path of a request that is not polled lies on
/// such a file system. Looks at the nearest directory that exists.
pub fn note(request: &Request) -> Option<String> {
    if request.poll.is_some() {
        return None;
    }
    let written = Path::new(OsStr::from_bytes(request.path.written.as_bytes()));
    let base = match request.path.pattern {
        true => Pattern::compile(&request.path).ok()?.base().to_owned(),
        false => written.to_owned(),
    };
    let number = base
        .ancestors()
        .find_map(|path| statfs(path).ok())?
        .filesystem_type()
        .0;
    // The type of f_type differs between machines; the number has 32 bits.
    let (name, expect) = find(number as u32)?;
    let path = written.display();
    Some(match expect {
        Expect::Remote => format!(
            "{path} is on {name}: only changes made by this machine are told; poll=30s sees those of others, too"
        ),
        Expect::Made => format!(
            "{path} is on {name}: its files change without an event; poll=30s sees what changes a time or a size"
        ),
        Expect::Beneath => format!(
            "{path} is on {name}: changes made beneath it, in a lower directory, are not told; poll=30s sees them"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::LineId;
    use crate::table::{Mask, PathSpec};
    use std::time::Duration;

    fn request(path: &str) -> Request {
        Request {
            line: LineId(1),
            path: PathSpec {
                written: path.into(),
                pattern: path.contains('*'),
            },
            mask: Mask::CREATE,
            recursive: true,
            depth: None,
            dotdirs: false,
            exclude: Vec::new(),
            poll: None,
            source: crate::table::Source::Auto,
            who: false,
        }
    }

    #[test]
    fn each_number_stands_once() {
        for (at, row) in TABLE.iter().enumerate() {
            assert!(
                TABLE.iter().skip(at + 1).all(|other| other.0 != row.0),
                "{}",
                row.1
            );
        }
        // What libc knows is what is written here.
        let known = [
            ("NFS", libc::NFS_SUPER_MAGIC as u32),
            ("FUSE", libc::FUSE_SUPER_MAGIC as u32),
            ("proc", libc::PROC_SUPER_MAGIC as u32),
            ("sysfs", libc::SYSFS_MAGIC as u32),
            ("overlay", libc::OVERLAYFS_SUPER_MAGIC as u32),
            ("cgroup2", libc::CGROUP2_SUPER_MAGIC as u32),
            ("SMB", libc::SMB_SUPER_MAGIC as u32),
            ("debugfs", libc::DEBUGFS_MAGIC as u32),
            ("tracefs", libc::TRACEFS_MAGIC as u32),
            ("Coda", libc::CODA_SUPER_MAGIC as u32),
        ];
        for (name, number) in known {
            assert_eq!(find(number).map(|(name, _)| name), Some(name));
        }
    }

    #[test]
    fn what_this_machine_mounts() {
        assert!(note(&request("/proc/sys")).is_some_and(|text| text.contains("on proc")));
        assert!(note(&request("/proc/not/there/*")).is_some_and(|text| text.contains("on proc")));
        assert!(note(&request("/sys/class")).is_some_and(|text| text.contains("on sysfs")));
        let polled = Request {
            poll: Some(Duration::from_secs(1)),
            source: crate::table::Source::Auto,
            who: false,
            ..request("/proc/sys")
        };
        assert_eq!(note(&polled), None);
    }
}
