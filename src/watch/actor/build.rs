//! From a known process to the actor of an event.

use super::process::{Known, PARENTS, Process, Reader};
use crate::event::{Actor, Confidence, Parent};

/// What an event tells of a process; `name` knows users.
pub fn actor(pid: i32, process: &Process, mut name: impl FnMut(u32) -> Option<String>) -> Actor {
    let image = &*process.image;
    let parents = process.parents.iter().map(|parent| Parent {
        pid: parent.pid,
        exe: parent.image.exe.clone(),
    });
    Actor {
        pid,
        ns_pid: process.ns_pid.filter(|pid| *pid > 0),
        ppid: Some(process.ppid),
        exe: image.exe.clone(),
        cmdline: image.cmdline.clone(),
        uid: process.uid,
        user: process.uid.and_then(&mut name),
        login_uid: image.login_uid,
        login: image.login_uid.and_then(&mut name),
        gid: process.gid,
        session: image.session,
        cgroup: image.cgroup.clone(),
        container: image.container.clone(),
        parents: parents.take(PARENTS).collect(),
        line: process.run.as_ref().and_then(|run| run.line()),
        confidence: match process.known {
            Known::Exact => Confidence::Exact,
            Known::Late => Confidence::Late,
            Known::Number => Confidence::Pid,
        },
    }
}

/// A process as /proc shows it now, where nothing else is known: late at best.
pub fn look(reader: &impl Reader, pid: i32, when: u64) -> Option<Process> {
    let at = reader.now();
    let reading = reader.read(pid, None)?;
    if reading.rest.start > reader.ticks(when) {
        return None; // it began after what happened
    }
    let known = if reading.whole {
        Known::Late
    } else {
        Known::Number
    };
    Some(Process::new(reading, at, known))
}
