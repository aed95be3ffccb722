//! `incron-containers log`: events in, lines out, through a real rsyslogd, a real
//! journald, files and pipes. What is read by others is what it was.

mod log_support;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use incron::event::{Actor, Confidence, Event, EventContext, Origin};
use incron::table::Mask;
use log_support::rsyslogd::Rsyslogd;
use log_support::wait_for;

const PROGRAM: &str = env!("CARGO_BIN_EXE_incron-containers");
const TAG: &str = "podsec-inotify-check-containers";
const LAYER: &str = "5a1fe0";

fn labels() -> BTreeMap<String, String> {
    [
        ("id", "0123456789ab"),
        ("name", "web"),
        ("image", "docker.io/library/nginx:1"),
        ("engine", "podman"),
        ("owner", "ann"),
        ("layer", LAYER),
        ("pod", "front"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn event(mask: Mask, path: &[u8]) -> Event {
    let at = path.iter().rposition(|&b| b == b'/').unwrap();
    let dir = if at == 0 { b"/" } else { &path[..at] };
    Event {
        mask,
        watch: OsString::from_vec(dir.to_vec()),
        name: OsString::from_vec(path[at + 1..].to_vec()),
        old_path: None,
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000),
        origin: Origin::Kernel,
        actor: None,
        seq: 1,
        labels: Some(Rc::new(labels())),
    }
}

fn json(event: &Event) -> String {
    event.to_json(&EventContext {
        host: "box",
        table: "containers",
        line: 1,
        key: "containers",
    })
}

/// Runs the program on `input`, to its end.
fn log(args: &[&str], input: &[u8]) -> Output {
    log_with(args, &[], input)
}

fn log_with(args: &[&str], environment: &[(&str, &str)], input: &[u8]) -> Output {
    let mut command = Command::new(PROGRAM);
    command
        .arg("log")
        .args(args)
        .env_remove("LC_ALL")
        .env_remove("LC_MESSAGES");
    command.env("LANG", "C").envs(environment.iter().copied());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _ = stdin.write_all(input); // it may end before
        });
        child.wait_with_output().unwrap()
    })
}

