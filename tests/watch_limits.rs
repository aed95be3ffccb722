//! Limits: what could be watched is, what is missing is told, and tried again.

mod watch_kit;

use std::fs;
use std::process::Command;

use incron::table::Mask;
use incron::time::Moment;
use incron::watch::Source;
use watch_kit::Kit;
use watch_kit::apart::{output, status};

const LIMIT: &str = "/proc/sys/user/max_inotify_watches";

/// Limits are set in a user namespace of its own, which needs another process.
#[test]
fn a_full_table_is_told_once_and_tried_again() {
    let script =
        format!("echo 12 >{LIMIT} && exec \"$0\" --exact --ignored --nocapture inner_full_table");
    inner(&["unshare", "-U", "-r", "sh", "-c", &script], &[]);
}

/// Runs a test of this file in a process of its own, by means of another program.
fn inner(program: &[&str], args: &[&str]) {
    let exe = std::env::current_exe().unwrap();
    let mut command = Command::new(program[0]);
    let run = output(command.args(&program[1..]).arg(exe).args(args));
    let Ok(run) = run else {
        return eprintln!("skipped: no {}", program[0]);
    };
    let text =
        String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    if text.contains("unshare failed") || text.contains("Permission denied") {
        return eprintln!("skipped: {text}");
    }
    assert!(run.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by a_full_table_is_told_once_and_tried_again"]
fn inner_full_table() {
    let mut kit = Kit::new();
    for i in 0..20 {
        kit.mkdir(&format!("d/{i}"));
    }
    let line = kit.line("d", Mask::CREATE);
    assert_eq!(kit.problems.len(), 1, "{:?}", kit.problems);
    let message = &kit.problems[0].message;
    assert!(kit.problems[0].serious);
    for part in ["user.max_inotify_watches (12)", "/d: ", "missing"] {
        assert!(message.contains(part), "{message}");
    }
    kit.write("d/top");
    assert_eq!(kit.told_to(line), ["CREATE d|top"]);
    kit.tick();
    for i in 0..20 {
        kit.write(&format!("d/{i}/f"));
    }
    let before = kit.told().len();
    assert!(before < 20);
    let first = kit.source.deadline().unwrap();
    let mut out = Vec::new();
    kit.source.tick(first, &mut out);
    assert!(out.is_empty(), "told again: {out:?}");
    let second = kit.source.deadline().unwrap();
    assert!(second > first, "the pause grows");
    fs::write(LIMIT, "1000").unwrap();
    kit.source.tick(Moment(second.0), &mut out);
    assert_eq!(kit.source.deadline(), None);
    // What happened meanwhile where nothing was watched is told now.
    let told = out
        .iter()
        .filter(|r| matches!(r, incron::watch::Report::Event(..)))
        .count();
    assert_eq!(before + told, 20);
    assert!(
        out.iter()
            .any(|r| matches!(r, incron::watch::Report::Problem(_, p) if !p.serious))
    );
    for i in 0..20 {
        kit.write(&format!("d/{i}/g"));
    }
    assert_eq!(kit.told().len(), 20);
}

/// Wherever the table is full: the way to the path, the path, any directory below it.
#[test]
fn a_table_that_is_full_at_any_watch_costs_nothing_in_the_end() {
    let script = "exec \"$0\" --exact --ignored --nocapture inner_any_watch";
    inner(&["unshare", "-U", "-r", "sh", "-c", script], &[]);
}

#[test]
#[ignore = "run by a_table_that_is_full_at_any_watch_costs_nothing_in_the_end"]
fn inner_any_watch() {
    let mut complete = false;
    for limit in (1..).take_while(|limit| *limit < 64) {
        fs::write(LIMIT, limit.to_string()).unwrap();
        complete = full_at(limit);
        if complete {
            break;
        }
    }
    assert!(complete, "it never has enough");
}

/// True where nothing was refused.
fn full_at(limit: u32) -> bool {
    let mut kit = Kit::new();
    let dirs: Vec<String> = (0..20).map(|n| format!("d/{n}")).collect();
    dirs.iter().for_each(|dir| kit.mkdir(dir));
    dirs.iter().for_each(|dir| kit.write(&format!("{dir}/old")));
    kit.tick();
    let line = kit.line("d", Mask::CREATE);
    let refused = !kit.problems.is_empty();
    for problem in &kit.problems {
        let named = format!("user.max_inotify_watches ({limit})");
        assert!(problem.message.contains(&named), "{problem:?}");
    }
    kit.tick();
    dirs.iter().for_each(|dir| kit.write(&format!("{dir}/new")));
    let mut told = kit.told_to(line);
    fs::write(LIMIT, "1000").unwrap();
    if let Some(again) = kit.source.deadline() {
        let mut out = Vec::new();
        kit.source.tick(again, &mut out);
        let events = out.iter().filter_map(|report| match report {
            incron::watch::Report::Event(_, event) => Some(kit.text(event)),
            incron::watch::Report::Problem(..) => None,
        });
        told.extend(events);
    }
    told.iter_mut()
        .for_each(|text| *text = text.replace(" (rescan)", ""));
    let all = |name: &str| {
        let mut all: Vec<_> = dirs
            .iter()
            .map(|dir| format!("CREATE {dir}|{name}"))
            .collect();
        all.sort();
        all
    };
    told.sort();
    assert_eq!(told, all("new"), "limit {limit}");
    assert_eq!(kit.source.deadline(), None);
    dirs.iter()
        .for_each(|dir| kit.write(&format!("{dir}/later")));
    let mut told = kit.told_to(line);
    told.sort();
    assert_eq!(told, all("later"), "limit {limit}");
    !refused
}

const INNER: [&str; 3] = ["--exact", "--ignored", "--nocapture"];

/// The kernel is made to refuse some watches by strace(1), as it does in want.
#[test]
fn a_kernel_without_memory_is_told_once_and_tried_again() {
    let inject = "inject=inotify_add_watch:error=ENOMEM:when=18..22";
    let strace = ["strace", "-f", "-o", "/dev/null", "-e", inject];
    inner(&strace, &[&["inner_no_memory"], &INNER[..]].concat());
}

#[test]
#[ignore = "run by a_kernel_without_memory_is_told_once_and_tried_again"]
fn inner_no_memory() {
    let kit = Kit::new();
    for i in 0..20 {
        kit.mkdir(&format!("d/{i}"));
    }
    refused_and_tried_again(kit, "no memory", || ());
}

/// Descriptors are counted for a process: in one of its own, lest others want some.
#[test]
fn a_process_without_descriptors_is_told_once_and_tries_again() {
    inner(&["env"], &[&["inner_no_descriptors"], &INNER[..]].concat());
}

#[test]
#[ignore = "run by a_process_without_descriptors_is_told_once_and_tries_again"]
fn inner_no_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let kit = Kit::new();
    // A scan holds a directory open for each level.
    kit.mkdir("d/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19");
    let open = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, open + 8, hard).unwrap();
    refused_and_tried_again(kit, "ulimit -n", || {
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    });
}

