//! The messages of the proc connector (linux/connector.h, linux/cn_proc.h), and
//! how the kernel is asked for them. Pure: bytes in, meaning out.

/// `struct nlmsghdr`, then `struct cn_msg`, in bytes.
pub(super) const HEADERS: usize = 16 + 20;
/// `struct proc_event` up to its data.
pub(super) const EVENT_HEAD: usize = 16;

// enum proc_cn_event
pub(super) const NONE: u32 = 0;
pub(super) const FORK: u32 = 1;
pub(super) const EXEC: u32 = 2;
pub(super) const UID: u32 = 4;
pub(super) const GID: u32 = 0x40;
pub(super) const EXIT: u32 = 0x8000_0000;

/// One thing that happened to a process. Threads are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum What {
    Fork {
        parent: i32,
        child: i32,
    },
    Exec {
        pid: i32,
    },
    /// Its effective user is another.
    Uid {
        pid: i32,
        uid: u32,
    },
    /// Its effective group is another.
    Gid {
        pid: i32,
        gid: u32,
    },
    Exit {
        pid: i32,
    },
    /// The answer to `listen`: 0, or an errno.
    Answer(u32),
}

/// With the moment at which the kernel made it: nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Message {
    pub at: u64,
    pub what: What,
}

/// Reads one datagram. None: nothing that concerns us, or no such message.
pub fn parse(bytes: &[u8]) -> Option<Message> {
    let event = bytes.get(HEADERS..)?;
    let word = |at: usize| -> Option<u32> {
        let bytes = event.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let field = |n: usize| word(EVENT_HEAD + 4 * n);
    let pid = |n: usize| field(n).and_then(|pid| i32::try_from(pid).ok());
    // Thread and process have the same number: it is no thread but the process.
    let process = |n: usize| Some((pid(n)?, pid(n + 1)?)).filter(|(thread, whole)| thread == whole);
    let at = u64::from_ne_bytes(event.get(8..16)?.try_into().ok()?);
    let what = match word(0)? {
        NONE => What::Answer(field(0)?),
        FORK => What::Fork {
            parent: pid(1)?,
            child: process(2)?.0,
        },
        // The thread that executes becomes the process.
        EXEC => What::Exec { pid: pid(1)? },
        UID => What::Uid {
            pid: process(0)?.0,
            uid: field(3)?,
        },
        GID => What::Gid {
            pid: process(0)?.0,
            gid: field(3)?,
        },
        EXIT => What::Exit { pid: process(0)?.0 },
        _ => return None,
    };
    Some(Message { at, what })
}

/// The datagram that begins the events. `chosen`: only those that we read, which Linux
/// 6.6 knows and is silent about, since the answer is none of them; earlier kernels pass
/// over it.
pub(super) fn listen(chosen: bool) -> Vec<u8> {
    const PROC_CN_MCAST_LISTEN: u32 = 1;
    let events = FORK | EXEC | UID | GID | EXIT;
    request(PROC_CN_MCAST_LISTEN, chosen.then_some(events))
}

/// The datagram that ends them.
pub(super) fn ignore() -> Vec<u8> {
    const PROC_CN_MCAST_IGNORE: u32 = 2;
    request(PROC_CN_MCAST_IGNORE, None)
}

fn request(what: u32, events: Option<u32>) -> Vec<u8> {
    let mut data = what.to_ne_bytes().to_vec();
    data.extend(events.iter().flat_map(|events| events.to_ne_bytes()));
    let mut message = Vec::with_capacity(HEADERS + data.len());
    message.extend(((HEADERS + data.len()) as u32).to_ne_bytes());
    message.extend(3u16.to_ne_bytes()); // NLMSG_DONE
    message.extend([0; 2 + 4 + 4]); // flags, number, sender
    message.extend(1u32.to_ne_bytes()); // CN_IDX_PROC
    message.extend(1u32.to_ne_bytes()); // CN_VAL_PROC
    message.extend([0; 4 + 4]); // number, answer to
    message.extend((data.len() as u16).to_ne_bytes());
    message.extend([0; 2]); // flags
    message.extend(data);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(what: u32, fields: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; HEADERS];
        bytes.extend(what.to_ne_bytes());
        bytes.extend(7u32.to_ne_bytes()); // cpu
        bytes.extend(99u64.to_ne_bytes());
        fields.iter().for_each(|f| bytes.extend(f.to_ne_bytes()));
        bytes
    }

    #[test]
    fn processes_are_told_and_threads_are_not() {
        let what = |what, fields: &[u32]| parse(&bytes(what, fields)).map(|m| (m.at, m.what));
        let fork = What::Fork {
            parent: 5,
            child: 9,
        };
        assert_eq!(what(FORK, &[6, 5, 9, 9]), Some((99, fork)));
        assert_eq!(what(FORK, &[5, 5, 9, 5]), None, "a thread");
        assert_eq!(what(EXEC, &[9, 9]), Some((99, What::Exec { pid: 9 })));
        let uid = What::Uid { pid: 9, uid: 1001 };
        assert_eq!(what(UID, &[9, 9, 0, 1001]), Some((99, uid)));
        assert_eq!(what(UID, &[10, 9, 0, 1001]), None, "a thread");
        assert_eq!(what(EXIT, &[10, 9, 0, 17]), None, "a thread");
        assert_eq!(
            what(EXIT, &[9, 9, 0, 17]),
            Some((99, What::Exit { pid: 9 }))
        );
        assert_eq!(what(NONE, &[1]), Some((99, What::Answer(1))));
        assert_eq!(what(0x200, &[9, 9]), None, "a name");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&bytes);
        }
    }
}
