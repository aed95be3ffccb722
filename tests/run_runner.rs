//! Promises about running commands, kept with real processes: what a command
//! finds when it starts, and how its end is told.

mod run_support;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use incron::run::{Identity, Job, MAX_LINE, Outcome, Report, Runner, StartError, TAIL};
use incron::schedule::RunId;
use incron::table::Output;
use proptest::prelude::*;
use run_support::{Loop, job, root, sh, skip};

#[test]
fn a_command_finds_clean_signals_its_own_group_and_three_descriptors() {
    // A leak to look for: a descriptor without close-on-exec.
    let leak = fs::File::open("/dev/null").unwrap();
    nix::fcntl::fcntl(&leak, nix::fcntl::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let mut all = nix::sys::signal::SigSet::all();
    all.remove(nix::sys::signal::SIGSEGV);
    all.thread_block().unwrap();
    let mut the = Loop::new();
    let text = "ls /proc/self/fd; grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status; \
                read -r _ _ _ _ pgrp _ </proc/$$/stat; echo group $pgrp is $$; \
                readlink /proc/self/fd/0; cat";
    let done = the.run(&sh(text));
    // `ls` itself holds a fourth descriptor: the directory that it lists.
    assert_eq!(&done.lines[..4], ["0", "1", "2", "3"]);
    assert!(done.lines[4].starts_with("SigBlk:"), "{:?}", done.lines);
    for line in &done.lines[4..6] {
        let mask = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        assert_eq!(mask, 0, "{line}");
    }
    let pid = done.pid.to_string();
    assert_eq!(done.lines[7], format!("group {pid} is {pid}"));
    assert_eq!(done.lines[8], "/dev/null");
    assert_eq!(done.lines.len(), 9);
    assert_eq!(done.outcome, Outcome::Exited(0));
    drop(leak);
}

#[test]
fn exit_codes_and_signals_are_told() {
    let mut the = Loop::new();
    assert_eq!(the.run(&sh("exit 0")).outcome, Outcome::Exited(0));
    assert_eq!(the.run(&sh("exit 255")).outcome, Outcome::Exited(255));
    assert_eq!(the.run(&sh("kill -9 $$")).outcome, Outcome::Signaled(9));
    // A real-time signal, which has no name.
    assert_eq!(the.run(&sh("kill -40 $$")).outcome, Outcome::Signaled(40));
    assert_eq!(Outcome::Signaled(15).to_string(), "was ended by SIGTERM");
}

#[test]
fn a_child_in_the_background_holds_nothing_up_and_is_still_read() {
    let mut the = Loop::new();
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let text = format!("(read x <{}; echo later) & echo now", go.display());
    let run = the.start(&sh(&text)).unwrap();
    let done = the.wait_for(run);
    assert_eq!(
        (done.outcome, done.lines),
        (Outcome::Exited(0), vec!["now".into()])
    );
    assert_eq!(the.runner.running(), 0);
    fs::write(&go, "x\n").unwrap();
    the.until(|the| the.lines(run).last().is_some_and(|line| line == "later"));
}

#[test]
fn a_timeout_ends_the_whole_group_and_kill_ends_what_ignores_term() {
    let mut the = Loop::new();
    let mut polite = sh("sleep 1000 & wait");
    polite.timeout = Some(Duration::from_millis(50));
    let done = the.run(&polite);
    assert_eq!((done.outcome, done.killed), (Outcome::Signaled(15), true));

    let mut stubborn = sh("trap '' TERM; echo ready; while :; do sleep 1000; done");
    stubborn.kill_after = Duration::from_millis(50);
    let run = the.start(&stubborn).unwrap();
    the.until(|the| !the.lines(run).is_empty());
    the.kill(run);
    let done = the.wait_for(run);
    assert_eq!((done.outcome, done.killed), (Outcome::Signaled(9), true));
    assert_eq!(the.runner.deadline(), None);
}

#[test]
fn a_process_that_left_its_group_or_stopped_is_ended_all_the_same() {
    let mut the = Loop::new();
    // perl can join another group of its session, ours; the shell cannot.
    let text = "setpgrp(0, getpgrp(getppid())) or die; $| = 1; print \"ready\\n\"; sleep 1000";
    let mut moved = job(["perl", "-e", text]);
    moved.kill_after = Duration::from_secs(60);
    let run = the.start(&moved).unwrap();
    the.until(|the| !the.lines(run).is_empty());
    the.kill(run);
    assert_eq!(the.wait_for(run).outcome, Outcome::Signaled(15));

    let run = the
        .start(&sh("echo ready; kill -STOP $$; echo on"))
        .unwrap();
    the.until(|the| !the.lines(run).is_empty());
    the.kill(run);
    assert_eq!(the.wait_for(run).outcome, Outcome::Signaled(15));
}

#[test]
fn a_command_that_writes_without_end_holds_nobody_up() {
    let mut the = Loop::new();
    let flood = the
        .start(&sh("exec head -c 1000000000 /dev/zero | tr '\\0' 'y'"))
        .unwrap();
    the.until(|the| the.read_anything(flood));
    for n in 0..20 {
        let done = the.run(&sh(&format!("echo {n}")));
        assert_eq!(done.lines, [n.to_string()]);
    }
    let done = the.wait_for(flood);
    assert_eq!(done.outcome, Outcome::Exited(0));
    assert_eq!(done.tail, vec![b'y'; TAIL]);
    let shown: usize = done.lines.iter().map(String::len).sum();
    assert!(shown < 16 << 20, "{shown} bytes of 1 GB were reported");
    assert!(done.lines.iter().all(|line| line.len() <= MAX_LINE));
    assert!(
        done.lines
            .iter()
            .any(|line| line.contains("bytes of output left out"))
    );
}

#[test]
fn what_cannot_be_started_says_why() {
    let mut the = Loop::new();
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    run_support::script(&script, "#!/no/such/interpreter\n");
    let mode = |mode| fs::set_permissions(&script, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    let name = script.to_str().unwrap();
    let mut says = |job: &Job, kind: &str, text: &str| {
        let error = the.start(job).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(format!("{:?}", error.kind()), kind, "{error}");
        StartError::of(&error).unwrap().is_temporary()
    };
    says(
        &job(["/no/such/program"]),
        "NotFound",
        "cannot run /no/such/program: No such file",
    );
    says(
        &job(["no-such-program"]),
        "NotFound",
        "in the directories of PATH",
    );
    says(&job([name]), "PermissionDenied", "is it executable");
    mode(0o755);
    says(
        &job([name]),
        "NotFound",
        "the interpreter in its first line",
    );
    says(&job([""]), "NotFound", "cannot run");
    says(
        &Job::new(Vec::<OsString>::new()),
        "InvalidInput",
        "empty command",
    );
    says(&job(["echo", "a\0b"]), "InvalidInput", "NUL byte");
    let huge = "x".repeat(200_000);
    says(&job(["echo", &huge]), "ArgumentListTooLong", "stdin=paths");
    let mut lost = job(["true"]);
    lost.cwd = Some("/no/such/directory".into());
    says(
        &lost,
        "NotFound",
        "cannot enter its directory /no/such/directory",
    );
    // Written to by somebody right now: the caller may try again.
    let written = dir.path().join("written");
    fs::copy("/bin/true", &written).unwrap();
    let _writer = fs::File::options().append(true).open(&written).unwrap();
    let temporary = says(
        &job([written.to_str().unwrap()]),
        "ExecutableFileBusy",
        "open for writing",
    );
    assert!(temporary);
    assert_eq!(the.children(), Vec::<i32>::new());
}

#[test]
fn a_script_without_an_interpreter_line_is_the_shells() {
    let mut the = Loop::new();
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    run_support::script(&script, "echo \"$0 has $1\"\n");
    let name = script.to_str().unwrap();
    assert_eq!(
        the.run(&job([name, "a b"])).lines,
        [format!("{name} has a b")]
    );
    let mut by_path = job(["script", "c"]);
    let path = format!("/no/such:{}", dir.path().display());
    by_path.env = vec![("PATH".into(), path.into())];
    assert_eq!(the.run(&by_path).lines, [format!("{name} has c")]);
}

#[test]
fn standard_input_is_what_was_given() {
    let mut the = Loop::new();
    let mut reader = sh("md5sum; printf x >&0 || echo sealed");
    reader.stdin = b"hello\n".repeat(100_000);
    let done = the.run(&reader);
    assert_eq!(done.lines[0], format!("{}  -", md5(&reader.stdin)));
    assert_eq!(done.lines.last().unwrap(), "sealed");
    // One that does not read it is no worse off.
    let mut deaf = sh("exit 3");
    deaf.stdin = vec![0; 1 << 20];
    assert_eq!(the.run(&deaf).outcome, Outcome::Exited(3));
}

/// By the program itself, on a file of the same bytes.
fn md5(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let out = std::process::Command::new("md5sum")
        .arg(file.path())
        .output()
        .unwrap();
    String::from_utf8_lossy(&out.stdout)
        .split(' ')
        .next()
        .unwrap()
        .to_owned()
}

#[test]
fn output_goes_where_the_table_says() {
    let mut the = Loop::new();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    for _ in 0..2 {
        let mut to_file = sh("echo out; echo err >&2");
        to_file.output = Output::File(log.clone());
        assert_eq!(the.run(&to_file).lines, Vec::<String>::new());
    }
    assert_eq!(fs::read_to_string(&log).unwrap(), "out\nerr\nout\nerr\n");
    let mut discarded = sh("readlink /proc/self/fd/1 >&2; exit 4");
    discarded.output = Output::Discard;
    let done = the.run(&discarded);
    assert_eq!((done.outcome, done.lines.len()), (Outcome::Exited(4), 0));
    // Whoever opens it, root's worker or the command's own user: what is no
    // regular file is refused, and a link is not followed.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = |name: &str| dir.path().join(name);
    nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::set_permissions(path("fifo"), fs::Permissions::from_mode(0o666)).unwrap();
    std::os::unix::fs::symlink(&log, path("link")).unwrap();
    let nobody = Identity {
        uid: 65534,
        gid: 65534,
        groups: vec![],
    };
    for identity in [None, root().then_some(nobody)] {
        for name in [
            dir.path().to_owned(),
            path("fifo"),
            path("link"),
            "relative".into(),
        ] {
            let mut bad = sh("echo x");
            bad.identity = identity.clone();
            bad.output = Output::File(name.clone());
            let error = the.start(&bad).unwrap_err();
            let expected = format!("cannot run /bin/sh: output={}: it is ", name.display());
            let says = error.to_string();
            assert!(
                says.starts_with(&expected) || says.ends_with("directory"),
                "{says}"
            );
        }
    }
    assert_eq!(fs::read_to_string(&log).unwrap(), "out\nerr\nout\nerr\n");
}

#[test]
fn a_line_of_another_user_runs_as_that_user() {
    if !root() {
        return skip("root");
    }
    let mut the = Loop::new();
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let text = "id -u; id -g; id -G; umask; nice; pwd; grep ^Cap /proc/self/status | sort -u -k2";
    let mut nobody = sh(text);
    let groups = vec![65534, 4242];
    nobody.identity = Some(Identity {
        uid: 65534,
        gid: 65534,
        groups,
    });
    (nobody.umask, nobody.nice) = (Some(0o027), Some(5));
    nobody.cwd = Some(dir.path().to_owned());
    let done = the.run(&nobody);
    let expected = [
        "65534",
        "65534",
        "65534 4242",
        "0027",
        "5",
        dir.path().to_str().unwrap(),
    ];
    assert_eq!(&done.lines[..6], expected, "{:?}", done.lines);

    // It opens its output itself: root's rights do not serve.
    nobody.output = Output::File(dir.path().join("theirs"));
    the.run(&nobody);
    use std::os::unix::fs::MetadataExt;
    assert_eq!(
        fs::metadata(dir.path().join("theirs")).unwrap().uid(),
        65534
    );
    nobody.output = Output::File("/root/incron-test-output".into());
    let error = the.start(&nobody).unwrap_err();
    assert!(error.to_string().contains("Permission denied"), "{error}");
    // user=root is held to the rules for root.
    let mut rooted = nobody.clone();
    rooted.identity = Some(Identity {
        uid: 0,
        gid: 0,
        groups: vec![],
    });
    rooted.output = Output::File(dir.path().join("any"));
    let error = the.start(&rooted).unwrap_err();
    assert!(
        error.to_string().contains("writable by everybody"),
        "{error}"
    );
    nobody.output = Output::Log;
    nobody.cwd = Some("/root".into());
    let error = the.start(&nobody).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("cannot enter its directory /root"),
        "{error}"
    );
}

#[test]
fn mail_is_handed_to_the_mailer() {
    let mut the = Loop::new();
    let dir = tempfile::tempdir().unwrap();
    let (mailer, sent) = (dir.path().join("sendmail"), dir.path().join("sent"));
    let text = format!("#!/bin/sh\necho \"$@\" >{0}\ncat >>{0}\n", sent.display());
    run_support::script(&mailer, &text);
    the.runner.set_mailer(mailer);
    the.runner.set_owner("alice");
    let mut noisy = sh("echo one; echo two");
    noisy.output = Output::Mail;
    let done = the.run(&noisy);
    assert_eq!(done.lines, Vec::<String>::new());
    the.until(|the| the.runner.running() == 0);
    let mail = fs::read_to_string(&sent).unwrap();
    assert!(
        mail.starts_with("-i -t\nFrom: alice (incron)\nTo: alice\n"),
        "{mail}"
    );
    assert!(mail.ends_with("\n\none\ntwo\n"), "{mail}");
    // Silence is not mailed.
    fs::remove_file(&sent).unwrap();
    let mut quiet = sh("exit 0");
    quiet.output = Output::Mail;
    the.run(&quiet);
    assert_eq!(the.runner.running(), 0);
}

#[test]
fn no_descriptors_left_is_a_clean_error() {
    if !root() {
        return skip("root (it lowers a limit in a child of its own)");
    }
    let exe = std::env::current_exe().unwrap();
    let test = "starved_of_descriptors";
    let out = std::process::Command::new(exe)
        .args([test, "--exact", "--ignored"])
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stdout)
    );
}

