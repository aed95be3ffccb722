//! Providers that are wrong, hang, flood or die: their worker serves on.

mod provider_kit;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use nix::unistd::User;
use provider_kit::story::common::is_root;
use provider_kit::story::{put, sh};
use provider_kit::{READY, Set, add};

const LINE: &str = "@set IN_CLOSE_WRITE echo $INCRON_LABEL_ID $# >> @O/seen\n";

/// The most memory that the system's worker has had, in KiB.
fn peak(set: &Set) -> u64 {
    let pid = set.worker()["pid"].as_u64().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn nonsense_is_passed_over_with_its_line_number() {
    let set = Set::new();
    let a = set.story.dir("a");
    let nonsense = [
        "",
        "hello",
        "{\"add\":{\"id\":\"x\",\"path\":\"relative\"}}",
        "{\"add\":{\"id\":\"x\",\"path\":\"/../etc\"}}",
        "{\"add\":{\"id\":\"x\",\"path\":\"/a\\u0000b\"}}",
        "\u{1b}[2J",
    ];
    let mut feed = set.fed(
        "set",
        &format!("{}\n{}\n{READY}\n", nonsense.join("\n"), add("a", &a)),
    );
    set.story.prefix.table("t", LINE);
    let daemon = set.story.start();
    daemon.wait_log("provider set: line 1 of its output is passed over");
    daemon.wait_log("provider set: line 4 of its output is passed over: `path` must not hold `..`");
    fs::write(a.join("1"), "").unwrap();
    assert_eq!(set.story.prefix.lines("seen", 1), ["a 1"]);
    for _ in 0..1000 {
        feed.say("again");
    }
    feed.add("b", set.story.dir("b"));
    set.wait_members("set", 2);
    let log = set.story.prefix.log();
    assert_eq!(
        log.matches("is passed over").count(),
        5,
        "the rest is counted"
    );
    assert!(!log.contains('\u{1b}'));
}

#[test]
fn a_line_without_end_takes_no_memory() {
    let set = Set::new();
    let a = set.story.dir("a");
    set.script(
        "set",
        "head -c 1073741824 /dev/zero | tr '\\0' x; echo; cat @P/set.first; exec sleep 1000",
    );
    put(
        set.story.path("set.first"),
        &format!("{}\n{READY}\n", add("a", &a)),
    );
    set.story.prefix.table(
        "t",
        &format!("{LINE}@W IN_CLOSE_WRITE echo w $# >> @O/seen\n"),
    );
    let daemon = set.story.spawn(provider_kit::story::common::INCROND);
    daemon.wait_log("line 1 of its output is passed over: it is longer than 1048576 bytes");
    // Others are served meanwhile.
    fs::write(set.story.prefix.watched().join("1"), "").unwrap();
    assert_eq!(set.story.prefix.lines("seen", 1), ["w 1"]);
    set.wait_members("set", 1);
    fs::write(a.join("2"), "").unwrap();
    assert_eq!(set.story.prefix.lines("seen", 2)[1], "a 2");
    let peak = peak(&set);
    assert!(peak < 40_000, "{peak} KiB");
}

#[test]
fn a_flood_of_short_nonsense_takes_no_memory() {
    let set = Set::new();
    let a = set.story.dir("a");
    let first = format!("{}\n{READY}\n", add("a", &a));
    put(set.story.path("set.first"), &first);
    set.script(
        "set",
        "yes x | head -c 4194304; cat @P/set.first; exec sleep 1000",
    );
    set.story.prefix.table("t", LINE);
    let _daemon = set.story.start();
    set.wait_members("set", 1);
    fs::write(a.join("1"), "").unwrap();
    assert_eq!(set.story.prefix.lines("seen", 1), ["a 1"]);
    assert_eq!(set.story.prefix.log().matches("is passed over").count(), 5);
    let peak = peak(&set);
    assert!(peak < 40_000, "{peak} KiB");
}

#[test]
fn one_that_never_says_ready_is_waited_for_and_then_named() {
    let set = Set::new();
    let a = set.story.dir("a");
    set.fed("set", &format!("{}\n", add("a", &a)));
    set.story.prefix.table("t", LINE);
    let daemon = set.story.start();
    let log = set.story.prefix.log();
    let note = "provider set has not said in 10 s that it is ready";
    let (noted, ready) = (
        log.find(note),
        log.find("ready to process filesystem events"),
    );
    assert!(noted.is_some() && noted < ready, "{log}");
    fs::write(a.join("1"), "").unwrap();
    assert_eq!(set.story.prefix.lines("seen", 1), ["a 1"]);
    drop(daemon);
}

#[test]
fn one_that_ends_at_once_is_started_with_growing_pauses() {
    let set = Set::new();
    let a = set.story.dir("a");
    put(
        set.story.path("set.first"),
        &format!("{}\n{READY}\n", add("a", &a)),
    );
    set.script("set", "echo trouble >&2; cat @P/set.first; exit 3");
    set.story.prefix.table("t", LINE);
    let daemon = set.story.start();
    daemon.wait_log("provider set: says: trouble");
    daemon.wait_log("provider set: exited with 3; it is started again in 1 s");
    daemon.wait_log("provider set: exited with 3; it is started again in 2 s");
    daemon.wait_log("provider set: exited with 3; it is started again in 4 s");
    // What it has named is watched all the time.
    fs::write(a.join("1"), "").unwrap();
    assert_eq!(set.story.prefix.lines("seen", 1), ["a 1"]);
    // A program that is put right is not made to wait.
    set.fed("new", &format!("{}\n{READY}\n", add("b", &a)));
    fs::rename(
        set.story.path("providers/new"),
        set.story.path("providers/set"),
    )
    .unwrap();
    set.story
        .prefix
        .wait("the new program", || set.provider("set")["ready"] == true);
    fs::write(a.join("2"), "").unwrap();
    assert_eq!(set.story.prefix.lines("seen", 2)[1], "b 2");
}

#[test]
fn one_that_closes_its_output_is_replaced() {
    let set = Set::new();
    let a = set.story.dir("a");
    put(
        set.story.path("set.first"),
        &format!("{}\n{READY}\n", add("a", &a)),
    );
    // Deaf to SIGTERM at that: it is killed.
    set.script(
        "set",
        "trap '' TERM; cat @P/set.first; exec >&-; while :; do sleep 1; done",
    );
    set.story.prefix.table("t", LINE);
    let daemon = set.story.start();
    let first = set.pid("set", 0);
    daemon.wait_log("provider set: was ended by SIGKILL; it is started again in 1 s");
    assert_ne!(set.pid("set", first), first);
    fs::write(a.join("1"), "").unwrap();
    assert_eq!(set.story.prefix.lines("seen", 1), ["a 1"]);
}

#[test]
fn ten_thousand_paths() {
    let set = Set::new();
    let all = set.story.dir("all");
    let mut first = String::new();
    for number in 0..10_000 {
        let path = all.join(number.to_string());
        fs::create_dir(&path).unwrap();
        first.push_str(&add(&number.to_string(), &path));
        first.push('\n');
    }
    let mut feed = set.fed("set", &format!("{first}{READY}\n"));
    set.story.prefix.table("t", LINE);
    let _daemon = set.story.start();
    // A machine that needs longer than is waited for says so.
    let log = set.story.prefix.log();
    if !log.contains("has not said in 10 s that it is ready") {
        let members = set.provider("set")["members"].clone();
        assert_eq!(members, 10_000, "ready means all of them");
    }
    set.wait_members("set", 10_000);
    for number in [0, 4_999, 9_999] {
        fs::write(all.join(format!("{number}/x")), "").unwrap();
    }
    let mut lines = set.story.prefix.lines("seen", 3);
    lines.sort();
    assert_eq!(lines, ["0 x", "4999 x", "9999 x"]);
    for number in 0..9_999 {
        feed.say(&format!("{{\"remove\":\"{number}\"}}"));
    }
    set.wait_members("set", 1);
    fs::write(all.join("9999/y"), "").unwrap();
    assert_eq!(set.story.prefix.lines("seen", 4)[3], "9999 y");
}

#[test]
fn more_paths_than_a_set_holds() {
    let set = Set::new();
    let a = set.story.dir("a");
    // Far below the watched paths of a machine: none of these exists.
    let mut first = add("a", &a);
    for number in 0..100_100 {
        let path = format!("/nonexistent/{number}");
        first.push_str(&format!(
            "\n{{\"add\":{{\"id\":\"{number}\",\"path\":\"{path}\"}}}}"
        ));
    }
    set.fed("set", &format!("{first}\n{READY}\n"));
    set.story.prefix.table("t", LINE);
    let daemon = set.story.start();
    daemon.wait_log("provider set: it names more than 100000 paths");
    set.wait_members("set", 100_000);
    fs::write(a.join("1"), "").unwrap();
    assert_eq!(set.story.prefix.lines("seen", 1), ["a 1"]);
}

#[test]
fn a_user_has_providers_of_root_and_of_nobody_else() {
    if !is_root() {
        eprintln!("left out: not root");
        return;
    }
    let set = Set::new();
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let a = set.story.dir("a");
    let closed = set.story.dir("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    put(
        set.story.path("set.first"),
        &format!("{}\n{}\n{READY}\n", add("a", &a), add("closed", &closed)),
    );
    set.script(
        "set",
        "id -un > @P/out/who; cat @P/set.first; exec sleep 1000",
    );
    let table = set
        .story
        .fill("@set IN_CLOSE_WRITE echo $INCRON_LABEL_ID $# >> @O/seen\n");
    fs::write(set.story.path("spool/nobody"), table).unwrap();
    let daemon = set.story.start();
    assert_eq!(set.story.prefix.lines("who", 1), ["nobody"]);
    fs::write(closed.join("secret"), "").unwrap();
    fs::write(a.join("1"), "").unwrap();
    assert_eq!(
        set.story.prefix.lines("seen", 1),
        ["a 1"],
        "the kernel decides"
    );
    // One that another user could have written.
    let other = set.script("other", "echo $$ > @P/out/other; exec sleep 1000");
    let daemon_user = User::from_name("daemon").unwrap().unwrap();
    chown(&other, Some(daemon_user.uid.as_raw()), None).unwrap();
    let table = set.story.fill("@other IN_CLOSE_WRITE true\n");
    fs::write(set.story.path("spool/nobody"), table).unwrap();
    let uid = daemon_user.uid;
    let own = nobody.uid;
    daemon.wait_log(&format!(
        "providers/other is owned by uid {uid}; root or uid {own} may own it"
    ));
    sh(&format!("chown nobody {}", other.display()));
    assert_eq!(set.story.prefix.lines("other", 1).len(), 1);
}
