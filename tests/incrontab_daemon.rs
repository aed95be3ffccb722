//! Two plain users, incrontab and the real daemon: each has the own table, and
//! its commands run as that user. Needs root, to be two users.

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::{INCRONTAB, Prefix};
use nix::unistd::User;
use rexpect::session::spawn_command;

/// Accounts that every Debian has, and that run nothing here.
const ALICE: &str = "games";
const BOB: &str = "news";

struct Machine {
    prefix: Prefix,
    /// incrontab, where plain users can reach it.
    program: PathBuf,
}

/// None where two users cannot be had.
fn machine() -> Option<Machine> {
    if !nix::unistd::getuid().is_root() {
        eprintln!("skipped: needs root");
        return None;
    }
    let prefix = Prefix::new();
    let program = prefix.path("incrontab");
    // By another process: see `common::script`.
    let copied = Command::new("cp").arg(INCRONTAB).arg(&program).status();
    assert!(copied.unwrap().success());
    for name in [ALICE, BOB] {
        let user = User::from_name(name).unwrap()?;
        let home = prefix.path(name);
        fs::create_dir(&home).unwrap();
        chown(&home, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    }
    Some(Machine { prefix, program })
}

impl Machine {
    /// `incrontab ARGS` as that user.
    fn command(&self, user: &str, args: &[&str]) -> Command {
        let account = User::from_name(user).unwrap().unwrap();
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={}", account.uid))
            .arg(format!("--regid={}", account.gid))
            .arg("--init-groups")
            .arg(&self.program)
            .arg("-f")
            .arg(self.prefix.conf())
            .args(args)
            .current_dir(self.prefix.dir.path())
            .env("TMPDIR", self.prefix.path(user));
        command
    }

    /// How it ended, and all it said.
    fn run(&self, user: &str, args: &[&str], input: &str) -> (Option<i32>, String) {
        let mut command = self.command(user, args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(self.prefix.fill(input).as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    fn install(&self, user: &str, table: &str) {
        let (code, said) = self.run(user, &["-"], table);
        assert_eq!(code, Some(0), "{said}");
    }

    fn touch(&self, name: &str) {
        fs::write(self.prefix.watched().join(name), "").unwrap();
    }
}

#[test]
fn each_users_commands_run_as_that_user_from_the_moment_incrontab_returns() {
    let Some(machine) = machine() else { return };
    let daemon = machine.prefix.start();
    for user in [ALICE, BOB] {
        let table = format!("@W IN_CLOSE_WRITE id -un > @O/{user}-$#\n");
        machine.install(user, &table);
        machine.touch(&format!("for-{user}"));
        let lines = machine.prefix.lines(&format!("{user}-for-{user}"), 1);
        assert_eq!(lines, [user]);
        let (code, listed) = machine.run(user, &["-l"], "");
        assert_eq!((code, listed), (Some(0), machine.prefix.fill(&table)));
    }
    // Both see a change from here on; neither runs as the other.
    machine.touch("both");
    for user in [ALICE, BOB] {
        assert_eq!(machine.prefix.lines(&format!("{user}-both"), 1), [user]);
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn what_a_user_may_not_read_is_not_reported() {
    let Some(machine) = machine() else { return };
    let _daemon = machine.prefix.start();
    let private = machine.prefix.path(BOB);
    machine.install(
        ALICE,
        &format!(
            "{} IN_CLOSE_WRITE echo $# > @O/spied\n@W IN_CLOSE_WRITE echo $# > @O/$#\n",
            private.display()
        ),
    );
    fs::write(private.join("secret"), "").unwrap();
    // A later event that is served: the earlier one would have been, too.
    machine.touch("after");
    machine.prefix.lines("after", 1);
    assert_eq!(machine.prefix.out("spied"), "");
}

#[test]
fn one_user_has_no_part_in_anothers_table() {
    let Some(machine) = machine() else { return };
    let _daemon = machine.prefix.start();
    machine.install(BOB, "@W IN_CLOSE_WRITE true\n");
    for args in [
        &["-u", BOB, "-l"][..],
        &["-u", BOB, "-r"],
        &["-u", BOB, "-"],
    ] {
        let (code, said) = machine.run(ALICE, args, "");
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("insufficient privileges"), "{said}");
    }
    let spool = machine.prefix.path("spool").join(BOB);
    let kept = fs::read_to_string(spool).unwrap();
    assert_eq!(kept, machine.prefix.fill("@W IN_CLOSE_WRITE true\n"));
}

#[test]
fn a_table_that_is_removed_runs_nothing_more() {
    let Some(machine) = machine() else { return };
    let daemon = machine.prefix.start();
    machine.install(ALICE, "@W IN_CLOSE_WRITE echo $# >> @O/alice\n");
    machine.install(BOB, "@W IN_CLOSE_WRITE echo $# >> @O/bob\n");
    machine.touch("one");
    machine.prefix.lines("alice", 1);
    let (code, said) = machine.run(ALICE, &["-r"], "");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("successfully removed"), "{said}");
    // The worker is told to end, and ends by itself.
    machine
        .prefix
        .wait("the end of the worker", || daemon.workers().len() == 1);
    machine.touch("two");
    assert_eq!(machine.prefix.lines("bob", 2), ["one", "two"]);
    assert_eq!(machine.prefix.out("alice"), "one\n");
    let (_, said) = machine.run(ALICE, &["-l"], "");
    assert_eq!(said, format!("no table for {ALICE}\n"));
}

#[test]
fn who_is_not_allowed_is_refused_until_allowed() {
    let Some(machine) = machine() else { return };
    fs::write(machine.prefix.path("incron.allow"), format!("{BOB}\n")).unwrap();
    let daemon = machine.prefix.start();
    let (code, said) = machine.run(ALICE, &["-"], "@W IN_CLOSE_WRITE true\n");
    assert_eq!(code, Some(1));
    assert!(said.contains("is not allowed to use incron"), "{said}");
    assert!(!machine.prefix.path("spool").join(ALICE).exists());
    machine.install(BOB, "@W IN_CLOSE_WRITE echo $# >> @O/bob\n");

    fs::write(
        machine.prefix.path("incron.allow"),
        format!("{ALICE}\n{BOB}\n"),
    )
    .unwrap();
    machine.prefix.wait("the access file to be read", || {
        machine
            .run(ALICE, &["-"], "@W IN_CLOSE_WRITE echo $# >> @O/alice\n")
            .0
            == Some(0)
    });
    machine.touch("x");
    machine.prefix.lines("alice", 1);
    machine.prefix.lines("bob", 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_table_that_root_wrote_without_a_daemon_is_served_when_one_starts() {
    let Some(machine) = machine() else { return };
    let (code, said) = machine.run(
        "root",
        &["-u", ALICE, "-"],
        "@W IN_CLOSE_WRITE id -un > @O/$#\n",
    );
    assert_eq!(code, Some(0), "{said}");
    let _daemon = machine.prefix.start();
    machine.touch("x");
    assert_eq!(machine.prefix.lines("x", 1), [ALICE]);
}

#[test]
fn a_table_is_read_again_on_request() {
    let Some(machine) = machine() else { return };
    let _daemon = machine.prefix.start();
    machine.install(ALICE, "@W IN_CLOSE_WRITE,IN_ONESHOT echo $# >> @O/once\n");
    machine.touch("one");
    machine.prefix.lines("once", 1);
    let (code, said) = machine.run(ALICE, &["-d"], "");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with("request done\n"), "{said}");
    machine.touch("two");
    assert_eq!(machine.prefix.lines("once", 2), ["one", "two"]);
}

#[test]
fn a_plain_user_edits_with_a_real_editor() {
    let Some(machine) = machine() else { return };
    let Some(vim) = ["/usr/bin/vim", "/usr/bin/vim.tiny"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
    else {
        eprintln!("skipped: no vim here");
        return;
    };
    let _daemon = machine.prefix.start();
    let mut command = machine.command(ALICE, &["-e"]);
    command
        .env("VISUAL", format!("{vim} -u NONE -i NONE"))
        .env("TERM", "vt100")
        .env("HOME", machine.prefix.path(ALICE));
    let mut session = spawn_command(command, Some(180_000)).expect("starts");
    session.exp_string("table.incron").expect("opens");
    let line = machine.prefix.fill("@W IN_CLOSE_WRITE id -un > @O/$#");
    session.send(&format!("Go{line}\x1b:wq\r")).expect("types");
    session.flush().expect("types");
    session.exp_string("table updated").expect("installs");
    session.exp_eof().expect("ends");
    machine.touch("edited");
    assert_eq!(machine.prefix.lines("edited", 1), [ALICE]);
    let left = fs::read_dir(machine.prefix.path(ALICE)).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}