fn lines(events: &[Event]) -> Vec<u8> {
    let all: Vec<String> = events.iter().map(|event| json(event) + "\n").collect();
    all.concat().into_bytes()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What comes after the tag, of each line on standard output.
fn said(output: &Output) -> Vec<String> {
    let text = text(&output.stdout);
    let after = |line: &str| line.split_once("]: ").unwrap().1.to_owned();
    text.lines().map(after).collect()
}

fn of_each_part() -> Vec<Event> {
    vec![
        event(Mask::MODIFY, b"/home/ann/.profile"),
        event(Mask::CREATE | Mask::ISDIR, b"/root/.ssh"),
        event(Mask::DELETE, b"/etc/passwd"),
        event(Mask::MOVED_FROM, b"/usr/bin/su"),
    ]
}

#[test]
fn syslog_gets_the_sentences_that_others_read() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path();
    let Some(_syslogd) = Rsyslogd::start(prefix) else {
        return eprintln!("SKIPPED: /usr/sbin/rsyslogd is not installed");
    };
    let socket = prefix.join("log.sock");
    let output = log(
        &["--socket", socket.to_str().unwrap()],
        &lines(&of_each_part()),
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let messages = || fs::read_to_string(prefix.join("messages")).unwrap_or_default();
    wait_for(prefix, || messages().lines().count() >= 4);
    let messages = messages();
    let lines: Vec<(&str, &str)> = messages
        .lines()
        .map(|line| {
            (
                line.split(' ').next().unwrap(),
                line.split_once(TAG).unwrap().1,
            )
        })
        .collect();
    let pid = lines[0].1.split(['[', ']']).nth(1).unwrap();
    assert!(pid.parse::<u32>().is_ok(), "{messages}");
    // user.notice is 13, user.crit 10.
    let expected = [
        (
            "13",
            format!(
                "[{pid}]: Warning: An event MODIFY occurred in the container {LAYER} in home directory on the file /home/ann/.profile"
            ),
        ),
        (
            "13",
            format!(
                "[{pid}]: Warning: An event CREATE,ISDIR occurred in the container {LAYER} in home directory on the file /root/.ssh"
            ),
        ),
        (
            "13",
            format!(
                "[{pid}]: Warning: An event DELETE occurred in the container {LAYER} in configuration directory on the file /etc/passwd"
            ),
        ),
        (
            "10",
            format!(
                "[{pid}]: Critical: An event MOVED_FROM occurred in the container {LAYER}  on the file /usr/bin/su"
            ),
        ),
    ];
    let expected: Vec<(&str, &str)> = expected.iter().map(|(p, t)| (*p, t.as_str())).collect();
    assert_eq!(lines, expected);
}

/// How podsec's reader takes a line apart: severity by the word, then the text.
fn as_read_by_podsec(line: &str) -> String {
    let script = format!(
        r"s/^.*[[:space:]]\({TAG}[^[]*\)\[[0-9]\+\]:[[:space:]]*\(Crash\|Fatal\|Critical\|High\|Middle\):[[:space:]]\(.*\)$/CRITICAL \1 \3/p
s/^.*[[:space:]]\({TAG}[^[]*\)\[[0-9]\+\]:[[:space:]]*\(Warning\):[[:space:]]\(.*\)$/WARNING \1 \3/p"
    );
    let mut sed = Command::new("sed");
    let mut child = sed
        .args(["-n", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(line.as_bytes())
        .unwrap();
    text(&child.wait_with_output().unwrap().stdout)
}

#[test]
fn its_readers_understand_each_line_in_both_languages() {
    let mut all = of_each_part();
    all.extend((0..5).map(|n| event(Mask::CREATE, format!("/usr/{n}").as_bytes())));
    for (locale, sentence, last) in [
        ("C", "An event", "3 more events"),
        ("ru_RU.UTF-8", "Событие", "Ещё 3 событий"),
    ] {
        let output = log_with(
            &["--to", "stdout", "--limit", "6/1h"],
            &[("LC_MESSAGES", locale)],
            &lines(&all),
        );
        let said = text(&output.stdout);
        assert_eq!(said.lines().count(), 7, "{said}");
        for (n, line) in said.lines().enumerate() {
            let read = as_read_by_podsec(line);
            let severity = if n < 3 { "WARNING" } else { "CRITICAL" };
            assert!(read.starts_with(&format!("{severity} {TAG} ")), "{line}");
            let text = if n < 6 { sentence } else { last };
            assert!(read.contains(text), "{read}");
        }
    }
}

#[test]
fn russian_sentences() {
    let output = log_with(
        &["--to", "stdout"],
        &[("LANG", "ru_RU.UTF-8")],
        &lines(&of_each_part()[1..]),
    );
    assert_eq!(
        said(&output),
        [
            format!(
                "Warning: Событие CREATE,ISDIR произошло в контейнере {LAYER} в домашнем каталоге в файле /root/.ssh"
            ),
            format!(
                "Warning: Событие DELETE произошло в контейнере {LAYER} в каталоге конфигурации в файле /etc/passwd"
            ),
            format!(
                "Critical: Событие MOVED_FROM произошло в контейнере {LAYER}  в файле /usr/bin/su"
            ),
        ]
    );
}

/// Names that somebody inside a container may give a file.
fn hostile() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        "'; touch /tmp/owned; '",
        "$(touch /tmp/owned)`id`",
        "a\nNov 20 00:00:00 box sshd[1]: Accepted password for root",
        "\u{1b}[2J\u{1b}]0;title\u{7}\r\u{85}\u{2028}\u{202e}txt.exe",
        "%s%n %%e \\n \"quoted\" \\",
        "Critical: podsec-inotify-check-containers[1]: Warning: x",
    ]
    .iter()
    .map(|name| name.as_bytes().to_vec())
    .collect();
    names.push(vec![0xff; 255]);
    names.push(b"\xc3\x28half\x80".to_vec());
    names
}

#[test]
fn hostile_names_are_text_in_one_line() {
    let events: Vec<Event> = hostile()
        .into_iter()
        .map(|name| event(Mask::CREATE, &[b"/etc/", name.as_slice()].concat()))
        .collect();
    let mut shouted = events.clone();
    for event in &mut shouted {
        let mut labels = labels();
        labels.insert("layer".into(), "x\n\u{1b}[2Jforged[1]: Critical: y".into());
        event.labels = Some(Rc::new(labels));
    }
    for (format, events) in [("podsec", &events), ("json", &events), ("podsec", &shouted)] {
        let output = log(&["--to", "stdout", "--format", format], &lines(events));
        let all = text(&output.stdout);
        assert_eq!(all.lines().count(), events.len(), "{all}");
        let harmless = |c: char| !c.is_control() && !('\u{2028}'..='\u{202e}').contains(&c);
        assert!(
            all.lines().all(|line| line.chars().all(harmless)),
            "{all:?}"
        );
        assert!(output.stderr.is_empty());
        if format == "podsec" && events[0].labels.as_ref().unwrap()["layer"] == LAYER {
            let said = said(&output);
            assert!(said[0].ends_with("on the file /etc/'; touch /tmp/owned; '"));
            assert!(said[2].contains(r"/etc/a\x0aNov 20"));
            assert!(said[6].ends_with(&r"\xff".repeat(255)));
        }
    }
    assert!(!Path::new("/tmp/owned").exists());
}

#[test]
fn json_says_which_container_and_who() {
    let mut changed = event(Mask::MOVED_TO, b"/etc/\xffshadow");
    changed.old_path = Some("/etc/new".into());
    changed.actor = Some(Rc::new(Actor {
        pid: 4711,
        ns_pid: Some(7),
        exe: Some("/usr/bin/mv".into()),
        cmdline: vec!["mv".into(), "new\n".into()],
        uid: Some(0),
        user: Some("root".into()),
        confidence: Confidence::Exact,
        ..Actor::default()
    }));
    let output = log(
        &["--to", "stdout", "--format", "json"],
        &lines(&[changed.clone()]),
    );
    let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = serde_json::json!({
        "time": "2026-11-18T11:06:40.000000000Z", "host": "box",
        "container": {"id": "0123456789ab", "name": "web", "image": "docker.io/library/nginx:1",
                      "engine": "podman", "owner": "ann", "pod": "front"},
        "layer": LAYER, "path": "/etc/\u{fffd}shadow", "path_raw": "L2V0Yy//c2hhZG93",
        "old_path": "/etc/new", "events": ["IN_MOVED_TO"], "dir": false,
        "actor": {"pid": 4711, "ns_pid": 7, "exe": "/usr/bin/mv", "cmdline": ["mv", "new\n"],
                  "uid": 0, "user": "root", "confidence": "exact"},
        "origin": "kernel", "severity": "warning",
    });
    assert_eq!(read, expected);

    // What syslog would cut is left out, so that it stays an object.
    let mut long = Actor::clone(changed.actor.as_ref().unwrap());
    long.cmdline = vec!["x".repeat(9000).into()];
    long.exe = Some(OsString::from_vec([b"/", [0xff; 4000].as_slice()].concat()).into());
    let mut path = b"/etc".to_vec();
    (0..15).for_each(|_| path.extend([b"/", [0xff; 254].as_slice()].concat()));
    let mut changed = event(Mask::MODIFY, &path);
    changed.actor = Some(Rc::new(long));
    let dir = tempfile::tempdir().unwrap();
    let Some(_syslogd) = Rsyslogd::start(dir.path()) else {
        return eprintln!("SKIPPED: /usr/sbin/rsyslogd is not installed");
    };
    let socket = dir.path().join("log.sock");
    log(
        &["--format", "json", "--socket", socket.to_str().unwrap()],
        &lines(&[changed]),
    );
    let messages = || fs::read_to_string(dir.path().join("messages")).unwrap_or_default();
    wait_for(dir.path(), || messages().ends_with('\n'));
    let messages = messages();
    let object = messages.split_once("]: ").unwrap().1;
    let read: serde_json::Value = serde_json::from_str(object).unwrap();
    assert_eq!(read["actor"]["pid"], 4711);
    assert_eq!(
        (&read["shortened"], &read["severity"]),
        (&true.into(), &"warning".into())
    );
    assert_eq!(
        read["path_raw"].as_str().unwrap().len(),
        path.len().div_ceil(3) * 4
    );
}

#[test]
fn what_a_limit_keeps_back_is_counted_for_each_container() {
    let mut events: Vec<Event> = (0..500)
        .map(|n| event(Mask::CREATE, format!("/etc/{n}").as_bytes()))
        .collect();
    events.push(event(Mask::DELETE, b"/usr/bin/last"));
    let mut other = event(Mask::MODIFY, b"/home/x/y");
    other.labels = Some(Rc::new([("layer".to_owned(), "other".to_owned())].into()));
    events.push(other);
    let output = log(&["--to", "stdout", "--limit", "100/1h"], &lines(&events));
    let said = said(&output);
    assert_eq!(said.len(), 102);
    assert!(said[100].contains("in the container other in home directory"));
    assert_eq!(
        said[101],
        format!(
            "Critical: 401 more events occurred in the container {LAYER} in 3600 s (CREATE 400; DELETE 1), the last on the file /usr/bin/last"
        )
    );
    let output = log(
        &["--to", "stdout", "--limit", "100/1h", "--format", "json"],
        &lines(&events),
    );
    let all = text(&output.stdout);
    let read: serde_json::Value = serde_json::from_str(all.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&read["summed"], &read["path"]),
        (&401.into(), &"/usr/bin/last".into())
    );
    assert_eq!(
        read["counts"],
        serde_json::json!({"IN_CREATE": 400, "IN_DELETE": 1})
    );
    assert_eq!(read["container"]["name"], "web");
}

/// The sum comes when its time is over, though nothing more happens.
#[test]
fn a_sum_does_not_wait_for_the_next_event() {
    let mut child = Command::new(PROGRAM)
        .args(["log", "--to", "stdout", "--limit", "1/2s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    stdin.write_all(&lines(&of_each_part())).unwrap();
    let mut line = || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        line
    };
    assert!(line().contains("/home/ann/.profile"));
    let sum = line();
    assert!(
        sum.contains("Critical: 3 more events") && sum.contains("in 2 s"),
        "{sum}"
    );
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_hundred_thousand_lines_are_all_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("changes.log");
    let all: Vec<Event> = (0..100_000)
        .map(|n| event(Mask::CREATE, format!("/srv/{n}").as_bytes()))
        .collect();
    let args = ["--to", path.to_str().unwrap(), "--limit", "none"];
    let output = log(&args, &lines(&all));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let written = fs::read_to_string(&path).unwrap();
    for (n, line) in written.lines().enumerate() {
        assert!(line.ends_with(&format!(" /srv/{n}")), "{n}: {line}");
    }
    assert_eq!(written.lines().count(), all.len());
    let first = written.lines().next().unwrap();
    assert!(
        first.starts_with(&format!("2026-11-18T11:06:40.000000000Z box {TAG}[")),
        "{first}"
    );
    // With a limit, written and counted are as many.
    let output = log(&["--to", "stdout", "--limit", "1000/1h"], &lines(&all));
    let said = said(&output);
    assert_eq!(said.len(), 1001);
    assert!(said[1000].contains("99000 more events"), "{}", said[1000]);
}

#[test]
fn a_bad_line_is_named_and_the_rest_goes_on() {
    let good = json(&event(Mask::MODIFY, b"/etc/a"));
    let mut input = format!("{good}\nnot json \u{1b}[2J\n{{\"time\":\"x\"}}\n\n").into_bytes();
    input.extend(b"\xff\xfe\n");
    input.extend(vec![b'x'; 3 << 20]);
    input.extend(format!("\n{good}").as_bytes()); // no newline at its end
    let output = log(&["--to", "stdout"], &input);
    assert!(output.status.success());
    assert_eq!(said(&output).len(), 2);
    let errors = text(&output.stderr);
    for line in 2..=6 {
        let named = format!("incron-containers: line {line}: ");
        assert!(
            errors.lines().any(|error| error.starts_with(&named)),
            "{errors}"
        );
    }
    assert_eq!(errors.lines().count(), 5, "{errors}");
    assert!(errors.contains("longer than 1 MiB") && !errors.contains('\u{1b}'));

    let output = log(&["--to", "stdout"], "x\n".repeat(5000).as_bytes());
    let errors = text(&output.stderr);
    assert!(
        errors.lines().count() < 110 && errors.contains("5000 lines"),
        "{errors}"
    );
}

#[test]
fn a_rotated_file_is_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("changes.log");
    let mut child = Command::new(PROGRAM)
        .args(["log", "--to"])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut write = |name: &str| {
        stdin
            .write_all(&lines(&[event(Mask::MODIFY, name.as_bytes())]))
            .unwrap();
        wait_for(dir.path(), || {
            fs::read_to_string(&path).is_ok_and(|text| text.ends_with(&format!("{name}\n")))
        });
    };
    write("/etc/a");
    fs::rename(&path, dir.path().join("changes.log.1")).unwrap();
    write("/etc/b");
    write("/etc/c");
    drop(stdin);
    assert!(child.wait().unwrap().success());
    let count = |name: &str| {
        fs::read_to_string(dir.path().join(name))
            .unwrap()
            .lines()
            .count()
    };
    assert_eq!((count("changes.log.1"), count("changes.log")), (1, 2));
}

#[test]
fn what_a_full_disk_cost_is_counted_and_said() {
    let output = log(&["--to", "/dev/full"], &lines(&of_each_part()));
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors.contains("/dev/full: No space left on device"),
        "{errors}"
    );
    assert!(errors.contains("4 events were not written"), "{errors}");

    if !nix::unistd::geteuid().is_root() {
        return eprintln!("SKIPPED: needs root, to mount a small disk");
    }
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["a_disk_that_gets_room_again", "--exact", "--ignored"])
        .status();
    assert!(status.unwrap().success());
}

