//! Who did it, of the real kernel: processes that live for a moment, and processes
//! that hide what they are. They have ended, and are reaped, before they are asked
//! for: nothing of them is in /proc any more.

mod actor_kit;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use actor_kit::{Kit, SOMEBODY, run};
use incron::event::{Actor, Confidence};

/// Runs 2,000 processes, `at_once` beside each other; their numbers and files.
fn storm(kit: &Kit, program: &Path, at_once: usize) -> Vec<(i32, PathBuf)> {
    let dir = kit.path("files");
    std::fs::create_dir_all(&dir).unwrap();
    std::os::unix::fs::chown(&dir, Some(SOMEBODY), None).unwrap();
    let storm = actor_kit::program(kit.dir.path(), "storm.c");
    let words = [
        "2000".to_string(),
        at_once.to_string(),
        SOMEBODY.to_string(),
    ];
    let output = Command::new(storm)
        .arg(program)
        .arg(&dir)
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let pair = |line: &str| {
        let (pid, file) = line.split_once(' ').unwrap();
        (pid.parse().unwrap(), dir.join(file))
    };
    let pids: Vec<_> = text.lines().map(pair).collect();
    assert_eq!(
        (pids.len(), std::fs::read_dir(dir).unwrap().count()),
        (2000, 0)
    );
    pids
}

fn all_are_named(program: &Path, at_once: usize) {
    actor_kit::all_are_named(|| late_of_a_storm(program, at_once));
}

fn late_of_a_storm(program: &Path, at_once: usize) -> usize {
    let Some(mut kit) = Kit::listening() else {
        return 0;
    };
    let ended = storm(&kit, program, at_once);
    kit.actors.events_read();
    let mut late = 0;
    for (pid, file) in &ended {
        let actor = kit.actors.of(*pid);
        assert_eq!(actor.uid, Some(SOMEBODY), "{actor:#?}");
        if actor.confidence == Confidence::Late && actor.exe.is_none() {
            late += 1;
            continue;
        }
        assert_eq!(actor.confidence, Confidence::Exact, "{actor:#?}");
        assert_eq!(actor.exe.as_deref(), Some(program), "{actor:#?}");
        assert_eq!(actor.cmdline, [program.as_os_str(), file.as_os_str()]);
    }
    assert_eq!(kit.actors.figures().lost, 0);
    late
}

#[test]
fn rm_one_after_the_other() {
    all_are_named(&actor_kit::rm(), 1);
}

#[test]
fn rm_four_at_a_time() {
    all_are_named(&actor_kit::rm(), 4);
}

#[test]
fn unlink_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    all_are_named(&actor_kit::program(dir.path(), "unlink.c"), 1);
}

#[test]
fn unlink_four_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    all_are_named(&actor_kit::program(dir.path(), "unlink.c"), 4);
}

/// The actor of a process that has ended.
fn ended(kit: &mut Kit, command: &mut Command) -> Actor {
    let pid = run(command);
    kit.actors.events_read();
    (*kit.actors.of(pid)).clone()
}

#[test]
fn a_process_that_calls_itself_otherwise() {
    let Some(mut kit) = Kit::listening() else {
        return;
    };
    let tricks = actor_kit::program(kit.dir.path(), "tricks.c");
    for trick in ["rename", "argv"] {
        let actor = ended(&mut kit, Command::new(&tricks).arg(trick));
        assert_eq!(actor.exe.as_deref(), Some(&*tricks), "{trick}");
        assert_eq!(actor.cmdline, [tricks.as_os_str(), OsStr::new(trick)]);
        assert_eq!(actor.confidence, Confidence::Exact);
    }
}

#[test]
fn a_program_that_is_no_more() {
    let Some(mut kit) = Kit::listening() else {
        return;
    };
    let tricks = actor_kit::program(kit.dir.path(), "tricks.c");
    // It removes its own file and executes itself again, by /proc/self/exe.
    let actor = ended(&mut kit, Command::new(&tricks).arg("deleted"));
    let gone = format!("{} (deleted)", tricks.display());
    assert_eq!(actor.exe.as_deref(), Some(Path::new(&gone)));
    assert_eq!(
        (actor.cmdline.len(), actor.confidence),
        (1, Confidence::Exact)
    );
}

#[test]
fn a_program_that_never_was_a_file() {
    let Some(mut kit) = Kit::listening() else {
        return;
    };
    let tricks = actor_kit::program(kit.dir.path(), "tricks.c");
    let actor = ended(&mut kit, Command::new(&tricks).arg("memfd"));
    assert_eq!(
        actor.exe.as_deref(),
        Some(Path::new("/memfd:innocent (deleted)"))
    );
    assert_eq!(actor.cmdline, ["kworker"]);
    assert_eq!(actor.confidence, Confidence::Exact);
}

#[test]
fn a_process_that_executes_in_a_loop() {
    let Some(mut kit) = Kit::listening() else {
        return;
    };
    let tricks = actor_kit::program(kit.dir.path(), "tricks.c");
    let actor = ended(&mut kit, Command::new(&tricks).args(["loop", "500"]));
    assert_eq!(
        actor.cmdline,
        [tricks.as_os_str(), OsStr::new("loop"), OsStr::new("0")]
    );
    assert_eq!(actor.confidence, Confidence::Exact);
}

