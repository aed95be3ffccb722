//! What a command is told of a path that a provider names: labels, the shown path,
//! patterns and filters, in each way that a command is run. And what the tools say.

mod provider_kit;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use provider_kit::story::common::{INCROND, INCRONTAB};
use provider_kit::story::put;
use provider_kit::{INCRONCTL, READY, Set, add};
use serde_json::Value;

fn events(set: &Set, name: &str, count: usize) -> Vec<Value> {
    let lines = set.story.prefix.lines(name, count);
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A member that is shown as `shown`.
fn shown(id: &str, path: &Path, shown: &str) -> String {
    let mut value: Value = serde_json::from_str(&add(id, path)).unwrap();
    value["add"]["shown"] = shown.into();
    value.to_string()
}

#[test]
fn json_and_environment_have_the_labels() {
    let set = Set::new();
    let a = set.story.dir("a");
    let add = serde_json::json!({"add": {"id": "x", "path": a,
        "labels": {"image-id": "a\"b\nc", "name": "$(touch pwned)"}}});
    set.fed("set", &format!("{add}\n{READY}\n"));
    set.story.prefix.table(
        "t",
        "@set IN_CREATE,stdin=json cat >> @O/json\n\
         @set IN_CREATE printf '%s|%s\\n' \"$INCRON_LABEL_IMAGE_ID\" \"$INCRON_LABEL_NAME\" >> @O/env\n\
         @set IN_CREATE,batch=2,key=b cat >> @O/batch\n\
         @set IN_CREATE,run=stream cat >> @O/stream\n",
    );
    let _daemon = set.story.start();
    for name in ["1", "2"] {
        fs::write(a.join(name), "").unwrap();
    }
    for name in ["json", "batch", "stream"] {
        for event in events(&set, name, 2) {
            assert_eq!(event["labels"]["image-id"], "a\"b\nc", "{name}");
            assert_eq!(event["labels"]["name"], "$(touch pwned)");
            assert_eq!(event["watch"], a.to_str().unwrap());
        }
    }
    let env = set.story.prefix.lines("env", 4);
    assert_eq!(env[..2], ["a\"b", "c|$(touch pwned)"]);
    assert!(!set.story.path("pwned").exists());
}

#[test]
fn a_shown_path_stands_everywhere_in_place_of_the_real_one() {
    let set = Set::new();
    let (a, b) = (set.story.dir("a"), set.story.dir("b"));
    set.story.dir("a/etc/skip");
    set.story.dir("b/etc");
    set.fed(
        "set",
        &format!(
            "{}\n{}\n{READY}\n",
            shown("a", &a, "/"),
            shown("b", &b, "/box/b")
        ),
    );
    set.story.prefix.table(
        "t",
        "@set/etc IN_CLOSE_WRITE,IN_MOVED_TO,exclude=/skip,stdin=json { cat; } >> @O/json\n\
         @set/etc IN_CLOSE_WRITE,include=*.conf echo $@/$# >> @O/seen\n",
    );
    let _daemon = set.story.start();
    fs::write(a.join("etc/skip/no"), "").unwrap();
    fs::write(a.join("etc/x.conf"), "").unwrap();
    let first = &events(&set, "json", 1)[0];
    assert_eq!(first["path"], "/etc/x.conf");
    assert_eq!(
        (&first["watch"], &first["name"]),
        (&"/etc".into(), &"x.conf".into())
    );
    assert_eq!(set.story.prefix.lines("seen", 1), ["/etc/x.conf"]);
    fs::rename(a.join("etc/x.conf"), a.join("etc/y")).unwrap();
    let second = &events(&set, "json", 2)[1];
    assert_eq!(
        (&second["path"], &second["old_path"]),
        (&"/etc/y".into(), &"/etc/x.conf".into())
    );
    fs::write(b.join("etc/z.conf"), "").unwrap();
    assert_eq!(events(&set, "json", 3)[2]["path"], "/box/b/etc/z.conf");
    assert_eq!(set.story.prefix.lines("seen", 2)[1], "/box/b/etc/z.conf");
}

#[test]
fn a_line_may_choose_by_who_did_it() {
    if !provider_kit::story::common::is_root() {
        return eprintln!("SKIPPED: needs root, for who=");
    }
    let set = Set::new();
    let a = set.story.dir("a");
    set.fed("set", &format!("{}\n{READY}\n", shown("a", &a, "/")));
    set.story.prefix.table(
        "t",
        "@set IN_CLOSE_WRITE,who=true,exe=!cp echo $# >> @O/seen\n",
    );
    let _daemon = set.story.start();
    let conf = set.story.prefix.conf();
    let copied = Command::new("cp").arg(&conf).arg(a.join("no")).status();
    assert!(copied.unwrap().success());
    fs::write(a.join("yes"), "").unwrap();
    assert_eq!(set.story.prefix.lines("seen", 1), ["yes"]);
}

#[test]
fn patterns_begin_at_each_path() {
    let set = Set::new();
    // The member's own name is never a pattern.
    let a = set.story.dir("a*[x]{y}");
    set.story.dir("a*[x]{y}/www/cgi-bin");
    set.fed("set", &format!("{}\n{READY}\n", shown("a", &a, "/in")));
    set.story.prefix.table(
        "t",
        "@set/w*/ IN_CLOSE_WRITE,exclude=/cgi-bin,dotdirs=true echo $@ $# >> @O/seen\n",
    );
    let _daemon = set.story.start();
    fs::write(a.join("www/cgi-bin/no"), "").unwrap();
    fs::write(a.join("www/1"), "").unwrap();
    assert_eq!(set.story.prefix.lines("seen", 1), ["/in/www/ 1"]);
    fs::create_dir(a.join("wiki")).unwrap();
    set.story.prefix.wait("the new match", || {
        fs::write(a.join("wiki/2"), "").unwrap();
        set.story.prefix.out("seen").contains("/in/wiki/ 2")
    });
}

#[test]
fn a_path_of_any_bytes() {
    use base64::Engine as _;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let set = Set::new();
    let mut bytes = set.story.path("raw-").into_os_string().into_vec();
    bytes.extend(b"\xff\n\"");
    let path = std::path::PathBuf::from(std::ffi::OsString::from_vec(bytes));
    fs::create_dir(&path).unwrap();
    let raw = base64::engine::general_purpose::STANDARD.encode(path.as_os_str().as_bytes());
    set.fed(
        "set",
        &format!("{{\"add\":{{\"id\":\"x\",\"path_raw\":\"{raw}\"}}}}\n{READY}\n"),
    );
    set.story
        .prefix
        .table("t", "@set IN_CREATE,stdin=paths0 { cat; } > @O/raw\n");
    let _daemon = set.story.start();
    fs::write(path.join("f"), "").unwrap();
    let mut wanted = path.join("f").into_os_string().into_vec();
    wanted.push(0);
    set.story.prefix.wait("the path", || {
        fs::read(set.story.path("out/raw")).is_ok_and(|found| found == wanted)
    });
}

#[test]
fn two_names_of_one_path_are_two_events() {
    let set = Set::new();
    let a = set.story.dir("a");
    set.fed(
        "set",
        &format!("{}\n{}\n{READY}\n", add("one", &a), add("two", &a)),
    );
    set.story
        .prefix
        .table("t", "@set IN_CREATE,stdin=json { cat; } >> @O/json\n");
    let _daemon = set.story.start();
    fs::write(a.join("1"), "").unwrap();
    let events = events(&set, "json", 2);
    let mut ids: Vec<&str> = events
        .iter()
        .filter_map(|e| e["labels"]["id"].as_str())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, ["one", "two"]);
    assert_ne!(events[0]["seq"], events[1]["seq"]);
}

