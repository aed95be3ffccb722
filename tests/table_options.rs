//! Every option is read, refused where it makes no sense, and written back as it was.

mod table_common;

use std::path::Path;
use std::time::Duration;

use incron::table::{
    Batch, Busy, Dialect, Kind, Limit, Mask, Options, Output, Shell, Source, Stdin, parse,
};
use proptest::prelude::*;
use table_common::{context, errors, line, system_line};

fn options(words: &str) -> Options {
    line(&format!("/a 8,{words} c")).options
}

fn refused(words: &str) {
    let errors = errors(&format!("/a 8,{words} c"));
    assert!(
        !errors.is_empty() && errors.iter().all(|e| e.help.is_some()),
        "{words}: {errors:?}"
    );
}

#[test]
fn each_option() {
    let s = Duration::from_secs;
    assert!(!options("recursive=false").recursive && options("recursive=true").recursive);
    assert_eq!(options("depth=3").depth, Some(3));
    assert!(options("dotdirs=true").dotdirs && !options("dotdirs=false").dotdirs);
    assert_eq!(
        options("include=*.jpg:*.png,include=x").include,
        ["*.jpg", "*.png", "x"]
    );
    assert_eq!(
        options(r"exclude=a\,b:c\ d:e\:f:\*").exclude,
        ["a,b", "c d", r"e\:f", r"\*"]
    );
    assert_eq!(options("type=file").kind, Some(Kind::File));
    assert_eq!(options("type=dir").kind, Some(Kind::Dir));
    assert_eq!(options("source=inotify").source, Source::Inotify);
    assert_eq!(
        (options("poll=30s").source, options("poll=30s").poll),
        (Source::Poll, Some(s(30)))
    );
    assert_eq!(options("source=poll").poll, Some(s(30)));
    assert_eq!(options("source=poll,poll=1m").poll, Some(s(60)));
    assert_eq!(options("settle=200ms").settle, Duration::from_millis(200));
    assert_eq!(options("settle=2s,max-wait=1m").max_wait, Some(s(60)));
    assert_eq!(options("batch=100,max-wait=5s").max_wait, Some(s(5)));
    assert_eq!(options("batch=5s").batch, Some(Batch::Time(s(5))));
    assert_eq!(options("batch=100").batch, Some(Batch::Count(100)));
    assert_eq!(options("busy=queue").busy, Busy::Queue);
    assert_eq!(options("jobs=4").jobs, Some(4));
    assert_eq!(
        options("limit=10/1m").limit,
        Limit {
            runs: 10,
            per: s(60)
        }
    );
    assert!(options("loopable=false").no_loop);
    assert!(options("run=stream").stream && !options("run=each").stream);
    assert_eq!(options("stdin=paths0").stdin, Stdin::Paths0);
    assert_eq!(options("shell=no").shell, Shell::No);
    assert_eq!(options("timeout=1h").timeout, Some(s(3600)));
    assert_eq!(
        options("timeout=1s,kill-after=0s").kill_after,
        Duration::ZERO
    );
    assert_eq!(options("retry=3").retry, 3);
    assert_eq!(
        options("cwd=/a\\ b").cwd.as_deref(),
        Some(Path::new("/a b"))
    );
    assert_eq!(options("umask=027").umask, Some(0o27));
    assert_eq!(options("nice=10").nice, Some(10));
    assert_eq!(options("output=discard").output, Output::Discard);
    assert_eq!(options("output=mail").output, Output::Mail);
    assert_eq!(
        options("output=/var/log/x\\,y").output,
        Output::File("/var/log/x,y".into())
    );
    assert_eq!(options("key=web").key.as_deref(), Some("web"));
    assert!(options("catch-up=true").catch_up);
}

#[test]
fn batches_and_streams_read_json_unless_told_otherwise() {
    assert_eq!(options("batch=5s").stdin, Stdin::Json);
    assert_eq!(options("batch=5s,stdin=none").stdin, Stdin::None);
    assert_eq!(options("run=stream").stdin, Stdin::Json);
    assert_eq!(options("settle=5s").stdin, Stdin::None);
}