/// The directories of `d` cannot all be watched, until `relieved`.
fn refused_and_tried_again(mut kit: Kit, why: &str, relieved: impl Fn()) {
    let line = kit.line("d", Mask::CREATE);
    assert_eq!(kit.problems.len(), 1, "{:?}", kit.problems);
    let message = &kit.problems[0].message;
    assert!(kit.problems[0].serious);
    for part in [why, "/d: ", "or more"] {
        assert!(message.contains(part), "{message}");
    }
    kit.write("d/top");
    assert_eq!(kit.told_to(line), ["CREATE d|top"]);
    relieved();
    let mut out = Vec::new();
    let again = kit.source.deadline().unwrap();
    kit.source.tick(again, &mut out);
    assert_eq!(kit.source.deadline(), None);
    let relief =
        |r: &incron::watch::Report| matches!(r, incron::watch::Report::Problem(_, p) if !p.serious);
    assert!(out.iter().any(relief), "{out:?}");
    let mut dirs = vec![kit.path("d")];
    while let Some(dir) = dirs.pop() {
        let below = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        dirs.extend(below.filter(|path| path.is_dir()));
        fs::write(dir.join("f"), "").unwrap();
        assert_eq!(kit.told_to(line).len(), 1, "{}", dir.display());
    }
}

/// The thread's files are another user's, until the test's directory is to be removed.
struct Files;

impl Files {
    fn of(user: u32) -> Self {
        nix::unistd::setfsuid(user.into());
        Files
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        nix::unistd::setfsuid(nix::unistd::geteuid());
    }
}