#[test]
#[ignore = "run by what_a_full_disk_cost_is_counted_and_said, in its namespace"]
fn a_disk_that_gets_room_again() {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small");
    fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "none"])
        .arg(&small)
        .status();
    assert!(mounted.unwrap().success());
    let (path, ballast) = (small.join("log"), small.join("ballast"));
    let mut child = Command::new(PROGRAM)
        .args(["log", "--limit", "none", "--to"])
        .arg(&path)
        .stdin(Stdio::piped())
        .stderr(fs::File::create(dir.path().join("errors")).unwrap())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let errors = || fs::read_to_string(dir.path().join("errors")).unwrap();
    let log = || String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
    fs::write(&ballast, vec![0; 56 << 10]).unwrap();
    let many: Vec<Event> = (0..200)
        .map(|n| event(Mask::CREATE, format!("/etc/{n}").as_bytes()))
        .collect();
    stdin.write_all(&lines(&many)).unwrap();
    wait_for(dir.path(), || errors().contains("No space left on device"));
    fs::remove_file(&ballast).unwrap();
    stdin
        .write_all(&lines(&[event(Mask::MODIFY, b"/etc/after")]))
        .unwrap();
    wait_for(&small, || log().contains("/etc/after"));
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(
        log().contains(" events could not be written here\n"),
        "{}",
        log()
    );
    assert!(log().lines().last().unwrap().ends_with("/etc/after"));
    // Else its directory stays, when the namespace has gone.
    let unmounted = Command::new("umount").arg(&small).status();
    assert!(unmounted.unwrap().success());
}