#[test]
fn users_only_in_system_tables() {
    let (table, _) = parse(
        b"/a 8,user=www-data,group=33,nice=-5 c\n",
        &context(Dialect::V0_5_12, true),
    );
    let options = &table.lines[0].options;
    assert_eq!(
        (options.user.as_deref(), options.group.as_deref()),
        (Some("www-data"), Some("33"))
    );
    assert_eq!(options.nice, Some(-5));
    for words in ["user=root", "group=0", "who=true", "nice=-5"] {
        refused(words);
    }
}

#[test]
fn what_only_fanotify_serves() {
    let context = context(Dialect::V0_5_12, true);
    let (table, _) = parse(b"/a IN_OPEN_EXEC,source=fanotify c", &context);
    let line = &table.lines[0];
    assert_eq!(line.mask, Mask::OPEN_EXEC);
    assert_eq!(line.options.source, Source::Fanotify);
    assert_eq!(line.mask.written(), "IN_OPEN_EXEC");
}

#[test]
fn wrong_values() {
    for words in [
        "recursive=yes",
        "recursive=",
        "depth=-1",
        "depth=x",
        "depth=99999",
        "dotdirs=TRUE",
        "type=link",
        "source=x",
        "poll=0s",
        "poll=1ms",
        "settle=2",
        "settle=-2s",
        "settle=",
        "settle=2d",
        "settle=9999h",
        "max-wait=0s",
        "batch=0",
        "batch=0s",
        "batch=x",
        "busy=wait",
        "jobs=0",
        "jobs=+1",
        "limit=1",
        "limit=0/1s",
        "limit=1/0s",
        "limit=1/2",
        "limit=/",
        "loopable=1",
        "run=once",
        "stdin=yes",
        "shell=bash",
        "timeout=0s",
        "kill-after=x",
        "retry=99",
        "cwd=x",
        "cwd=",
        "umask=8",
        "umask=1000",
        "umask=",
        "umask=+1",
        "nice=20",
        "output=x",
        "output=",
        "key=",
        "key=a\\ b",
        "catch-up=on",
        "include=",
        "include=a::b",
        "exclude=/",
        "unknown=1",
        "max_wait=1s",
        "=x",
        "include={a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}",
    ] {
        refused(words);
    }
}

#[test]
fn who_did_it() {
    let options = |words: &str| system_line(&format!("/a 8,{words} c")).options;
    let o = options("by=alice,!bob:!0,exe=/usr/bin/*,by=1001");
    assert_eq!(o.by, ["alice", "!bob", "!0", "1001"]);
    assert_eq!(o.exe, ["/usr/bin/*"]);
    assert!(o.who, "it implies who=true");
    assert!(options("who=true").who && !options("who=false").who);
    let system = context(Dialect::V0_5_12, true);
    for words in [
        "who=yes",
        "by=",
        "by=!",
        "by=a::b",
        "exe=",
        "exe=!",
        "exe=/",
        "exe=bin/x",
        "by=a,who=false",
        "by=a,poll=1s",
        "exe=a,source=inotify",
        "who=true,source=poll",
    ] {
        let (table, diagnostics) = parse(format!("/a 8,{words} c").as_bytes(), &system);
        assert!(table.lines.is_empty(), "{words}");
        assert!(diagnostics.iter().any(|d| d.help.is_some()), "{words}");
    }
    let user = context(Dialect::V0_5_12, false);
    for words in ["who=true", "by=alice", "exe=!/usr/bin/dpkg"] {
        let (table, diagnostics) = parse(format!("/a 8,{words} c").as_bytes(), &user);
        assert!(table.lines.is_empty());
        assert!(
            diagnostics[0].message.contains("system directory"),
            "{diagnostics:?}"
        );
        assert!(diagnostics[0].help.as_ref().unwrap().contains("only root"));
    }
}

