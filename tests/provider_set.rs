//! `@NAME/rest` on the real daemon: what a provider names is watched, as long as it
//! names it, whatever happens to its process.

mod provider_kit;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use provider_kit::story::common::alive;
use provider_kit::{READY, Set, add};

/// Which of the members wrote, and to which file.
const LINE: &str = "@set IN_CLOSE_WRITE echo $INCRON_LABEL_ID $@ $# >> @O/seen\n";

fn seen(set: &Set, count: usize) -> Vec<String> {
    let root = set.story.path("");
    let root = root.to_str().unwrap().trim_end_matches('/');
    let lines = set.story.prefix.lines("seen", count);
    lines.iter().map(|line| line.replace(root, "")).collect()
}

#[test]
fn paths_come_and_go_with_their_labels() {
    let set = Set::new();
    let (a, b) = (set.story.dir("a"), set.story.dir("b"));
    let mut feed = set.fed("set", &format!("{}\n{READY}\n", add("one", &a)));
    set.story.prefix.table("t", LINE);
    let _daemon = set.story.start();
    fs::write(a.join("1"), "").unwrap();
    assert_eq!(seen(&set, 1), ["one /a 1"]);
    feed.add("two", &b);
    set.wait_members("set", 2);
    fs::write(b.join("2"), "").unwrap();
    assert_eq!(seen(&set, 2)[1], "two /b 2");
    // Other labels, the same watch.
    let relabel =
        add("one", &a).replace("\"labels\":{\"id\":\"one\"}", "\"labels\":{\"id\":\"uno\"}");
    feed.say(&relabel);
    feed.say("{\"remove\":\"two\"}");
    set.wait_members("set", 1);
    fs::write(b.join("3"), "").unwrap();
    fs::write(a.join("4"), "").unwrap();
    assert_eq!(seen(&set, 3)[2], "uno /a 4");
    // Another path under a known name.
    feed.add("one", &b);
    feed.add("three", set.story.dir("c"));
    set.wait_members("set", 2);
    fs::write(a.join("5"), "").unwrap();
    fs::write(b.join("6"), "").unwrap();
    assert_eq!(seen(&set, 4)[3], "one /b 6");
}

#[test]
fn a_process_that_dies_leaves_no_gap() {
    let set = Set::new();
    let (a, b) = (set.story.dir("a"), set.story.dir("b"));
    let mut feed = set.fed(
        "set",
        &format!("{}\n{}\n{READY}\n", add("a", &a), add("b", &b)),
    );
    set.story.prefix.table("t", LINE);
    let _daemon = set.story.start();
    let before = set.worker()["watches"].clone();
    let first = set.pid("set", 0);
    // The next one says nothing until it is fed.
    fs::write(set.story.path("set.first"), "").unwrap();
    kill(Pid::from_raw(first as i32), Signal::SIGKILL).unwrap();
    fs::write(a.join("1"), "").unwrap();
    assert_eq!(seen(&set, 1), ["a /a 1"]);
    let second = set.pid("set", first);
    assert_eq!(set.provider("set")["restarts"], 1);
    assert_eq!(set.provider("set")["ready"], false);
    fs::write(a.join("2"), "").unwrap();
    assert_eq!(seen(&set, 2)[1], "a /a 2");
    assert_eq!(set.worker()["watches"], before);
    // What it does not name again is gone when it is ready, not before.
    feed.add("b", &b);
    feed.add("c", set.story.dir("c"));
    set.wait_members("set", 3);
    feed.say(READY);
    set.wait_members("set", 2);
    fs::write(a.join("3"), "").unwrap();
    fs::write(b.join("4"), "").unwrap();
    assert_eq!(seen(&set, 3)[2], "b /b 4");
    assert!(alive(Pid::from_raw(second as i32)));
}

