//! The control socket: what may be asked by whom, and what abuse costs the others.

mod common;
mod supervisor_support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use common::{LIMIT, Prefix, is_root};
use incron::control::{Answer, Client, ClientError, MAX_TABLE, Request};
use supervisor_support::{ask, ask_at, install, lines, reason, remove, text, worker};

const ONE: &str = "@W IN_CREATE true\n";

/// Asks as another user: this test program again, with that identity.
fn ask_as(uid: u32, prefix: &Prefix, request: &Request) -> Answer {
    let output = Command::new("/proc/self/exe")
        .args(["--ignored", "--exact", "somebody_else", "--nocapture"])
        .env("INCRON_TEST_SOCKET", prefix.path("run/control.sock"))
        .env(
            "INCRON_TEST_REQUEST",
            serde_json::to_string(request).unwrap(),
        )
        .uid(uid)
        .gid(uid)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let answer = text
        .split("ANSWER ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    serde_json::from_str(answer.unwrap_or_else(|| panic!("{output:?}"))).unwrap()
}

#[test]
#[ignore = "run by the tests below, as another user"]
fn somebody_else() {
    let Some(socket) = std::env::var_os("INCRON_TEST_SOCKET") else {
        return;
    };
    let request = std::env::var("INCRON_TEST_REQUEST").unwrap();
    let request: Request = serde_json::from_str(&request).unwrap();
    let answer = ask_at(socket.as_ref(), &request);
    println!("ANSWER {}", serde_json::to_string(&answer).unwrap());
}

fn me() -> String {
    nix::unistd::User::from_uid(nix::unistd::geteuid())
        .unwrap()
        .unwrap()
        .name
}

#[test]
fn a_table_is_installed_read_loaded_again_and_removed() {
    let prefix = Prefix::new();
    let daemon = prefix.start();
    let user = me();
    assert_eq!(
        ask(&prefix, &Request::Get { user: user.clone() }),
        Answer::NoTable
    );
    assert_eq!(ask(&prefix, &remove(&user)), Answer::NoTable);
    assert_eq!(
        ask(&prefix, &Request::Reload { user: user.clone() }),
        Answer::NoTable
    );
    // The answer comes when the worker serves it.
    let table = format!("# kept byte for byte \t\n{}", prefix.fill(ONE));
    let done = ask(&prefix, &install(&user, table.as_bytes()));
    assert_eq!(
        done,
        Answer::Done {
            lines: Some(1),
            errors: Some(0)
        }
    );
    assert_eq!(lines(&prefix, &user), 1);
    assert_eq!(
        text(&ask(&prefix, &Request::Get { user: user.clone() })),
        table.as_bytes()
    );
    let mode = fs::metadata(prefix.path("spool").join(&user))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = ask(&prefix, &Request::Reload { user: user.clone() });
    assert_eq!(
        again,
        Answer::Done {
            lines: Some(1),
            errors: Some(0)
        }
    );
    // Installed once is loaded once, whatever the directory's events say.
    assert_eq!(
        prefix.log().matches("loading").count(),
        4,
        "{}",
        prefix.log()
    );

    let gone = ask(&prefix, &remove(&user));
    assert_eq!(
        gone,
        Answer::Done {
            lines: None,
            errors: None
        }
    );
    assert!(worker(&prefix, &user).is_none());
    assert!(!prefix.path("spool").join(&user).exists());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_table_that_another_has_changed_is_not_replaced_by_mistake() {
    let prefix = Prefix::new();
    let daemon = prefix.start();
    let user = me();
    let version = || match ask(&prefix, &Request::Get { user: me() }) {
        Answer::Table { version, .. } => version,
        other => panic!("{other:?}"),
    };
    let over = |expect: &str, table: &[u8]| match install(&user, table) {
        Request::Install { user, table, .. } => Request::Install {
            user,
            table,
            expect: Some(expect.into()),
        },
        other => other,
    };
    let removal = |expect: &str| Request::Remove {
        user: me(),
        expect: Some(expect.into()),
    };
    let done = |answer: Answer| assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
    // A first table, and no second first one.
    done(ask(&prefix, &over("", b"#1")));
    assert_eq!(reason(&ask(&prefix, &over("", b"#2"))), "changed");
    let first = version();
    done(ask(&prefix, &over(&first, b"#3")));
    // Neither over what was, nor over what an administrator wrote by hand.
    assert_eq!(reason(&ask(&prefix, &over(&first, b"#4"))), "changed");
    assert_eq!(reason(&ask(&prefix, &removal(&first))), "changed");
    let second = version();
    fs::write(prefix.path("spool").join(&user), "#5").unwrap();
    assert_eq!(reason(&ask(&prefix, &over(&second, b"#6"))), "changed");
    let get = Request::Get { user: me() };
    assert_eq!(text(&ask(&prefix, &get)), b"#5");
    done(ask(&prefix, &removal(&version())));
    assert_eq!(reason(&ask(&prefix, &over(&second, b"#7"))), "changed");
    assert_eq!(ask(&prefix, &get), Answer::NoTable);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_removal_is_answered_when_nothing_is_watched_any_more() {
    let prefix = Prefix::with("stop_grace = 2s\nstop_kill = true");
    let daemon = prefix.start();
    let user = me();
    // What runs goes on for a while, and holds up no answer.
    let table = prefix.fill("@W IN_CREATE echo > @O/runs; sleep 60\n");
    ask(&prefix, &install(&user, table.as_bytes()));
    fs::write(prefix.watched().join("x"), "").unwrap();
    prefix.lines("runs", 1);
    let process = supervisor_support::pid(&prefix, &user);
    ask(&prefix, &remove(&user));
    let inode = format!("ino:{:x} ", fs::metadata(prefix.watched()).unwrap().ino());
    let fds = fs::read_dir(format!("/proc/{process}/fdinfo"));
    for entry in fds.into_iter().flatten().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        assert!(!text.contains(&inode), "{text}");
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let prefix = Prefix::new();
    let daemon = prefix.start();
    let user = me();
    assert!(matches!(
        ask(&prefix, &install(&user, b"")),
        Answer::Done { .. }
    ));
    let nobody = ask(&prefix, &install("no-such-user", b""));
    assert_eq!(reason(&nobody), "unknown_user");
    let way = ask(&prefix, &install("../../etc/passwd", b""));
    assert_eq!(reason(&way), "unknown_user");
    let large = ask(&prefix, &install(&user, &vec![b'#'; MAX_TABLE + 1]));
    assert_eq!(reason(&large), "too_large");
    let code = ask(
        &prefix,
        &Request::Install {
            user: user.clone(),
            table: "!".into(),
            expect: None,
        },
    );
    assert_eq!(reason(&code), "bad_request");
    assert_eq!(
        text(&ask(&prefix, &Request::Get { user: user.clone() })),
        b""
    );
    fs::write(prefix.path("incron.allow"), "").unwrap();
    daemon.wait_log("is not allowed to use incron");
    assert_eq!(reason(&ask(&prefix, &install(&user, b"x"))), "denied");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_user_manages_the_own_table_and_no_other() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::new();
    prefix.table("system", ONE);
    let daemon = prefix.start();
    let table = prefix.fill(ONE);
    let own = ask_as(5, &prefix, &install("games", table.as_bytes()));
    assert_eq!(
        own,
        Answer::Done {
            lines: Some(1),
            errors: Some(0)
        }
    );
    for request in [
        install("nobody", b""),
        Request::Get {
            user: "root".into(),
        },
        remove("nobody"),
        Request::Reload {
            user: "nobody".into(),
        },
    ] {
        assert_eq!(
            reason(&ask_as(5, &prefix, &request)),
            "permission",
            "{request:?}"
        );
    }
    let Answer::Status { workers, .. } = ask_as(5, &prefix, &Request::Status) else {
        panic!()
    };
    assert_eq!(workers.len(), 1);
    assert_eq!(workers[0]["owner"], "games");
    fs::write(prefix.path("incron.deny"), "games\n").unwrap();
    daemon.wait_log("user 'games' is not allowed to use incron");
    let denied = ask_as(
        5,
        &prefix,
        &Request::Get {
            user: "games".into(),
        },
    );
    assert_eq!(reason(&denied), "denied");
    // Root may look at it and take it away.
    assert_eq!(
        text(&ask(
            &prefix,
            &Request::Get {
                user: "games".into()
            }
        )),
        table.as_bytes()
    );
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn one_that_says_nothing_is_shown_out() {
    let prefix = Prefix::new();
    let daemon = prefix.start();
    let mut silent = UnixStream::connect(prefix.path("run/control.sock")).unwrap();
    silent.set_read_timeout(Some(LIMIT)).unwrap();
    assert!(matches!(
        ask(&prefix, &Request::Status),
        Answer::Status { .. }
    ));
    assert_eq!(
        silent.read(&mut [0; 16]).unwrap(),
        0,
        "closed by the daemon"
    );
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn one_that_sends_without_end_is_shown_out() {
    let prefix = Prefix::new();
    let daemon = prefix.start();
    let mut flood = UnixStream::connect(prefix.path("run/control.sock")).unwrap();
    let chunk = vec![b'x'; 1 << 20];
    let mut sent = 0usize;
    while sent < 1 << 30 && flood.write_all(&chunk).is_ok() {
        sent += chunk.len();
    }
    assert!(sent < 16 << 20, "{sent} bytes were taken");
    assert!(matches!(
        ask(&prefix, &Request::Status),
        Answer::Status { .. }
    ));
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(peak < 64 * 1024, "{peak} KiB");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn garbage_gets_an_answer() {
    let prefix = Prefix::new();
    let daemon = prefix.start();
    for garbage in [
        &b"\n"[..],
        b"{}\n",
        b"\xff\xfe\0\n",
        b"[[[[[[\n",
        b"{\"op\":\"rm\"}\n",
    ] {
        let mut client = UnixStream::connect(prefix.path("run/control.sock")).unwrap();
        client.write_all(garbage).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("\"bad_request\""), "{answer}");
    }
    // As a shell script would: all written, the end closed, the answer awaited.
    let mut client = UnixStream::connect(prefix.path("run/control.sock")).unwrap();
    client.write_all(b"{\"op\":\"status\"}\n").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"status\""), "{answer}");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
#[ignore = "run by the test below, as another user"]
fn somebody_with_a_thousand_connections() {
    let Some(socket) = std::env::var_os("INCRON_TEST_SOCKET") else {
        return;
    };
    let mut all: Vec<UnixStream> = (0..1000)
        .map(|_| UnixStream::connect(&socket).unwrap())
        .collect();
    // They are taken in their order: when the last has its answer, all have.
    let mut refused = 0;
    for (index, stream) in all.iter_mut().rev().enumerate() {
        stream.set_nonblocking(index > 0).unwrap();
        let mut text = [0; 512];
        let length = stream.read(&mut text).unwrap_or(0);
        refused += usize::from(String::from_utf8_lossy(&text[..length]).contains("\"busy\""));
    }
    println!("REFUSED {refused}.");
    // Held until the other end has had its say.
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn a_thousand_connections_of_one_user_cost_the_others_nothing() {
    if !is_root() {
        return;
    }
    let prefix = Prefix::new();
    let daemon = prefix.start();
    let mut crowd = Command::new("/proc/self/exe")
        .args([
            "--ignored",
            "--exact",
            "somebody_with_a_thousand_connections",
            "--nocapture",
        ])
        .env("INCRON_TEST_SOCKET", prefix.path("run/control.sock"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .uid(65534)
        .gid(65534)
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut stdout = crowd.stdout.take().unwrap();
    while !said.contains("REFUSED") || !said.ends_with(".\n") {
        let mut chunk = [0; 256];
        let length = stdout.read(&mut chunk).unwrap();
        assert_ne!(length, 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&chunk[..length]));
    }
    let refused: usize = said
        .split("REFUSED ")
        .nth(1)
        .unwrap()
        .trim()
        .trim_end_matches('.')
        .parse()
        .unwrap();
    assert!(refused >= 900, "{refused}");
    // Root and another user are served meanwhile.
    assert!(matches!(
        ask(&prefix, &Request::Status),
        Answer::Status { .. }
    ));
    assert!(matches!(
        ask_as(5, &prefix, &Request::Status),
        Answer::Status { .. }
    ));
    let open = fs::read_dir(format!("/proc/{}/fd", daemon.pid()))
        .unwrap()
        .count();
    assert!(open < 64, "{open} descriptors");
    drop(crowd.stdin.take());
    crowd.wait().unwrap();
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn no_daemon_is_said_as_such() {
    let prefix = Prefix::new();
    let socket = prefix.path("run/control.sock");
    assert!(matches!(
        Client::connect(&socket),
        Err(ClientError::NotRunning(_))
    ));
    let mut daemon = prefix.start();
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    assert!(socket.exists(), "a stale socket");
    assert!(matches!(
        Client::connect(&socket),
        Err(ClientError::NotRunning(_))
    ));
}