/// Permission is that of the thread's user; files belong to it, as a user's do.
#[test]
fn a_directory_that_may_not_be_read_for_a_while_is_served_again() {
    const NOBODY: u32 = 65534;
    let mut kit = Kit::new();
    kit.mkdir("d/a/old");
    let mut chown = Command::new("chown");
    let chown = chown.args(["-R", &format!("{NOBODY}:{NOBODY}")]);
    let own = status(chown.arg(kit.path("")));
    if !own.is_ok_and(|own| own.success()) {
        return eprintln!("skipped: needs root");
    }
    let _nobody = Files::of(NOBODY);
    let line = kit.line("d", Mask::CREATE | Mask::CLOSE_WRITE);
    let (a, d) = (kit.path("d/a"), kit.path("d"));
    let mode = |mode: u32| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(&a, mode).unwrap();
    };
    // A program that root starts is root again.
    let by_root = |script: &str| {
        let mut sh = Command::new("sh");
        let sh = sh.args(["-ec", script]).current_dir("/").env("D", &d);
        assert!(status(sh).unwrap().success());
    };
    mode(0);
    by_root("mkdir -p $D/a/new/deep; echo > $D/a/new/deep/one; echo > $D/a/old/two");
    let mut told = kit.told_to(line);
    told.sort();
    let wanted = [
        "CLOSE_WRITE d/a/old|two",
        "CREATE d/a/old|two",
        "CREATE,ISDIR d/a|new",
    ];
    assert_eq!(told, wanted);
    assert_eq!(kit.source.deadline(), None, "nothing is waited for by time");
    mode(0o700);
    let mut told = kit.told_to(line);
    told.sort();
    let wanted = [
        "CLOSE_WRITE d/a/new/deep|one (rescan)",
        "CREATE d/a/new/deep|one (rescan)",
        "CREATE,ISDIR d/a/new|deep (rescan)",
    ];
    assert_eq!(told, wanted);
    by_root("echo > $D/a/new/deep/three");
    let wanted = [
        "CREATE d/a/new/deep|three",
        "CLOSE_WRITE d/a/new/deep|three",
    ];
    assert_eq!(kit.told_to(line), wanted);
}

/// It is not known whether anything is there: not to be called a path that is not.
#[test]
fn a_path_behind_a_directory_that_may_not_be_searched_is_told_once_and_tried_again() {
    const NOBODY: u32 = 65534;
    let mut kit = Kit::new();
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: needs root");
    }
    kit.mkdir("d/a/old");
    kit.write("d/a/old/file");
    kit.tick();
    let d = kit.path("d");
    let mode = |mode: u32| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(&d, mode).unwrap();
    };
    let mode_of_all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(kit.path(""), mode_of_all).unwrap();
    mode(0o700);
    let _nobody = Files::of(NOBODY);
    let line = kit.line("d/a", Mask::CREATE);
    assert_eq!(kit.problems.len(), 1, "{:?}", kit.problems);
    let problem = &kit.problems[0];
    let text = "/d/a: cannot be watched: Permission denied";
    assert!(
        problem.serious && problem.message.contains(text),
        "{problem:?}"
    );
    nix::unistd::setfsuid(0.into());
    mode(0o755);
    kit.write("d/a/new");
    let _nobody = Files::of(NOBODY);
    let mut out = Vec::new();
    let again = kit.source.deadline().unwrap();
    kit.source.tick(again, &mut out);
    assert_eq!(kit.source.deadline(), None);
    let events = out.iter().filter_map(|report| match report {
        incron::watch::Report::Event(_, event) => Some(kit.text(event)),
        incron::watch::Report::Problem(..) => None,
    });
    assert_eq!(events.collect::<Vec<_>>(), ["CREATE d/a|new (rescan)"]);
    nix::unistd::setfsuid(0.into());
    kit.write("d/a/later");
    assert_eq!(kit.told_to(line), ["CREATE d/a|later"]);
}

#[test]
fn without_problems_nothing_wakes_us() {
    let mut kit = Kit::new();
    kit.mkdir("d/s");
    kit.line("d", Mask::ALL_EVENTS);
    kit.line("missing/x", Mask::CREATE);
    kit.write("d/s/f");
    kit.told();
    assert_eq!(kit.source.deadline(), None);
    assert!(!kit.readable());
}