#[test]
#[ignore = "run by no_descriptors_left_is_a_clean_error, in a process of its own"]
fn starved_of_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let mut the = Loop::new();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let mut hogs = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        hogs.push(file);
    }
    // A place for the process is always kept; its output has no pipe.
    let done = the.run(&sh("echo unheard; exit 5"));
    assert_eq!((done.outcome, done.lines.len()), (Outcome::Exited(5), 0));
    // The second at once has none.
    let run = the.start(&job(["sleep", "1000"])).unwrap();
    let error = the.start(&job(["true"])).unwrap_err();
    assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
    assert!(StartError::of(&error).unwrap().is_temporary());
    the.kill(run);
    the.wait_for(run);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever bytes: the command gets exactly these arguments.
    #[test]
    fn arguments_arrive_byte_for_byte(
        arguments in prop::collection::vec(prop::collection::vec(1u8.., 0..40), 0..6)
    ) {
        let mut the = Loop::new();
        // After `sh -c TEXT`, words are only data.
        let mut words = ["sh", "-c", "od -An -v -tx1 /proc/$$/cmdline; :", "sh"]
            .map(OsString::from)
            .to_vec();
        words.extend(arguments.into_iter().map(OsString::from_vec));
        let mut job = job([]);
        job.argv = words;
        let done = the.run(&job);
        let seen: String = done.lines.concat().split_whitespace().collect();
        let sent = job.argv.iter().flat_map(|word| word.as_bytes().iter().chain(&[0]));
        let sent: String = sent.map(|byte| format!("{byte:02x}")).collect();
        prop_assert_eq!(seen, sent);
    }
}

#[test]
fn a_report_never_comes_for_a_run_that_was_not_started() {
    let mut runner = Runner::new().unwrap();
    let mut out: Vec<Report> = Vec::new();
    let now = incron::time::Clock::new().now();
    runner.kill(RunId(7), now);
    runner.tick(now);
    runner.process(now, &mut out);
    assert!(out.is_empty() && runner.deadline().is_none());
}