#[test]
fn every_event_of_a_stay_is_told_before_it_ends() {
    let set = Set::new();
    let a = set.story.dir("a");
    let mut feed = set.fed("set", &format!("{}\n{READY}\n", add("a", &a)));
    set.story.prefix.table("t", LINE);
    let daemon = set.story.start();
    set.story.at_once(&daemon, || {
        for name in 0..100 {
            fs::write(a.join(format!("{name:02}")), "").unwrap();
        }
        feed.say("{\"remove\":\"a\"}");
    });
    assert_eq!(seen(&set, 100).len(), 100);
    set.wait_members("set", 0);
    // The same for a path that another one takes the place of.
    feed.add("a", &a);
    set.wait_members("set", 1);
    set.story.at_once(&daemon, || {
        fs::write(a.join("last"), "").unwrap();
        feed.add("a", set.story.dir("b"));
    });
    assert_eq!(seen(&set, 101)[100], "a /a last");
}

#[test]
fn the_process_goes_with_its_line_and_with_its_worker() {
    let set = Set::new();
    let a = set.story.dir("a");
    set.fed("set", &format!("{}\n{READY}\n", add("a", &a)));
    set.story.prefix.table("t", LINE);
    set.story.prefix.table("other", "@W IN_CREATE true\n");
    let daemon = set.story.start();
    let first = set.pid("set", 0);
    // An edit that keeps the name keeps the process.
    let edited = format!("{LINE}@set/x IN_CREATE true\n");
    set.story.prefix.table("t", &edited);
    set.story
        .prefix
        .wait("two lines", || set.provider("set")["lines"] == 2);
    assert_eq!(set.pid("set", 0), first);
    fs::remove_file(set.story.path("tables/t")).unwrap();
    let gone = |pid: i64| !alive(Pid::from_raw(pid as i32));
    set.story.prefix.wait("its end", || gone(first));
    assert!(set.provider("set").is_null());
    set.story.prefix.table("t", LINE);
    let second = set.pid("set", 0);
    // However the worker ends.
    kill(daemon.workers()[0], Signal::SIGKILL).unwrap();
    set.story.prefix.wait("its end", || gone(second));
    let third = set.pid("set", 0);
    assert_eq!(daemon.stop(), Some(0));
    assert!(gone(third));
}

#[test]
fn a_program_that_is_missing_is_waited_for() {
    let set = Set::new();
    let a = set.story.dir("a");
    fs::remove_dir(set.story.path("providers")).unwrap();
    set.story.prefix.table("t", LINE);
    let daemon = set.story.start();
    let path = set.story.path("providers/set");
    daemon.wait_log(&format!(
        "there is no provider set: {} does not exist",
        path.display()
    ));
    let provider = set.provider("set");
    assert!(
        provider["pid"].is_null() && provider["reason"].is_string(),
        "{provider}"
    );
    let line = set.worker()["lines"][0].clone();
    assert_eq!(line["state"], "unwatched", "{line}");
    set.story.dir("providers");
    set.fed("set", &format!("{}\n{READY}\n", add("a", &a)));
    set.wait_members("set", 1);
    fs::write(a.join("1"), "").unwrap();
    assert_eq!(seen(&set, 1), ["a /a 1"]);
    assert_eq!(set.worker()["lines"][0]["state"], "served");
}

#[test]
fn a_program_that_others_could_write_is_refused_until_it_is_put_right() {
    let set = Set::new();
    let a = set.story.dir("a");
    set.fed("set", &format!("{}\n{READY}\n", add("a", &a)));
    let path = set.story.path("providers/set");
    let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o775);
    set.story.prefix.table("t", LINE);
    let daemon = set.story.start();
    daemon.wait_log("providers/set is writable by others; chmod go-w");
    assert!(set.provider("set")["pid"].is_null());
    mode(0o644);
    daemon.wait_log("providers/set is not executable; chmod +x");
    mode(0o755);
    set.wait_members("set", 1);
    // A directory in its place is no program, and does no harm.
    fs::create_dir(set.story.path("providers/dir")).unwrap();
    set.story.prefix.table("u", "@dir IN_CREATE true\n");
    daemon.wait_log("providers/dir is not a regular file");
}