#[test]
fn the_same_shown_path_of_two_members_is_two_paths() {
    let set = Set::new();
    let (a, b) = (set.story.dir("a"), set.story.dir("b"));
    set.fed(
        "set",
        &format!(
            "{}\n{}\n{READY}\n",
            shown("a", &a, "/"),
            shown("b", &b, "/")
        ),
    );
    set.story.prefix.table(
        "t",
        "@set IN_CREATE,settle=200ms echo $INCRON_LABEL_ID $@$# >> @O/settled\n\
         @set IN_CREATE,batch=2 { cat; } >> @O/batch\n",
    );
    let daemon = set.story.start();
    set.story.at_once(&daemon, || {
        fs::write(a.join("passwd"), "").unwrap();
        fs::write(b.join("passwd"), "").unwrap();
    });
    let settled = provider_kit::story::sorted(set.story.prefix.lines("settled", 2));
    assert_eq!(settled, ["a /passwd", "b /passwd"]);
    let batch = events(&set, "batch", 2);
    assert_ne!(batch[0]["labels"], batch[1]["labels"]);
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

#[test]
fn the_tools_say_what_a_provider_is() {
    let set = Set::new();
    let a = set.story.dir("a");
    set.fed("set", &format!("{}\n{READY}\n", add("a", &a)));
    let table =
        "@set/x IN_CREATE true\n@gone IN_CREATE,catch-up=true true\n@set/*.jpg IN_CREATE true\n";
    set.story.prefix.table("t", table);
    let conf = set.story.prefix.conf();
    let path = set.story.path("tables/t");
    let explained = Command::new(INCRONTAB)
        .arg("-T")
        .arg(&path)
        .arg("-f")
        .arg(&conf)
        .output();
    let explained = text(&explained.unwrap());
    let program = set.story.path("providers/set");
    for wanted in [
        "in every path that provider set names, the path /x and",
        "in every path that provider set names, every path like /*.jpg and",
        "every path that provider gone names and",
        &format!("provider {}\n", program.display()),
        "provider there is no provider gone:",
        "catch-up= has no effect on the paths of a provider",
    ] {
        assert!(explained.contains(wanted), "{wanted}\n{explained}");
    }
    let checked = Command::new(INCROND)
        .arg("--check")
        .arg("-f")
        .arg(&conf)
        .output()
        .unwrap();
    assert!(checked.status.success());
    let checked = text(&checked);
    assert!(
        checked.contains("t:2: there is no provider gone:"),
        "{checked}"
    );
    let daemon = set.story.start();
    let pid = set.pid("set", 0);
    let shown = Command::new(INCRONCTL)
        .arg("status")
        .arg("-f")
        .arg(&conf)
        .output()
        .unwrap();
    let shown = text(&shown);
    for wanted in [
        &format!("provider set: pid {pid}, 1 path, 2 lines, 0 restarts"),
        "provider gone: not running, 0 paths, 1 line, 0 restarts",
        "providers/gone does not exist",
    ] {
        assert!(shown.contains(wanted), "{wanted}\n{shown}");
    }
    drop(daemon);
}

#[test]
fn run_serves_a_provider_as_the_daemon_does() {
    let set = Set::new();
    let a = set.story.dir("a");
    set.fed("set", &format!("{}\n{READY}\n", add("a", &a)));
    let table = set.story.path("mine");
    put(
        &table,
        &set.story
            .fill("@set IN_CREATE echo $INCRON_LABEL_ID $# >> @O/seen\n"),
    );
    let out = fs::File::create(set.story.path("run.json")).unwrap();
    let mut child = Command::new(INCROND)
        .args(["run", "--json", "-f"])
        .arg(set.story.prefix.conf())
        .arg(&table)
        .stdout(out)
        .spawn()
        .unwrap();
    let said = || fs::read_to_string(set.story.path("run.json")).unwrap();
    set.story
        .prefix
        .wait("ready", || said().contains("\"type\":\"ready\""));
    fs::write(a.join("1"), "").unwrap();
    assert_eq!(set.story.prefix.lines("seen", 1), ["a 1"]);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id() as i32),
        nix::sys::signal::Signal::SIGINT,
    )
    .unwrap();
    assert!(child.wait().unwrap().success());
}