#[test]
fn ten_thousand_children_and_their_mother() {
    let Some(mut kit) = Kit::listening() else {
        return;
    };
    let tricks = actor_kit::program(kit.dir.path(), "tricks.c");
    let output = Command::new(&tricks)
        .args(["children", "10000"])
        .output()
        .unwrap();
    kit.actors.events_read();
    let pids = String::from_utf8(output.stdout).unwrap();
    let mut count = 0;
    for pid in pids.lines() {
        let actor = kit.actors.of(pid.parse().unwrap());
        assert_eq!(actor.exe.as_deref(), Some(&*tricks), "{actor:?}");
        assert_eq!(actor.cmdline.len(), 3);
        assert_eq!(actor.confidence, Confidence::Exact);
        count += 1;
    }
    assert_eq!(count, 10_000);
    assert_eq!(kit.actors.figures().lost, 0);
}

#[test]
fn a_child_that_is_given_to_another_mother() {
    let Some(mut kit) = Kit::listening() else {
        return;
    };
    let tricks = actor_kit::program(kit.dir.path(), "tricks.c");
    // Made with CLONE_PARENT, it is this test's child, and runs another program. It
    // lives until it was told: only a look can tell it from a child of ours.
    let mut command = Command::new(&tricks);
    let command = command
        .arg("clone-parent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let pid: i32 = line.trim().parse().unwrap();
    kit.actors.events_read();
    let actor = kit.actors.of(pid);
    drop(child.stdin.take());
    child.wait().unwrap();
    nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
    assert_eq!(actor.ppid, Some(std::process::id().cast_signed()));
    assert_eq!(actor.exe.as_deref(), Some(&*tricks));
}

#[test]
fn another_user_from_one_moment_on() {
    let Some(mut kit) = Kit::listening() else {
        return;
    };
    let tricks = actor_kit::program(kit.dir.path(), "tricks.c");
    let actor = ended(&mut kit, Command::new(&tricks).args(["become", "1234"]));
    assert_eq!((actor.uid, actor.gid), (Some(1234), Some(1235)));
    assert_eq!(actor.confidence, Confidence::Exact);
    assert_eq!(actor.user, None, "nobody has this number");
    let actor = ended(&mut kit, &mut Command::new("true"));
    assert_eq!(actor.user.as_deref(), Some("root"));
}

#[test]
fn all_that_stands_above() {
    let Some(mut kit) = Kit::listening() else {
        return;
    };
    // Each sh waits for the next: it has something left to do.
    let script = (0..9).fold("sh -c 'echo $$; :'; :".to_string(), |inner, _| {
        format!("sh -c {}; :", shell_words::quote(&inner))
    });
    let output = Command::new("sh").args(["-c", &script]).output();
    let pid = String::from_utf8(output.unwrap().stdout).unwrap();
    kit.actors.events_read();
    let actor = kit.actors.of(pid.trim().parse().unwrap());
    let sh = std::fs::canonicalize("/bin/sh").unwrap();
    assert_eq!(actor.parents.len(), 8);
    assert!(
        actor
            .parents
            .iter()
            .all(|parent| parent.exe.as_ref() == Some(&sh))
    );
    assert_eq!(actor.ppid, Some(actor.parents[0].pid));
}

#[test]
fn a_pid_namespace_of_its_own() {
    let Some(mut kit) = Kit::listening() else {
        return;
    };
    let tricks = actor_kit::program(kit.dir.path(), "tricks.c");
    let output = Command::new(&tricks).arg("namespace").output().unwrap();
    let pids = String::from_utf8(output.stdout).unwrap();
    kit.actors.events_read();
    let actor = kit.actors.of(pids.trim().parse().unwrap());
    assert_eq!(actor.ns_pid, Some(1));
    assert_eq!(actor.cmdline, ["true"]);
}

/// A number is given again: to make that happen, the machine is told which comes next.
#[test]
fn a_number_that_is_used_again() {
    let Some(mut kit) = Kit::listening() else {
        return;
    };
    let tricks = actor_kit::program(kit.dir.path(), "tricks.c");
    let output = Command::new(&tricks).arg("reuse").output().unwrap();
    let pids = String::from_utf8(output.stdout).unwrap();
    let pids: Vec<i32> = pids.lines().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(
        pids.len(),
        50,
        "in a namespace of its own, each had the number 2"
    );
    kit.actors.events_read();
    for (i, pid) in pids.iter().enumerate() {
        let actor = kit.actors.of(*pid);
        assert_eq!(actor.cmdline, [format!("n{i}").as_str()], "{actor:?}");
        assert_eq!(actor.ns_pid, Some(2));
    }
}

#[test]
fn what_was_there_before() {
    let mut child = Command::new("sleep")
        .arg("1000")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let kit = Kit::listening();
    child.kill().unwrap();
    child.wait().unwrap();
    let Some(mut kit) = kit else {
        return;
    };
    kit.actors.events_read();
    let actor = kit.actors.of(child.id().cast_signed());
    assert_eq!(actor.cmdline, ["sleep", "1000"]);
    assert_eq!(actor.confidence, Confidence::Exact);
}

#[test]
fn nobody() {
    let Some(mut kit) = Kit::listening() else {
        return;
    };
    assert_eq!(kit.actors.of(0), Actor::default().into());
    assert_eq!(kit.actors.of(-1).confidence, Confidence::None);
    let actor = kit.actors.of(i32::MAX);
    assert_eq!((actor.pid, actor.confidence), (i32::MAX, Confidence::Pid));
}
