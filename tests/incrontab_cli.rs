//! What incrontab promises to people and scripts: messages, exit codes, bytes.

mod incrontab_support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;

use incron::control::{MAX_TABLE, Request};
use incrontab_support::{World, copy, is_root, me};

const TABLE: &[u8] = b"# by hand \xff\r\n\n  /in\tIN_CREATE   echo $#";

#[test]
fn a_table_is_listed_byte_for_byte() {
    let ran = World::new(Some(TABLE)).run(&["-l"]);
    assert_eq!(
        (ran.code, ran.out.as_slice(), ran.err.as_str()),
        (Some(0), TABLE, "")
    );
}

#[test]
fn no_table_is_said_as_incron_said_it() {
    let world = World::new(None);
    for (option, wanted) in [
        ("-l", format!("no table for {}\n", me())),
        (
            "-r",
            format!(
                "removing table for user '{0}'\ntable for user '{0}' does not exist\n",
                me()
            ),
        ),
        (
            "-d",
            format!(
                "requesting table reload for user '{0}'...\nno table for {0}\n",
                me()
            ),
        ),
    ] {
        let ran = world.run(&[option]);
        assert_eq!((ran.code, ran.err), (Some(0), wanted), "{option}");
        assert_eq!(ran.out, b"");
    }
}

#[test]
fn a_table_comes_from_a_file_a_pipe_and_standard_input() {
    let world = World::new(None);
    fs::write(world.path("mine"), TABLE).unwrap();
    let ran = world.run(&["mine"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(0), "copying table from file 'mine'\n")
    );
    assert_eq!(world.table().as_deref(), Some(TABLE));

    let ran = world.run_with_input(&["-"], b"/b IN_CREATE true\n");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(world.table().unwrap(), b"/b IN_CREATE true\n");

    let ran = world.run_with_input(&["/dev/stdin"], b"/c IN_CREATE true\n");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(world.table().unwrap(), b"/c IN_CREATE true\n");
}

#[test]
fn what_cannot_be_a_table_is_not_installed() {
    let world = World::new(Some(TABLE));
    fs::write(world.path("large"), vec![b'#'; MAX_TABLE + 1]).unwrap();
    for (file, wanted) in [
        ("none", "cannot load table from file 'none': No such file"),
        (".", "cannot load table from file '.': "),
        ("large", "large is too large: a table is at most 1024 KiB"),
    ] {
        let ran = world.run(&[file]);
        assert_eq!(ran.code, Some(1), "{file}");
        assert!(ran.err.contains(wanted), "{}", ran.err);
    }
    let ran = world.run_with_input(&["-"], &vec![b'#'; MAX_TABLE + 1]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("standard input is too large"),
        "{}",
        ran.err
    );
    assert_eq!(world.table().as_deref(), Some(TABLE));
}

#[test]
fn a_table_with_errors_is_not_installed_and_each_is_shown() {
    let world = World::new(Some(TABLE));
    fs::write(
        world.path("bad"),
        "# fine\n/a IN_CREAT true\nrelative IN_CREATE true\n",
    )
    .unwrap();
    let ran = world.run(&["bad"]);
    assert_eq!(ran.code, Some(1));
    for wanted in [
        "bad:2:4",
        "IN_CREATE",
        "bad:3:1",
        "2 lines of this table cannot be served",
    ] {
        assert!(ran.err.contains(wanted), "{wanted}: {}", ran.err);
    }
    assert!(!ran.err.contains('\x1b'), "no colours into a pipe");
    assert_eq!(world.table().as_deref(), Some(TABLE));
}