#[test]
fn a_log_that_is_away_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path();
    let mut child = Command::new(PROGRAM)
        .args(["log", "--limit", "none", "--socket"])
        .arg(prefix.join("log.sock"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let some: Vec<Event> = (0..5000)
        .map(|n| event(Mask::CREATE, format!("/etc/{n}").as_bytes()))
        .collect();
    let input = lines(&some);
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let messages = || fs::read_to_string(prefix.join("messages")).unwrap_or_default();
    let Some(first) = Rsyslogd::start(prefix) else {
        child.kill().unwrap();
        child.wait().unwrap();
        let _ = writer.join();
        return eprintln!("SKIPPED: /usr/sbin/rsyslogd is not installed");
    };
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    wait_for(prefix, || messages().lines().count() >= 5000);
    assert_eq!(messages().lines().count(), 5000, "none lost, none twice");
    drop(first);
}

const JOURNALD: &str = "/lib/systemd/systemd-journald";

#[test]
fn a_real_journald_finds_the_container() {
    if !nix::unistd::geteuid().is_root() || !Path::new(JOURNALD).exists() {
        return eprintln!("SKIPPED: needs root and {JOURNALD}");
    }
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("events");
    fs::write(&input, lines(&of_each_part())).unwrap();
    // All that journald writes lies in tmpfs of the namespace; it ends with it.
    let script = format!(
        "set -e; mount -t tmpfs none /run; mount -t tmpfs none /var/log; mkdir /var/log/journal
         {JOURNALD} & daemon=$!
         trap 'kill $daemon; wait $daemon || :' EXIT
         soon() {{ for n in $(seq 600); do \"$@\" && return; sleep 0.1; done; return 1; }}
         soon test -S /run/systemd/journal/socket
         {PROGRAM} log --to journal < {input}
         arrived() {{ journalctl -q -t {TAG} | grep -q /usr/bin/su; }}
         soon arrived
         journalctl -q -t {TAG} -p crit -o short
         echo --; journalctl -q INCRON_CONTAINER=web INCRON_PATH=/etc/passwd -o export",
        input = input.display()
    );
    let out = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .output()
        .unwrap();
    let all = String::from_utf8_lossy(&out.stdout);
    let (critical, export) = all.split_once("--\n").unwrap_or_else(|| {
        panic!("{all}\n{}", String::from_utf8_lossy(&out.stderr));
    });
    assert_eq!(critical.lines().count(), 1, "{critical}");
    assert!(
        as_read_by_podsec(critical).starts_with("CRITICAL "),
        "{critical}"
    );
    for field in [
        "PRIORITY=5",
        "SYSLOG_FACILITY=1",
        "INCRON_CONTAINER_LAYER=5a1fe0",
        "INCRON_CONTAINER_IMAGE=docker.io/library/nginx:1",
        "INCRON_EVENT=IN_DELETE",
    ] {
        assert!(
            export.lines().any(|line| line == field),
            "{field}: {export}"
        );
    }
}

/// The names of the events are those that inotifywait prints for the same doing.
#[test]
fn events_have_the_names_of_inotifywait() {
    let dir = tempfile::tempdir().unwrap();
    let watched = dir.path().join("watched");
    fs::create_dir(&watched).unwrap();
    let out = dir.path().join("out");
    let started = Command::new("inotifywait")
        .args(["-m", "-q", "--format", "%e %f", "-o"])
        .arg(&out)
        .arg(&watched)
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut peer) = started else {
        return eprintln!("SKIPPED: no inotifywait here");
    };
    let inode = format!(
        "ino:{:x} ",
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(&watched).unwrap())
    );
    let watches = || {
        let fds = fs::read_dir(format!("/proc/{}/fdinfo", peer.id()))
            .unwrap()
            .flatten();
        let mut texts = fds.filter_map(|fd| fs::read_to_string(fd.path()).ok());
        texts.any(|text| text.contains(&inode))
    };
    while !watches() {
        std::thread::yield_now();
    }
    let script = "cd \"$0\" && : > f && echo x >> f && chmod 600 f && mkdir d && mv f g && rm g && rmdir d && cat . 2>/dev/null; : > end";
    let done = Command::new("sh")
        .args(["-c", script])
        .arg(&watched)
        .status();
    assert!(done.is_ok());
    let told = || fs::read_to_string(&out).unwrap_or_default();
    wait_for(dir.path(), || told().contains("CLOSE_WRITE,CLOSE end"));
    peer.kill().unwrap();
    peer.wait().unwrap();

    let mask = |names: &str| {
        let words = names.split(',').filter(|name| *name != "CLOSE");
        let words = words.map(|name| format!("IN_{name}"));
        words
            .filter_map(|word| Mask::from_word(&word))
            .fold(Mask(0), |a, b| a | b)
    };
    let told = told();
    let names: Vec<&str> = told
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    for wanted in [
        "CREATE,ISDIR",
        "MODIFY",
        "ATTRIB",
        "MOVED_FROM",
        "MOVED_TO",
        "DELETE,ISDIR",
        "DELETE",
    ] {
        assert!(names.contains(&wanted), "{names:?}");
    }
    let events: Vec<Event> = names
        .iter()
        .map(|names| event(mask(names), b"/etc/x"))
        .collect();
    let output = log(&["--to", "stdout"], &lines(&events));
    let ours: Vec<String> = said(&output)
        .iter()
        .map(|line| line.split(' ').nth(3).unwrap().to_owned())
        .collect();
    assert_eq!(ours, names);
}

#[test]
fn nonsense_is_refused() {
    for args in [
        &["--to", "nowhere"][..],
        &["--limit", "5"],
        &["--limit", "0/1s"],
        &["--format", "xml"],
    ] {
        assert_eq!(log(args, b"").status.code(), Some(2), "{args:?}");
    }
    let output = log(&["--to", "/nonexistent/dir/file"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nonexistent/dir/file: No such file"));
    let output = log(&["--to", "stdout", "--socket", "/x"], b"");
    assert_eq!(output.status.code(), Some(1));
}