#[test]
fn what_contradicts_or_repeats() {
    for words in [
        "settle=1s,settle=2s",
        "recursive=true,recursive=true",
        "depth=1,recursive=false",
        "max-wait=5s",
        "settle=10s,max-wait=5s",
        "source=inotify,poll=1s",
        "kill-after=5s",
        "run=stream,batch=5",
        "run=stream,busy=skip",
        "run=stream,stdin=paths",
        "run=stream,retry=1",
        "run=stream,timeout=1s",
        "run=stream,jobs=2",
        "run=stream,limit=5/1m",
        "run=stream,loopable=false",
        "run=stream,IN_NO_LOOP",
        "IN_NO_LOOP,loopable=true",
    ] {
        refused(words);
    }
    assert!(
        errors("/a 8,max_wait=1s c")[0]
            .help
            .as_deref()
            .is_some_and(|h| h.contains("max-wait"))
    );
    assert!(
        errors("/a 8,settle c")[0]
            .help
            .as_deref()
            .is_some_and(|h| h.contains("settle="))
    );
}

/// Words of a mask field that stand together, in a random choice.
fn any_words() -> impl Strategy<Value = String> {
    let groups: Vec<Vec<&str>> = vec![
        vec!["recursive=false", "depth=2", "depth=0,dotdirs=true"],
        vec![r"include=*.{a,b}:c\,d:/x/", r"include=\*\ \:"],
        vec![r"exclude=.git", "exclude=a:b"],
        vec!["type=file", "type=dir"],
        // Either is said of who did it, or of a source that cannot tell.
        vec![
            "source=inotify",
            "source=poll",
            "poll=100ms",
            "who=true",
            "by=alice:!bob",
            r"by=0,exe=/usr/bin/*:!x\,y",
            "exe=!{a,b}",
        ],
        vec!["settle=1500ms", "settle=2s,max-wait=1h"],
        vec!["batch=7", "batch=7s,stdin=paths", "run=stream"],
        vec!["jobs=3"],
        vec!["limit=5/1m"],
        vec!["IN_NO_LOOP", "loopable=false"],
        vec!["shell=yes", "shell=no"],
        vec!["umask=002", r"cwd=/a\ b\,c\\", "nice=3"],
        vec!["output=mail", "output=discard", r"output=/x\ y"],
        vec!["key=k", r"key=a\,b"],
        vec!["catch-up=true"],
    ];
    groups
        .into_iter()
        .map(|group| proptest::option::of(proptest::sample::select(group)))
        .collect::<Vec<_>>()
        .prop_map(|words| {
            let mut words: Vec<_> = words.into_iter().flatten().collect();
            if words.contains(&"run=stream") {
                // What bounds runs contradicts it.
                let bounds = ["jobs=", "limit=", "IN_NO_LOOP", "loopable="];
                words.retain(|word| !bounds.iter().any(|bound| word.starts_with(bound)));
            }
            words.join(",")
        })
}

proptest! {
    #[test]
    fn written_options_mean_the_same(words in any_words()) {
        let comma = if words.is_empty() { "" } else { "," };
        let read = system_line(&format!("/a 8{comma}{words} c")).options;
        let written = read.written(Dialect::V0_5_12);
        let again = system_line(&format!("/a {} c", [vec!["8".to_string()], written].concat().join(",")));
        prop_assert_eq!(again.options, read);
    }
}

/// The manual page documents every option, and no other.
#[test]
fn the_manual_has_every_option() {
    let manual = include_str!("../man/incrontab.5");
    let mut documented: Vec<&str> = manual
        .lines()
        .filter_map(|l| l.strip_prefix(".It Cm "))
        .filter_map(|l| {
            l.split_once(" Ns = Ns ")
                .or_else(|| l.split_once("Ns ="))
                .map(|(name, _)| name.trim())
        })
        .collect();
    documented.sort_unstable();
    let mut known = incron::table::option_names().to_vec();
    known.sort_unstable();
    assert_eq!(documented, known);
}
