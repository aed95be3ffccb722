//! Real tables of the shapes people publish do what their authors meant: run by
//! dash, by bash, or without a shell, with programs that record how they were called.

mod table_common;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::SystemTime;

use incron::event::{Actor, Confidence, Event, EventContext, Origin};
use incron::table::{Dialect, Mask, Severity, explain, parse};
use table_common::{context, line, line_in, warnings};

/// A directory of programs that write down their arguments.
struct Programs {
    dir: tempfile::TempDir,
}

impl Programs {
    fn new(names: &[&str]) -> Programs {
        let programs = Programs {
            dir: tempfile::tempdir().expect("a directory"),
        };
        for name in names {
            let script = "#!/bin/sh\n{ printf '%s' \"${0##*/}\"; printf ' <%s>' \"$@\"; echo; } >> \"$CALLS\"\n";
            // By another process: what a test beside this one starts may inherit a
            // descriptor that is open for writing, and then nobody can execute the file.
            let write = ["-c", "printf %s \"$2\" > \"$1\" && chmod 755 \"$1\"", "sh"];
            let mut sh = Command::new("sh");
            let written = sh.args(write).arg(programs.path(name)).arg(script).status();
            assert!(written.expect("a shell").success());
        }
        programs
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the programs wrote down when the command ran for the event.
    fn calls(&self, command: &incron::table::Command, event: &Event, shell: &str) -> String {
        let calls = self.path("calls");
        let _ = std::fs::remove_file(&calls);
        let invocation = command.invocation(event, OsStr::new(shell));
        let mut variables: Vec<(OsString, OsString)> = invocation.env;
        let context = EventContext {
            host: "h",
            table: "t",
            line: 1,
            key: "k",
        };
        event.variables(&context, &mut variables);
        let path = format!("{}:/usr/bin:/bin", self.dir.path().display());
        let status = Command::new(&invocation.argv[0])
            .args(&invocation.argv[1..])
            .env_clear()
            .env("PATH", path)
            .env("CALLS", &calls)
            .env("HOME", "/home/joe")
            .envs(variables)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .status()
            .expect("the command starts");
        assert!(status.success(), "{:?}: {status}", command.text);
        std::fs::read_to_string(&calls).unwrap_or_default()
    }
}

fn event(watch: &str, name: &str, mask: Mask) -> Event {
    Event {
        mask,
        watch: watch.into(),
        name: name.into(),
        old_path: None,
        time: SystemTime::UNIX_EPOCH,
        origin: Origin::Kernel,
        actor: None,
        seq: 1,
        labels: None,
    }
}

/// Runs a command by each shell and expects these calls.
fn check(text: &str, watch: &str, name: &str, expected: &str) {
    let programs = Programs::new(&["rsync", "nginx", "git", "mail", "handle"]);
    let line = line(&format!("/w IN_CLOSE_WRITE {text}"));
    for shell in ["/bin/dash", "/bin/bash"] {
        let calls = programs.calls(&line.command, &event(watch, name, Mask::CLOSE_WRITE), shell);
        assert_eq!(calls, expected, "{shell}: {text}");
    }
}

#[test]
fn published_lines() {
    check(
        "rsync -a $@/$# host:/srv/",
        "/w",
        "a b;c",
        "rsync <-a> </w/a b;c> <host:/srv/>\n",
    );
    check(
        "nginx -t && nginx -s reload",
        "/w",
        "x",
        "nginx <-t>\nnginx <-s> <reload>\n",
    );
    check(
        "git commit -a -m ''",
        "/w",
        "x",
        "git <commit> <-a> <-m> <>\n",
    );
    check("handle $@$#", "/w/", "it's", "handle </w/it's>\n");
    check(
        "handle $@/$# $% $&",
        "/w",
        "$(x)",
        "handle </w/$(x)> <IN_CLOSE_WRITE> <8>\n",
    );
    check(
        "handle \"$@/$#\" '$#' && true",
        "/w",
        "a\"b'c",
        "handle </w/a\"b'c> <a\"b'c>\n",
    );
    check(
        "echo \"$@/$#\" | { read -r f; handle \"$f\"; }",
        "/w",
        "a  b",
        "handle </w/a  b>\n",
    );
    check("handle $# > out 2>&1", "/w", "x y", "handle <x y>\n");
    check("cd / && handle $#", "/w", "x", "handle <x>\n");
    check(
        "/bin/sh -c 'handle \"$$1\"' sh $@/$#",
        "/w",
        "`x`",
        "handle </w/`x`>\n",
    );
}

#[test]
fn keywords_in_substitutions() {
    check(
        "handle \"$(echo case)\" \"$(echo esac; echo $#)\"",
        "/w",
        "ab",
        "handle <case> <esac\nab>\n",
    );
    let text = "handle \"$(if true; then case $# in (x) ;; *) echo $# ;; esac; fi)\"";
    check(text, "/w", "a  b", "handle <a  b>\n");
}

/// What authors wrap in a shell of their own works for any name, and is no code there.
#[test]
fn shells_in_commands() {
    let name = "a  b'\"$(x);`y`";
    let expected = format!("handle </w/{name}> <-v>\n");
    for text in [
        "bash -c \"handle $@/$# -v\"",
        "/bin/sh -c 'handle $@/$# -v'",
        "sh -c 'handle \"$@/$#\" -v && true'",
        "bash -ec \"handle '$@/$#' -v\"",
        "sh -c \"f=$#; handle \\\"$@/\\$f\\\" -v\"",
        "sh -c 'handle \"$(printf %s $@/$#)\" $$0' -v",
    ] {
        check(text, "/w", name, &expected);
        assert_eq!(warnings(&format!("/w 8 {text}")).len(), 1, "{text}");
    }
}

#[test]
fn dollars_of_old_tables() {
    check("handle $$HOME", "/w", "x", "handle </home/joe>\n");
    check(
        "handle \"$$(printf %s 'a  b')\"",
        "/w",
        "x",
        "handle <a  b>\n",
    );
    check(
        "handle $HOME $(echo hi)",
        "/w",
        "x",
        "handle </home/joe> <hi>\n",
    );
    check(
        "handle $$ a$ \"$\" $$,",
        "/w",
        "x",
        "handle <$> <a$> <$> <$,>\n",
    );
    check(
        "handle $$ a$ \"$\" $$, | cat",
        "/w",
        "x",
        "handle <$> <a$> <$> <$,>\n",
    );
    check(
        "handle $$$# \"$$$#\" '$$$#'",
        "/w",
        "x",
        "handle <$x> <$x> <$x>\n",
    );
    check(
        "handle $$$# \"$$$#\" '$$$#' | cat",
        "/w",
        "x",
        "handle <$x> <$x> <$x>\n",
    );
    check(
        "awk '{ exit $$1 }' /dev/null; handle '$$1' '$1'",
        "/w",
        "x",
        "handle <$1> <$1>\n",
    );
    check(
        "handle ${nope:-\"$#\"} \"${HOME#/home}\" | cat",
        "/w",
        "a b",
        "handle <a b> </joe>\n",
    );
}

#[test]
fn words_that_look_like_options_or_syntax_start_no_script() {
    let programs = Programs::new(&["-x", "handle"]);
    let line = line("/w 8,shell=yes -x; handle");
    for shell in ["/bin/dash", "/bin/bash"] {
        let calls = programs.calls(&line.command, &event("/w", "x", Mask::CLOSE_WRITE), shell);
        assert_eq!(calls, "-x <>\nhandle <>\n", "{shell}");
    }
}

/// The same words with and without a shell: what runs directly is what sh would run.
#[test]
fn direct_is_what_the_shell_would_do() {
    for words in [
        r#"handle a 'b c' "d e" f\ g"#,
        r#"handle 'a'"b"c\d "\e\"\\" '\' ''"#,
        r#"handle "a	b" 	 c  # comment $# it's"#,
        r#"handle a#b =x - -- 'é' "'" '"'"#,
        r"handle {} [ ] ! a=b %",
    ] {
        let programs = Programs::new(&["handle"]);
        let event = event("/w", "n", Mask::CLOSE_WRITE);
        let direct = line(&format!("/w 8 {words}")).command;
        let shell = line(&format!("/w 8,shell=yes {words}")).command;
        assert!(
            direct.script().is_none() && shell.script().is_some(),
            "{words}"
        );
        let expected = programs.calls(&shell, &event, "/bin/sh");
        assert_eq!(
            programs.calls(&direct, &event, "/nonexistent"),
            expected,
            "{words}"
        );
    }
}

#[test]
fn the_old_dialect_has_no_shell() {
    let programs = Programs::new(&["handle"]);
    let line = line_in(Dialect::V0_5_10, r"/w 8 handle 'a b' $@/$# | c\ d");
    let calls = programs.calls(
        &line.command,
        &event("/w", "x y", Mask::CLOSE_WRITE),
        "/none",
    );
    assert_eq!(calls, "handle <'a> <b'> </w/x y> <|> <c d>\n");
}

#[test]
fn runs_for_many_events_take_the_last() {
    let line = line("/w 8 handle $# $%");
    let events = [
        Rc::new(event("/w", "a", Mask::CLOSE_WRITE)),
        Rc::new(event("/w", "b", Mask::CREATE | Mask::ISDIR)),
    ];
    let argv = line
        .command
        .invocation_many(&events, OsStr::new("/bin/sh"))
        .argv;
    assert_eq!(argv, ["handle", "b", "IN_CREATE,IN_ISDIR"]);
    let argv = line
        .command
        .invocation_many(&[], OsStr::new("/bin/sh"))
        .argv;
    assert_eq!(argv, ["handle", "", ""]);
    assert_eq!(warnings("/w 8,run=stream handle $#").len(), 1);
}

#[test]
fn examples_are_good() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(examples).expect("examples").flatten() {
        let path = entry.path();
        if path.extension() != Some(OsStr::new("incron")) {
            continue;
        }
        let bytes = std::fs::read(&path).expect("an example");
        let (table, diagnostics) = parse(&bytes, &context(Dialect::V0_5_12, true));
        let bad: Vec<_> = diagnostics
            .iter()
            .filter(|d| d.severity > Severity::Note)
            .collect();
        assert!(
            bad.is_empty() && !table.lines.is_empty(),
            "{}: {bad:?}",
            path.display()
        );
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn explanations_say_what_runs() {
    let text = "SHELL=/bin/bash\n/a/ 8,include=*.jpg,IN_ONLYDIR handle $@$#\n/b IN_CREATE,recursive=false x | y $#\n";
    let (table, diagnostics) = parse(text.as_bytes(), &context(Dialect::V0_5_12, false));
    let text = explain(&table, &diagnostics, OsStr::new("/bin/sh"), &|_| {
        String::new()
    });
    for part in [
        "line 2",
        "/a/ and, if it is a directory, all below it except dot directories; only *.jpg",
        "IN_CLOSE_WRITE",
        "IN_ONLYDIR",
        "handle '$@$#' (no shell)",
        "0.5.10 does not watch",
        "line 3",
        "x | y \"${INCRON_FILE}\" (in /bin/bash)",
        "recursive=false",
        "0.5.10 has no shell",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

/// The manual page names every field of the JSON and every variable.
#[test]
fn the_manual_has_every_field() {
    let manual = include_str!("../man/incron-events.7");
    let mut full = event("/w", "x", Mask::CREATE);
    full.old_path = Some("/o".into());
    full.actor = Some(Rc::new(incron::event::Actor {
        pid: 1,
        uid: Some(0),
        exe: Some("/bin/x".into()),
        ..Default::default()
    }));
    let actor = Actor {
        pid: 1,
        ppid: Some(1),
        ns_pid: Some(1),
        exe: Some("e".into()),
        cmdline: vec!["e".into()],
        uid: Some(1),
        user: Some("u".into()),
        login_uid: Some(1),
        login: Some("u".into()),
        gid: Some(1),
        session: Some(1),
        cgroup: Some("/c".into()),
        container: Some("c".into()),
        parents: vec![Default::default()],
        line: None,
        confidence: Confidence::Exact,
    };
    full.actor = Some(Rc::new(actor));
    full.labels = Some(Rc::new([("id".to_string(), "v".to_string())].into()));
    let context = EventContext {
        host: "h",
        table: "t",
        line: 1,
        key: "k",
    };
    let json: serde_json::Value = serde_json::from_str(&full.to_json(&context)).expect("an object");
    let fields = json.as_object().expect("an object").keys();
    let of_actor = json["actor"].as_object().expect("an object").keys();
    for field in fields.chain(of_actor) {
        assert!(manual.contains(&format!(".It Li {field}\n")), "{field}");
    }
    let mut variables = Vec::new();
    full.variables(&context, &mut variables);
    for (name, _) in variables {
        let name = name.into_string().expect("ASCII");
        let name = if name.starts_with("INCRON_LABEL_") {
            "INCRON_LABEL_ Ns Ar NAME"
        } else {
            &name
        };
        assert!(manual.contains(&format!(".It Ev {name}\n")), "{name}");
    }
    for word in incron::table::event_words() {
        // Flags are options of a line: the other page has them.
        let table = include_str!("../man/incrontab.5");
        assert!(manual.contains(word) || table.contains(word), "{word}");
    }
}