#[test]
fn lines_share_the_process_and_not_the_paths() {
    let set = Set::new();
    let (a, b) = (set.story.dir("a/in"), set.story.dir("b/out"));
    set.fed(
        "set",
        &format!(
            "{}\n{}\n{READY}\n",
            add("a", set.story.path("a")),
            add("b", set.story.path("b"))
        ),
    );
    set.story.prefix.table(
        "t",
        "@set/in IN_CLOSE_WRITE echo in $INCRON_LABEL_ID $# >> @O/seen\n\
         @set/o* IN_CLOSE_WRITE echo out $INCRON_LABEL_ID $# >> @O/seen\n\
         @set IN_CLOSE_WRITE,settle=1s,recursive=false echo top $INCRON_LABEL_ID $# >> @O/seen\n",
    );
    let _daemon = set.story.start();
    fs::write(a.join("1"), "").unwrap();
    assert_eq!(seen(&set, 1), ["in a 1"]);
    fs::write(b.join("2"), "").unwrap();
    assert_eq!(seen(&set, 2)[1], "out b 2");
    // A path that a member does not have yet.
    let late = set.story.dir("a/other");
    let lines = set.worker()["lines"].clone();
    assert_eq!(
        lines[0]["reason"], "1 of 2 paths do not exist yet",
        "{lines}"
    );
    set.story.prefix.wait("the late directory", || {
        fs::write(late.join("3"), "").unwrap();
        seen(&set, 2).contains(&"out a 3".to_owned())
    });
    fs::write(set.story.path("b/4"), "").unwrap();
    set.story.prefix.wait("a settled file", || {
        seen(&set, 3).contains(&"top b 4".to_owned())
    });
    assert_eq!(set.provider("set")["lines"], 3);
}

#[test]
fn what_a_process_leaves_behind_ends_with_it() {
    let set = Set::new();
    let a = set.story.dir("a");
    fs::write(
        set.story.path("set.first"),
        format!("{}\n{READY}\n", add("a", &a)),
    )
    .unwrap();
    set.script(
        "set",
        "cat @P/set.first; sleep 1000 & echo $! >> @P/out/left; exec sleep 1000",
    );
    set.story.prefix.table("t", LINE);
    let _daemon = set.story.start();
    let left: i32 = set.story.prefix.lines("left", 1)[0].parse().unwrap();
    assert!(alive(Pid::from_raw(left)));
    kill(Pid::from_raw(set.pid("set", 0) as i32), Signal::SIGKILL).unwrap();
    set.story
        .prefix
        .wait("the end of what is left", || !alive(Pid::from_raw(left)));
}

#[test]
fn another_directory_of_providers() {
    let set = Set::new();
    let (a, b) = (set.story.dir("a"), set.story.dir("b"));
    set.fed(
        "set",
        &format!("{}\n{}\n{READY}\n", add("a", &a), add("b", &b)),
    );
    set.story.prefix.table("t", LINE);
    let daemon = set.story.start();
    let first = set.pid("set", 0);
    set.story.dir("other");
    fs::rename(set.story.path("providers/set"), set.story.path("other/set")).unwrap();
    fs::write(
        set.story.path("set.first"),
        format!("{}\n{READY}\n", add("b", &b)),
    )
    .unwrap();
    let conf = fs::read_to_string(set.story.prefix.conf()).unwrap();
    let conf = conf.replace("/providers", "/other");
    fs::write(set.story.prefix.conf(), conf).unwrap();
    daemon.signal(Signal::SIGHUP);
    set.wait_members("set", 1);
    assert_ne!(set.pid("set", first), first);
    fs::write(b.join("1"), "").unwrap();
    assert_eq!(seen(&set, 1), ["b /b 1"]);
}

#[test]
fn a_line_on_the_same_path_shares_it_with_the_set() {
    let set = Set::new();
    let a = set.story.dir("a");
    let mut feed = set.fed("set", &format!("{}\n{READY}\n", add("a", &a)));
    let own = format!("{} IN_CLOSE_WRITE echo plain $# >> @O/plain\n", a.display());
    set.story.prefix.table("t", &format!("{own}{LINE}{LINE}"));
    let _daemon = set.story.start();
    fs::write(a.join("1"), "").unwrap();
    assert_eq!(seen(&set, 2), ["a /a 1", "a /a 1"]);
    assert_eq!(set.story.prefix.lines("plain", 1), ["plain 1"]);
    // The set gives it up, the line does not.
    feed.say("{\"remove\":\"a\"}");
    set.wait_members("set", 0);
    fs::write(a.join("2"), "").unwrap();
    assert_eq!(set.story.prefix.lines("plain", 2)[1], "plain 2");
    assert_eq!(seen(&set, 2).len(), 2);
}