#[test]
fn checking_needs_no_daemon_and_installs_nothing() {
    let world = World::new(Some(TABLE));
    fs::write(world.path("good"), "/a IN_CREATE true\n").unwrap();
    fs::write(world.path("bad"), "/a IN_CREATE true\n/b IN_CREAT true\n").unwrap();
    let ran = world.run(&["-T", "good"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let text = String::from_utf8(ran.out).unwrap();
    assert!(text.contains("/a") && text.contains("IN_CREATE"), "{text}");
    let ran = world.run(&["-T", "bad"]);
    assert_eq!(ran.code, Some(78));
    assert!(ran.err.contains("bad:2:4"), "{}", ran.err);
    assert_eq!(world.run(&["-T", "none"]).code, Some(1));
    let ran = world.run_with_input(&["-T", "-"], b"/b IN_CREAT true\n");
    assert!(ran.err.contains("standard input:1:4"), "{}", ran.err);
    // What only tables of the system may say.
    let line = "/a IN_CREATE,user=nobody true\n";
    fs::write(world.path("system/x"), line).unwrap();
    assert_eq!(world.run(&["-T", "system/x"]).code, Some(0));
    fs::write(world.path("x"), line).unwrap();
    assert_eq!(world.run(&["-T", "x"]).code, Some(78));
    assert!(world.state.lock().unwrap().asked.is_empty());
}

#[test]
fn events_are_played_and_nothing_is_run() {
    let world = World::without_daemon();
    let touched = world.path("touched");
    fs::write(
        world.path("t"),
        format!("/a IN_CREATE touch {} $#\n", touched.display()),
    )
    .unwrap();
    fs::write(
        world.path("events"),
        "+1s IN_CREATE /a/first\n+2s IN_DELETE /a/first\n",
    )
    .unwrap();
    let ran = world.run(&["-T", "t", "--simulate", "events"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let text = String::from_utf8(ran.out).unwrap();
    assert!(text.contains("touch") && text.contains("first"), "{text}");
    assert!(!touched.exists());

    fs::write(world.path("events"), "yesterday IN_CREATE /a\n").unwrap();
    let ran = world.run(&["-T", "t", "--simulate", "events"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("events: line 1: "), "{}", ran.err);
}

#[test]
fn removed_at_once_or_when_asked_and_answered() {
    let world = World::new(Some(TABLE));
    let ran = world.run(&["-r", "-i"]);
    assert_eq!(ran.code, Some(0));
    assert!(world.table().is_some(), "end of input is no");
    let ran = world.run_with_input(&["-i", "-r"], b"n\n");
    assert!(ran.err.contains("table not removed"), "{}", ran.err);
    assert!(world.table().is_some());
    let ran = world.run_with_input(&["-ri"], b"y\n");
    assert!(
        ran.err
            .ends_with(&format!("table for user '{}' successfully removed\n", me()))
    );
    assert_eq!(world.table(), None);

    let world = World::new(Some(TABLE));
    assert_eq!(world.run(&["--remove"]).code, Some(0));
    assert_eq!(world.table(), None);
}

#[test]
fn reload_is_asked_of_the_daemon() {
    let world = World::new(Some(TABLE));
    let ran = world.run(&["-d"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.err.ends_with("request done\n"), "{}", ran.err);
    let asked = world.state.lock().unwrap().asked.clone();
    assert_eq!(asked, [Request::Reload { user: me() }]);
}

#[test]
fn types_are_the_line_that_incron_0_5_12_prints() {
    let wanted = "IN_ACCESS,IN_MODIFY,IN_ATTRIB,IN_CLOSE_WRITE,IN_CLOSE_NOWRITE,IN_OPEN,\
        IN_MOVED_FROM,IN_MOVED_TO,IN_CREATE,IN_DELETE,IN_DELETE_SELF,IN_CLOSE,IN_MOVE,IN_ONESHOT,\
        IN_ALL_EVENTS,IN_DONT_FOLLOW,IN_ONLYDIR,IN_MOVE_SELF\n";
    let ran = World::without_daemon().run(&["-t"]);
    assert_eq!((ran.code, ran.out.as_slice()), (Some(0), wanted.as_bytes()));
}

#[test]
fn help_version_and_about_go_to_standard_output() {
    let world = World::without_daemon();
    for option in ["-h", "--help", "-V", "--version", "-?", "--about"] {
        let ran = world.run(&[option]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{option}");
        assert!(
            String::from_utf8(ran.out).unwrap().contains("incrontab"),
            "{option}"
        );
    }
}

#[test]
fn a_wrong_command_line_does_nothing_and_is_2() {
    let world = World::new(Some(TABLE));
    for args in [
        &["-e", "-r"][..],
        &["-l", "-r"],
        &["-r", "file"],
        &["-lx"],
        &["--nonsense"],
        &["a", "b"],
        &["-i"],
        &[],
    ] {
        let ran = world.run(args);
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.err);
        assert!(ran.err.starts_with("error: "), "{}", ran.err);
    }
    assert!(
        world.state.lock().unwrap().asked.is_empty(),
        "nobody was even asked"
    );
    let ran = world.run(&[]);
    assert!(
        ran.err
            .contains("invalid arguments - specify operation or source file")
    );
    let ran = world.run(&["-e", "x"]);
    assert!(
        ran.err
            .contains("invalid arguments - operation and source file cannot be combined")
    );
}

#[test]
fn refusals_of_the_daemon_are_told_as_they_are() {
    let world = World::new(Some(TABLE));
    for (reason, message) in [
        (
            "denied",
            "user 'x' is not allowed to use incron: not listed in /etc/incron.allow",
        ),
        ("failed", "the disk is full"),
    ] {
        world.state.lock().unwrap().refuses = Some((reason, message));
        let ran = world.run(&["-l"]);
        assert_eq!(ran.code, Some(1));
        assert_eq!(ran.err, format!("incrontab: {message}\n"));
    }
}

#[test]
fn accounts_that_are_not_there_or_not_ours() {
    let world = World::new(Some(TABLE));
    let ran = world.run(&["-u", "no-such-account", "-l"]);
    assert_eq!(ran.code, Some(1));
    let wanted = if is_root() {
        "user 'no-such-account' not found"
    } else {
        "insufficient"
    };
    assert!(ran.err.contains(wanted), "{}", ran.err);
    assert!(world.state.lock().unwrap().asked.is_empty());
}

#[test]
fn a_configuration_that_cannot_be_used_is_78() {
    let world = World::new(Some(TABLE));
    fs::write(world.path("incron.conf"), "max_jobs = many\n").unwrap();
    let ran = world.run(&["-l"]);
    assert_eq!(ran.code, Some(78));
    assert!(ran.err.contains("incron.conf:1:"), "{}", ran.err);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let world = World::new(Some(&vec![b'#'; MAX_TABLE]));
    let mut child = world
        .command(&["-l"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stderr, b"");
}

#[test]
fn without_a_daemon_root_has_the_spool_and_others_are_told_what_to_do() {
    let world = World::without_daemon();
    if !is_root() {
        let ran = world.run(&["-l"]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.err.contains("systemctl start incron"), "{}", ran.err);
        return;
    }
    let spool = world.path("spool").join("nobody");
    let ran = world.run_with_input(&["-u", "nobody", "-"], TABLE);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(fs::read(&spool).unwrap(), TABLE);
    assert_eq!(
        fs::metadata(&spool).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    assert_eq!(world.run(&["-u", "nobody", "-l"]).out, TABLE);
    let ran = world.run(&["-u", "nobody", "-d"]);
    assert_eq!(ran.code, Some(1), "nobody reloads: {}", ran.err);
    assert_eq!(world.run(&["-u", "nobody", "-r"]).code, Some(0));
    assert!(!spool.exists());

    symlink("/etc/passwd", &spool).unwrap();
    let ran = world.run(&["-u", "nobody", "-l"]);
    assert_eq!(
        (ran.code, ran.out.as_slice()),
        (Some(1), &b""[..]),
        "{}",
        ran.err
    );

    fs::write(world.path("allow"), "").unwrap();
    let ran = world.run_with_input(&["-u", "nobody", "-"], TABLE);
    assert!(
        ran.err.contains("is not allowed to use incron"),
        "{}",
        ran.err
    );
}

#[test]
fn a_plain_user_has_no_others_table_and_reads_files_with_own_rights() {
    if !is_root() {
        return; // needs two users
    }
    let world = World::new(None);
    for path in [".", "incron.conf", "control.sock"] {
        fs::set_permissions(world.path(path), fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::write(world.path("secret"), "secret of root\n").unwrap();
    fs::set_permissions(world.path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    // The program must be where that user can reach it.
    let program = world.path("incrontab");
    copy(env!("CARGO_BIN_EXE_incrontab").as_ref(), &program);
    let as_nobody = |args: &[&str]| {
        let mut all = vec!["--reuid=65534", "--regid=65534", "--clear-groups"];
        all.push(program.to_str().unwrap());
        all.extend(["-f", "incron.conf"]);
        all.extend(args);
        let mut command = std::process::Command::new("setpriv");
        let output = command
            .args(all)
            .current_dir(world.dir.path())
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, err) = as_nobody(&["-u", "root", "-l"]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("cannot override user to 'root': insufficient privileges"),
        "{err}"
    );
    let (code, err) = as_nobody(&["secret"]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("cannot load table from file 'secret': Permission denied"),
        "{err}"
    );
    assert!(world.state.lock().unwrap().asked.is_empty());
    let (code, err) = as_nobody(&["-u", "nobody", "-l"]);
    assert_eq!((code, err.as_str()), (Some(0), "no table for nobody\n"));
}

#[test]
fn a_set_group_id_bit_that_survived_an_upgrade_gives_nothing() {
    if !is_root() {
        return; // needs chown
    }
    let world = World::without_daemon();
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = world.path("incrontab");
    copy(env!("CARGO_BIN_EXE_incrontab").as_ref(), &program);
    let group = 2; // bin
    std::os::unix::fs::chown(&program, Some(0), Some(group)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o2755)).unwrap();
    let secret = world.path("secret");
    fs::write(&secret, "# secret of a group\n").unwrap();
    std::os::unix::fs::chown(&secret, Some(0), Some(group)).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o040)).unwrap();
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args([&program, &"-T".into(), &secret])
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains("Permission denied"), "{err}");
}
