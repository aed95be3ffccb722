//! The main job: a table line, a file event, a command. What incron breaks.

mod common;
mod log_support;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::{Prefix, alive, children, touch};
use nix::sys::signal::{Signal, kill};

/// Runs a shell command, which must succeed.
fn sh(text: &str) {
    let status = Command::new("sh").arg("-c").arg(text).status().unwrap();
    assert!(status.success(), "{text}");
}

#[test]
fn trees_that_appear_at_once_are_complete() {
    let prefix = Prefix::new();
    prefix.table("t", "@W IN_CLOSE_WRITE echo $@/$# >> @O/seen");
    let daemon = prefix.start();
    let w = prefix.watched();
    let w = w.to_str().unwrap();
    sh(&format!(
        "i=0; while [ $i -lt 200 ]; do mkdir -p {w}/$i/a/b/c && : > {w}/$i/a/b/c/f; i=$((i+1)); done"
    ));
    let mut got = prefix.lines("seen", 200);
    got.sort();
    got.dedup();
    assert_eq!(got.len(), 200, "each file once");
    assert_eq!(prefix.out("seen").lines().count(), 200, "no file twice");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn copied_unpacked_and_moved_trees_are_complete() {
    let prefix = Prefix::new();
    let source = prefix.path("source");
    for d in 0..8 {
        let dir = source.join(format!("d{d}/deep/er"));
        fs::create_dir_all(&dir).unwrap();
        for f in 0..5 {
            fs::write(dir.join(format!("f{f}")), "content").unwrap();
        }
    }
    prefix.table(
        "t",
        "@W IN_CLOSE_WRITE,IN_MOVED_TO,type=file echo $@/$# >> @O/seen",
    );
    let _daemon = prefix.start();
    let (w, s) = (prefix.watched(), source.clone());
    let (w, s) = (w.to_str().unwrap(), s.to_str().unwrap());
    sh(&format!("cp -r {s} {w}/copied"));
    sh(&format!(
        "mkdir {w}/unpacked && tar -C {s} -cf - . | tar -C {w}/unpacked -xf -"
    ));
    sh(&format!("mv {s} {w}/moved"));
    let mut got = prefix.lines("seen", 120);
    let count = got.len();
    got.sort();
    got.dedup();
    assert_eq!(
        (got.len(), count),
        (120, 120),
        "40 files each by cp, tar and mv, each once"
    );
}

#[test]
fn files_written_in_a_directory_just_made_by_many_writers() {
    let prefix = Prefix::new();
    prefix.table("t", "@W IN_CLOSE_WRITE echo $# >> @O/seen");
    let _daemon = prefix.start();
    let w = prefix.watched();
    std::thread::scope(|scope| {
        for t in 0..4 {
            let w = &w;
            scope.spawn(move || {
                for i in 0..50 {
                    let dir = w.join(format!("t{t}-{i}/x"));
                    fs::create_dir_all(&dir).unwrap();
                    fs::write(dir.join(format!("f{t}-{i}")), "x").unwrap();
                }
            });
        }
    });
    let mut got = prefix.lines("seen", 200);
    got.sort();
    got.dedup();
    assert_eq!(got.len(), 200);
}

/// 400 names of random bytes reach the command byte for byte, by every form.
#[test]
fn hostile_names_arrive_as_they_are_and_never_run() {
    let prefix = Prefix::new();
    let canary = prefix.path("out/canary");
    let dump = prefix.path("dump");
    // Each run appends its argument and a NUL, in one write.
    common::script(&dump, "#!/bin/sh\nprintf '%s\\0' \"$2\" >> \"$1\"\n");
    let d = dump.to_str().unwrap();
    prefix.table(
        "t",
        &format!(
            "@W IN_CREATE {d} @O/direct $#\n\
             @W IN_CREATE true; {d} @O/bare $#\n\
             @W IN_CREATE true; {d} @O/double \"$#\"\n\
             @W IN_CREATE true; {d} @O/single '$#'\n\
             @W IN_CREATE true; {d} @O/subst \"$$(printf '%s.' \"$#\")\"\n"
        ),
    );
    let _daemon = prefix.start();
    let names = hostile_names(400, canary.to_str().unwrap());
    for name in &names {
        fs::write(prefix.watched().join(name), "").unwrap();
    }
    let mut want: Vec<Vec<u8>> = names.iter().map(|name| name.as_bytes().to_vec()).collect();
    want.sort();
    for form in ["direct", "bare", "double", "single", "subst"] {
        let path = prefix.path("out").join(form);
        let read = || fs::read(&path).unwrap_or_default();
        prefix.wait(form, || {
            read().iter().filter(|byte| **byte == 0).count() >= names.len()
        });
        let mut got: Vec<Vec<u8>> = read()
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
            .map(|name| match form {
                "subst" => name.strip_suffix(b".").unwrap_or(name).to_vec(),
                _ => name.to_vec(),
            })
            .collect();
        got.sort();
        assert_eq!(got, want, "form {form}");
    }
    assert!(!canary.exists(), "a file name ran as code");
}

/// Names that mean something to a shell, and names of random bytes.
fn hostile_names(count: usize, canary: &str) -> Vec<OsString> {
    let canary = canary.replace('/', "${HOME%%[!/]*}");
    let mut names: Vec<Vec<u8>> = [
        "$(touch X)",
        "`touch X`",
        ";touch X;",
        "a b",
        "a\nb",
        "'",
        "\"",
        "\\",
        "-rf",
        "--",
        "*",
        "?",
        "[a]",
        "~",
        "#",
        "!",
        "&",
        "|",
        "<",
        ">",
        "$HOME",
        "${IFS}",
        "a'b\"c",
        "$@",
        "$#",
        "%s%n",
        "\t",
        " ",
        "  lead",
        "trail  ",
        "\n",
        "$'\\x41'",
        "{a,b}",
        "&&touch X",
        "=",
        "\x7f",
    ]
    .iter()
    .map(|name| name.replace('X', &canary).replace('/', "_").into_bytes())
    .collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    while names.len() < count {
        let length = next() % 60 + 1;
        let name: Vec<u8> = (0..length)
            .map(|_| (next() % 255 + 1) as u8)
            .filter(|byte| *byte != b'/')
            .collect();
        if !name.is_empty() && name != b"." && name != b".." && !names.contains(&name) {
            names.push(name);
        }
    }
    names.into_iter().map(OsString::from_vec).collect()
}

#[test]
fn the_same_path_may_stand_in_many_lines_and_tables() {
    let prefix = Prefix::new();
    prefix.table(
        "one",
        "@W IN_CREATE echo one $# >> @O/seen\n@W IN_DELETE echo two $# >> @O/seen\n",
    );
    prefix.table(
        "two",
        "@W/ IN_CREATE,recursive=false echo three $# >> @O/seen\n",
    );
    let _daemon = prefix.start();
    touch(prefix.watched().join("f"));
    prefix.lines("seen", 2);
    fs::remove_file(prefix.watched().join("f")).unwrap();
    let mut got = prefix.lines("seen", 3);
    got.sort();
    assert_eq!(got, ["one f", "three f", "two f"]);
}

#[test]
fn a_bad_line_loses_only_itself_and_is_named() {
    let prefix = Prefix::new();
    prefix.table(
        "bad",
        "@W IN_CRAETE echo x\nrelative IN_CREATE echo x\n@W IN_CREATE echo good $# >> @O/seen\n",
    );
    let daemon = prefix.start();
    touch(prefix.watched().join("f"));
    assert_eq!(prefix.lines("seen", 1), ["good f"]);
    daemon.wait_log("tables/bad:1:");
    daemon.wait_log("IN_CREATE");
    daemon.wait_log("tables/bad:2:1:");
}

#[test]
fn a_table_change_touches_no_other_tables_work() {
    let prefix = Prefix::new();
    prefix.table("steady", "@W IN_CREATE,recursive=false echo $# >> @O/seen");
    let _daemon = prefix.start();
    // Events while another table comes, changes, breaks and goes.
    for i in 0..200 {
        touch(prefix.watched().join(format!("f{i}")));
        match i % 4 {
            0 => prefix.table("other", "@W IN_DELETE,recursive=false true"),
            1 => prefix.table("other", "@W IN_ATTRIB,recursive=false true"),
            2 => prefix.table("other", "broken"),
            _ => fs::remove_file(prefix.path("tables/other")).unwrap(),
        }
        // The table itself is touched, too: its unchanged line goes on.
        prefix.table(
            "steady",
            &format!("# {i}\n@W IN_CREATE,recursive=false echo $# >> @O/seen"),
        );
    }
    let mut got = prefix.lines("seen", 200);
    got.sort();
    let count = got.len();
    got.dedup();
    assert_eq!((got.len(), count), (200, 200));
}

#[test]
fn at_most_max_jobs_at_once_and_none_lost() {
    let prefix = Prefix::with("max_jobs = 3");
    let script = prefix.path("job");
    // Says how many run beside it, and waits to be let go.
    let out = prefix.path("out");
    let o = out.display();
    let text =
        format!("#!/bin/sh\necho start >> {o}/started\nread x < {o}/gate\necho $1 >> {o}/done\n");
    common::script(&script, &text);
    nix::unistd::mkfifo(
        &out.join("gate"),
        nix::sys::stat::Mode::from_bits_truncate(0o666),
    )
    .unwrap();
    prefix.table(
        "t",
        &format!("@W IN_CREATE,recursive=false {} $#", script.display()),
    );
    let daemon = prefix.start();
    for i in 0..20 {
        touch(prefix.watched().join(format!("f{i:02}")));
    }
    prefix.lines("started", 3);
    let worker = daemon.workers()[0];
    assert_eq!(children(worker).len(), 3);
    let mut gate = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(out.join("gate"))
        .unwrap();
    use std::io::Write;
    for done in 1..=20 {
        gate.write_all(b"go\n").unwrap();
        let lines = prefix.lines("done", done);
        assert!(children(worker).len() <= 3);
        assert!(lines.len() <= 20);
    }
    assert_eq!(prefix.out("started").lines().count(), 20);
}

#[test]
fn output_and_exit_status_are_in_the_log() {
    let prefix = Prefix::new();
    prefix.table(
        "t",
        "@W IN_CREATE,recursive=false echo hello; echo $# >&2; exit 3",
    );
    let daemon = prefix.start();
    touch(prefix.watched().join("a\x1b[31mb"));
    daemon.wait_log("CMDOUT (hello)");
    daemon.wait_log("exited with 3");
    daemon.wait_log("(system::t) CMD (");
    let log = prefix.log();
    assert!(
        !log.contains('\x1b'),
        "a name's control characters are escaped: {log}"
    );
    assert!(log.contains("EVENT (IN_CREATE)"), "{log}");
}

#[test]
fn commands_inherit_nothing_of_ours() {
    let prefix = Prefix::new();
    prefix.table(
        "t",
        "@W IN_CREATE,recursive=false { ls -l /proc/self/fd | wc -l; grep -E '^Sig(Blk|Ign)' /proc/self/status; ps -o pgid= -p $$$$ | tr -d ' '; echo $$$$; } > @O/new; mv @O/new @O/seen",
    );
    let _daemon = prefix.start();
    touch(prefix.watched().join("f"));
    let got = prefix.lines("seen", 5);
    // "total 0", 0, 1, 2 and the directory that ls itself reads.
    assert_eq!(got[0], "5");
    assert!(got[1].ends_with("0000000000000000"), "{got:?}");
    assert!(got[2].ends_with("0000000000000000"), "{got:?}");
    assert_eq!(got[3], got[4], "a process group of its own");
}

#[test]
fn a_killed_worker_is_back_and_works() {
    let prefix = Prefix::new();
    prefix.table("t", "@W IN_CREATE,recursive=false echo $# >> @O/seen");
    let daemon = prefix.start();
    let first = daemon.workers()[0];
    kill(first, Signal::SIGKILL).unwrap();
    prefix.wait("a new worker", || {
        daemon.workers().iter().any(|pid| *pid != first)
    });
    daemon.wait_watching(&prefix.watched());
    touch(prefix.watched().join("f"));
    assert_eq!(prefix.lines("seen", 1), ["f"]);
}

#[test]
fn workers_end_with_their_supervisor() {
    let prefix = Prefix::new();
    prefix.table("t", "@W IN_CREATE,recursive=false true");
    let daemon = prefix.start();
    let worker = daemon.workers()[0];
    daemon.signal(Signal::SIGKILL);
    prefix.wait("the worker's end", || !alive(worker));
}

#[test]
fn sigterm_ends_cleanly_and_leaves_no_process() {
    let prefix = Prefix::new();
    prefix.table("t", "@W IN_CREATE,recursive=false true");
    let daemon = prefix.start();
    let workers = daemon.workers();
    assert_eq!(daemon.stop(), Some(0));
    assert!(workers.iter().all(|pid| !alive(*pid)));
    assert!(prefix.log().contains("stopping service"));
}

#[test]
fn work_that_waits_at_a_stop_is_done_at_the_next_start() {
    let prefix = Prefix::with("max_jobs = 1\nstop_grace = 1s\nstop_kill = true");
    let out = prefix.path("out");
    nix::unistd::mkfifo(
        &out.join("gate"),
        nix::sys::stat::Mode::from_bits_truncate(0o666),
    )
    .unwrap();
    prefix.table("t", "@W IN_CREATE,recursive=false echo start >> @O/started; read x < @O/gate; echo $# >> @O/done");
    let daemon = prefix.start();
    for i in 0..5 {
        touch(prefix.watched().join(format!("f{i}")));
    }
    prefix.lines("started", 1);
    assert_eq!(daemon.stop(), Some(0));
    let _daemon = prefix.start();
    use std::io::Write;
    let mut gate = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(out.join("gate"))
        .unwrap();
    for done in 1..=4 {
        gate.write_all(b"go\n").unwrap();
        prefix.lines("done", done);
    }
    let mut got = prefix.lines("done", 4);
    got.sort();
    assert_eq!(
        got,
        ["f1", "f2", "f3", "f4"],
        "f0 was running and was killed; the rest waited"
    );
}

#[test]
fn no_zombies_and_no_leaked_descriptors() {
    let prefix = Prefix::new();
    prefix.table(
        "t",
        "@W IN_CREATE,recursive=false,output=log echo $# >> @O/seen; echo out",
    );
    let daemon = prefix.start();
    let worker = daemon.workers()[0];
    let open = || fs::read_dir(format!("/proc/{worker}/fd")).unwrap().count();
    touch(prefix.watched().join("first"));
    prefix.lines("seen", 1);
    prefix.wait("the first run's end", || children(worker).is_empty());
    let before = open();
    for i in 0..1000 {
        touch(prefix.watched().join(format!("f{i}")));
    }
    prefix.lines("seen", 1001);
    prefix.wait("no child, not even a zombie", || {
        children(worker).is_empty()
    });
    prefix.wait("as many descriptors as before", || open() <= before);
}

#[test]
fn the_log_of_a_running_daemon_survives_syslogd() {
    use log_support::rsyslogd::Rsyslogd;
    let prefix = Prefix::with("log = syslog\nsyslog_socket = @P/log.sock");
    prefix.table(
        "t",
        "@W IN_CREATE,recursive=false echo $# >> @O/seen; echo out of $#",
    );
    let Some(first) = Rsyslogd::start(&prefix.path("")) else {
        return eprintln!("left out: rsyslogd is not installed");
    };
    let messages = || fs::read_to_string(prefix.path("messages")).unwrap_or_default();
    let wait = |text: &str| prefix.wait(text, || messages().contains(text));
    let _daemon = prefix.spawn(common::INCROND);
    wait("ready to process filesystem events");
    first.kill();
    touch(prefix.watched().join("a"));
    prefix.lines("seen", 1);
    let _second = Rsyslogd::start(&prefix.path("")).unwrap();
    // Nothing happens any more: the log comes back by itself.
    wait("CMDOUT (out of a)");
    assert!(messages().contains("(system::t) CMD ("), "{}", messages());
}

#[test]
fn tables_of_rubbish_lose_only_themselves_and_are_named() {
    let prefix = Prefix::new();
    let tables = prefix.path("tables");
    let good = prefix.fill("@W IN_CREATE,recursive=false echo $0 $# >> @O/seen\n");
    let mixed = |rubbish: &[u8]| {
        let mut bytes = rubbish.to_vec();
        bytes.extend_from_slice(b"\n");
        bytes.extend_from_slice(good.as_bytes());
        bytes
    };
    let rubbish: [(&str, Vec<u8>); 6] = [
        ("nuls", vec![0; 4096]),
        (
            "long",
            [b"/tmp IN_CREATE ".to_vec(), vec![b'x'; 1 << 19]].concat(),
        ),
        ("latin1", b"/tmp IN_CR\xc9ATE,key=\xff true".to_vec()),
        (
            "binary",
            (0..=255u8)
                .filter(|b| *b != b'\n')
                .cycle()
                .take(5000)
                .collect(),
        ),
        ("nomask", b"/tmp".to_vec()),
        ("nocommand", b"/tmp IN_CREATE   ".to_vec()),
    ];
    for (name, bytes) in &rubbish {
        fs::write(tables.join(name), mixed(bytes)).unwrap();
    }
    fs::write(tables.join("huge"), vec![b'#'; 2 << 20]).unwrap();
    fs::create_dir(tables.join("directory")).unwrap();
    nix::unistd::mkfifo(
        &tables.join("fifo"),
        nix::sys::stat::Mode::from_bits_truncate(0o600),
    )
    .unwrap();
    std::os::unix::fs::symlink("/nonexistent", tables.join("dangling")).unwrap();
    fs::write(tables.join("open"), &good).unwrap();
    fs::set_permissions(tables.join("open"), fs::Permissions::from_mode(0o666)).unwrap();
    let daemon = prefix.start();
    touch(prefix.watched().join("f"));
    prefix.lines("seen", rubbish.len());
    for (name, _) in &rubbish {
        daemon.wait_log(&format!("tables/{name}:1:"));
    }
    for name in ["huge", "fifo", "dangling", "open"] {
        prefix.wait(name, || {
            prefix.log().lines().any(|line| {
                line.contains("error") && line.contains(name)
                    || line.contains("warn") && line.contains(name)
            })
        });
    }
    assert_eq!(
        prefix.out("seen").lines().count(),
        rubbish.len(),
        "none of the refused ran"
    );
}

#[test]
fn a_file_system_mounted_over_the_path_is_served_and_so_is_what_was_below() {
    if !common::is_root() {
        return eprintln!("left out: only root mounts");
    }
    let prefix = Prefix::new();
    let w = prefix.watched();
    prefix.table("t", "@W IN_CREATE,type=file echo $# >> @O/seen");
    let daemon = prefix.start();
    touch(w.join("below"));
    prefix.lines("seen", 1);
    sh(&format!("mount -t tmpfs none {}", w.display()));
    daemon.wait_watching(&w);
    touch(w.join("above"));
    prefix.wait("the file above", || prefix.out("seen").contains("above"));
    sh(&format!("umount {}", w.display()));
    daemon.wait_watching(&w);
    touch(w.join("again"));
    // What was made in the very tick of the mount may be told once more.
    prefix.wait("the file made after", || {
        prefix.out("seen").contains("again")
    });
}