/// The literal text after a mark in a manual page.
fn example(page: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(page);
    let page = fs::read_to_string(path).unwrap();
    let (_, rest) = page.split_once(".Bd -literal\n").unwrap();
    let (text, _) = rest.split_once(".Ed\n").unwrap();
    text.replace("\\e", "\\")
}

#[test]
fn the_manuals_example_keeps_a_set() {
    let set = Set::new();
    let users = set.story.dir("users");
    let script = example("incron-provider.7");
    assert_eq!(script.lines().count(), 10, "{script}");
    assert!(script.starts_with("#!/bin/sh\n"));
    let script = script.replace("/run/user", users.to_str().unwrap());
    set.story.script("providers/logged-in", &script);
    set.story.dir("users/1000");
    set.story.prefix.table(
        "t",
        "@logged-in IN_CREATE echo $INCRON_LABEL_UID $# >> @O/seen\n",
    );
    let _daemon = set.story.start();
    fs::write(users.join("1000/a"), "").unwrap();
    assert_eq!(set.story.prefix.lines("seen", 1), ["1000 a"]);
    set.story.dir("users/1001");
    set.wait_members("logged-in", 2);
    fs::write(users.join("1001/b"), "").unwrap();
    assert_eq!(set.story.prefix.lines("seen", 2)[1], "1001 b");
    fs::remove_dir_all(users.join("1000")).unwrap();
    set.wait_members("logged-in", 1);
    assert_eq!(set.provider("logged-in")["restarts"], 0);
}
