//! An idle daemon sleeps until something happens: each thread of each of its processes
//! waits, and none of them for a time. benches/trees.py counts the wake-ups of a minute.

mod common;

use std::fs;
use std::process::Command;

use common::*;
use nix::unistd::Pid;

/// A wait of a thread: `nr` and arguments of its system call (/proc/PID/syscall).
fn waits_for_ever(syscall: &str) -> bool {
    let number = |word: &str| match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    };
    // "running" is no number.
    let words: Option<Vec<u64>> = syscall.split_whitespace().map(number).collect();
    let Some([call, args @ ..]) = words.as_deref() else {
        return false;
    };
    // A negative time in milliseconds, or no pointer to a time.
    let (endless, none) = (|at: usize| (args[at] as i32) < 0, |at: usize| args[at] == 0);
    match *call as i64 {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait => endless(3),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => endless(2),
        libc::SYS_epoll_pwait => endless(3),
        libc::SYS_ppoll => none(2),
        libc::SYS_futex => none(3),
        libc::SYS_read | libc::SYS_recvmsg => true,
        _ => false,
    }
}

/// What each thread of `pids` is at, and how often it has slept.
fn threads(pids: &[Pid]) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for pid in pids {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let status = read("status");
            let slept = status
                .lines()
                .find(|l| l.starts_with("voluntary_ctxt_switches"));
            all.push((read("syscall"), slept.unwrap_or_default().to_owned()));
        }
    }
    all
}

#[test]
fn an_idle_daemon_waits_for_no_time() {
    let prefix = Prefix::new();
    let hook = prefix.hook("ran").display().to_string();
    prefix.table(
        "t",
        &format!(
            "@W IN_CLOSE_WRITE {hook} $#\n\
             @W IN_CLOSE_WRITE,settle=200ms {hook} settled\n\
             @W IN_CLOSE_WRITE,catch-up=true {hook} kept\n\
             @W IN_DELETE,run=stream cat > /dev/null\n\
             @W/not-there/f IN_CLOSE_WRITE {hook} never\n"
        ),
    );
    let daemon = prefix.start();
    fs::write(prefix.watched().join("one"), "").unwrap();
    prefix.lines("ran", 3);
    let mut pids = vec![daemon.pid()];
    pids.extend(daemon.workers());
    if threads(&pids[..1])[0].0.is_empty() {
        return eprintln!("skipped: the kernel does not say what a process waits for");
    }
    // The stream's command stays; the ends of the others are still to be heard of.
    let worker = pids[1];
    prefix.wait("the ends of the runs", || children(worker).len() == 1);
    let asleep = |all: &[(String, String)]| all.iter().all(|(call, _)| waits_for_ever(call));
    let mut state = Vec::new();
    prefix.wait("all to sleep", || {
        state = threads(&pids);
        // Twice the same: in between all slept at one moment, and nobody had been woken.
        asleep(&state) && threads(&pids) == state
    });
    assert!(
        state.len() > pids.len(),
        "the thread of catch-up= is there: {state:?}"
    );
    // Another process is busy with other files all the while.
    let script = "i=0; while [ $i -lt 2000 ]; do : > f; i=$((i + 1)); done";
    let busy = Command::new("sh")
        .args(["-c", script])
        .current_dir(prefix.path("out"))
        .status();
    assert!(busy.unwrap().success());
    assert_eq!(threads(&pids), state);
    assert_eq!(daemon.stop(), Some(0));
}
