//! `--simulate` says what the daemon would do, and does nothing.

use std::path::Path;
use std::time::Duration;

use incron::schedule::simulate::{Course, Model, parse_changes, simulate};
use incron::table::{self, Context, Dialect, Table};

fn parse(text: &str) -> Table {
    let context = Context {
        origin: "test".into(),
        name: "test".into(),
        dialect: Dialect::V0_5_12,
        system: true,
    };
    let (table, diagnostics) = table::parse(text.as_bytes(), &context);
    let errors: Vec<_> = diagnostics
        .iter()
        .filter(|d| d.severity > table::Severity::Note)
        .collect();
    assert!(errors.is_empty(), "{text}: {errors:?}");
    table
}

/// Every run takes `ms` and fails `failures` times.
fn run(text: &str, events: &str, ms: u64, failures: u32) -> String {
    let changes = parse_changes(events.as_bytes()).expect("events");
    let mut course = |_: &table::Line, attempt| Course {
        takes: Duration::from_millis(ms),
        success: attempt >= failures,
    };
    simulate(
        &parse(text),
        &changes,
        &mut Model {
            max_jobs: 8,
            course: &mut course,
        },
    )
}

#[track_caller]
fn expect(actual: &str, expected: &str) {
    let trim = |text: &str| {
        text.trim()
            .lines()
            .map(|l| l.trim().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(trim(actual), trim(expected), "\n{actual}");
}

#[test]
fn a_settled_upload() {
    let text = run(
        "/srv/in IN_CLOSE_WRITE,settle=2s convert $@/$# small/$#\n",
        "# an upload in two parts\n\
         +0s IN_CREATE /srv/in/a b.jpg\n\
         +0.5s IN_CLOSE_WRITE /srv/in/a b.jpg\n\
         +1.5s IN_CLOSE_WRITE /srv/in/a b.jpg\n\
         +9s IN_DELETE /etc/x\n",
        250,
        0,
    );
    expect(
        &text,
        "+0.000s IN_CREATE '/srv/in/a b.jpg'
         +0.000s   no line wants this
         +0.500s IN_CLOSE_WRITE '/srv/in/a b.jpg'
         +1.500s IN_CLOSE_WRITE '/srv/in/a b.jpg'
         +3.500s   line 1: run 1: convert '/srv/in/a b.jpg' 'small/a b.jpg'
         +3.750s   line 1: run 1 done
         +9.000s IN_DELETE /etc/x
         +9.000s   no line wants this
         line 1: 2 events, 1 runs, 1 merged",
    );
}

#[test]
fn retries_restarts_and_limits_are_seen() {
    let text = run(
        "/d IN_MODIFY,retry=1 false $#\n",
        "+0s IN_MODIFY /d/x\n",
        100,
        1,
    );
    expect(
        &text,
        "+0.000s IN_MODIFY /d/x
         +0.000s   line 1: run 1: false x
         for IN_MODIFY /d/x
         +0.100s   line 1: run 1 failed
         +1.100s   line 1: run 2 (retry 1): false x
         for IN_MODIFY /d/x
         +1.200s   line 1: run 2 done
         line 1: 1 events, 2 runs, 1 retries, 1 failed",
    );
    let restart = run(
        "/d IN_MODIFY,busy=restart make\n",
        "+0s IN_MODIFY /d/x\n+1s IN_MODIFY /d/y",
        5000,
        0,
    );
    assert!(
        restart.contains("+1.000s   line 1: run 1 killed"),
        "{restart}"
    );
    let limit = run(
        "/d IN_MODIFY,limit=1/1m make\n",
        "+0s IN_MODIFY /d/x\n+1s IN_MODIFY /d/y",
        10,
        0,
    );
    assert!(limit.contains("+60.000s   line 1: run 2: make"), "{limit}");
    assert!(limit.contains("slowed"), "{limit}");
}

#[test]
fn lines_match_as_in_the_daemon() {
    let table = "/a IN_CREATE,recursive=false echo 1 $@ $#\n\
                 /a/ IN_CREATE,exclude=*.tmp echo 2 $@$#\n\
                 /a IN_CREATE,depth=1,dotdirs=true echo 3 $@ $#\n\
                 /a/*/c IN_CREATE echo 4 $@ $#\n\
                 /a/f IN_CLOSE_WRITE echo 5 $@ $#\n\
                 /a IN_CREATE,IN_ONESHOT,type=dir echo 6 $#\n";
    let runs = |events: &str| -> Vec<String> {
        let text = run(table, events, 1, 0);
        let commands = text
            .lines()
            .filter_map(|l| l.split_once(": echo ").map(|(_, c)| c.to_owned()));
        commands.collect()
    };
    assert_eq!(runs("+0s IN_CREATE /a/x"), ["1 /a x", "2 /a/x", "3 /a x"]);
    assert_eq!(runs("+0s IN_CREATE /a/x.tmp"), ["1 /a x.tmp", "3 /a x.tmp"]);
    assert_eq!(
        runs("+0s IN_CREATE /a/b/c"),
        ["2 /a/b/c", "3 /a/b c", "4 /a/b/c ''"]
    );
    assert_eq!(
        runs("+0s IN_CREATE /a/b/c/d/e"),
        ["2 /a/b/c/d/e", "4 /a/b/c/d e"]
    );
    assert_eq!(runs("+0s IN_CREATE /a/.b/c"), ["3 /a/.b c"]);
    assert_eq!(runs("+0s IN_CREATE /ab"), Vec::<String>::new());
    assert_eq!(
        runs("+0s IN_MOVED_TO /a/f"),
        ["5 /a/f ''"],
        "replaced by rename"
    );
    let twice = "+0s IN_CREATE,IN_ISDIR /a/p\n+1s IN_CREATE,IN_ISDIR /a/q\n";
    assert_eq!(
        runs(twice).iter().filter(|r| r.starts_with('6')).count(),
        1,
        "oneshot"
    );
}

#[test]
fn a_stream_is_given_what_has_settled() {
    let events = "+0s IN_MODIFY /d/a\n+1s IN_MODIFY /d/a\n+1s IN_MODIFY /d/b\n";
    let text = run("/d IN_MODIFY,run=stream,settle=2s ship\n", events, 1, 0);
    expect(
        &text,
        "+0.000s IN_MODIFY /d/a
         +1.000s IN_MODIFY /d/a
         +1.000s IN_MODIFY /d/b
         +3.000s   line 1: to the stream: ship
         for IN_MODIFY /d/a
         +3.000s   line 1: to the stream: ship
         for IN_MODIFY /d/b
         line 1: 3 events, 2 runs, 1 merged",
    );
    let text = run("/d IN_MODIFY,run=stream ship\n", events, 1, 0);
    assert_eq!(text.matches("to the stream: ship").count(), 3, "{text}");
}

#[test]
fn a_rename_passes_its_old_path_to_the_shell() {
    let line = "/d IN_MOVED_TO logger -- \"$$INCRON_OLD\" is now \"$@/$#\"\n";
    let event = "{\"at\":0,\"events\":[\"IN_MOVED_TO\"],\"path\":\"/d/b\",\"old_path\":\"/d/a\"}";
    let text = run(line, event, 1, 0);
    assert!(text.contains("run 1: /bin/sh -c "), "{text}");
    assert!(text.contains("\"$INCRON_OLD\" is now"), "{text}");
}

#[test]
fn once_a_minute_is_one_run_for_all_that_came() {
    let text = run(
        "/d IN_MODIFY,limit=1/1m,busy=queue work\n",
        "+0s IN_MODIFY /d/a\n+9s IN_MODIFY /d/b\n+20s IN_MODIFY /d/c\n+30s IN_MODIFY /d/b\n",
        100,
        0,
    );
    assert!(text.contains("+60.000s   line 1: run 2: work"), "{text}");
    assert!(
        text.contains("line 1: 4 events, 2 runs, 1 merged"),
        "{text}"
    );
}

#[test]
fn recorded_events_are_read_and_sorted() {
    let changes = parse_changes(
        b"{\"time\":\"2026-01-01T00:00:00Z\",\"events\":[\"IN_DELETE\"],\"path\":\"/a\",\"host\":\"h\"}\n\
          {\"time\":\"2026-01-01T00:00:02.5Z\",\"mask\":8,\"path\":\"?\",\"path_raw\":\"L/8=\"}\n\
          {\"at\":\"+1.5s\",\"events\":[\"IN_CREATE\"],\"dir\":true,\"path\":\"/d/\"}\n",
    )
    .expect("events");
    let times: Vec<_> = changes.iter().map(|c| c.at.as_millis()).collect();
    assert_eq!(times, [0, 1500, 2500]);
    assert_eq!(changes[2].path.as_encoded_bytes(), b"/\xff");
}

#[test]
fn what_is_no_event_is_named() {
    for (text, message) in [
        (
            "nonsense",
            "line 1: write `+1.5s IN_CLOSE_WRITE /path`, or an event as JSON",
        ),
        (
            "\n+1 IN_MODIFY /x",
            "line 2: not a time: write `+200ms`, `+1.5s`, `+2m` or `+1h`",
        ),
        ("+1s IN_MODFIY /x", "line 1: unknown event `IN_MODFIY`"),
        ("+1s IN_MODIFY x", "line 1: the path must be absolute"),
        (
            "{\"at\":0,\"path\":\"/x\"}",
            "line 1: an event needs `events` or `mask`",
        ),
        (
            "{\"at\":-1,\"mask\":8,\"path\":\"/x\"}",
            "line 1: not a time: write `+200ms`, `+1.5s`, `+2m` or `+1h`",
        ),
        (
            "+1e999s IN_MODIFY /x",
            "line 1: not a time: write `+200ms`, `+1.5s`, `+2m` or `+1h`",
        ),
    ] {
        let error = parse_changes(text.as_bytes()).expect_err(text);
        assert_eq!(error.to_string(), message);
    }
    for bytes in [
        &b"{"[..],
        b"\x00\xff",
        b"+\xff \xff \xff",
        b"+",
        b"{}",
        b"+0s  ",
    ] {
        assert!(parse_changes(bytes).is_err());
    }
}

/// Every line of an example or of the cookbook.
fn check_table(name: &str, text: &str) {
    let table = parse(text);
    assert!(!table.lines.is_empty(), "{name} has no line");
}

#[test]
fn every_example_parses() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).expect("examples") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "incron") {
            let name = path.display().to_string();
            check_table(&name, &std::fs::read_to_string(&path).expect("an example"));
            names.push(name);
        }
    }
    assert!(names.len() >= 8, "{names:?}");
}

#[test]
fn every_line_of_the_cookbook_parses() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cookbook.md");
    let book = std::fs::read_to_string(path).expect("the cookbook");
    // A fence of the language `incron` is a table.
    let mut tables = 0;
    let mut parts = book.split("```incron\n");
    parts.next();
    for part in parts {
        let (text, _) = part.split_once("```").expect("a closed fence");
        check_table("docs/cookbook.md", text);
        tables += 1;
    }
    assert!(tables >= 15, "{tables} tables");
}
