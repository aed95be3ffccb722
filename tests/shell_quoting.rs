//! A file name is never code: names of any bytes reach real commands byte for byte,
//! in every form and context, in dash and in bash, and nothing in them runs.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::{Command, Output, Stdio};
use std::time::SystemTime;

use incron::event::{Event, EventContext, Origin};
use incron::table::{Context, Dialect, Line, Mask, parse};

const SHELLS: [&str; 2] = ["/bin/dash", "/bin/bash"];
const LOCALES: [&str; 2] = ["C", "C.UTF-8"];

/// Each command prints its values ended by NUL. `.` after a value keeps its
/// newlines from being cut by a command substitution.
const CONTEXTS: [(&str, &str); 19] = [
    ("bare", r"printf '%s\0' $#"),
    ("double quotes", r#"printf '%s\0' "$#""#),
    ("single quotes", r"printf '%s\0' '$#'"),
    ("escaped", r"printf '%s\0' \$#"),
    ("in a redirection's word", r"printf '%s\0' $# >&1"),
    ("an assignment", r#"v=$#; printf '%s\0' "$$v""#),
    ("a quoted assignment", r#"v="$#"; printf '%s\0' "$v""#),
    (
        "a substitution, bare within",
        r#"printf '%s\0' "$(printf '%s.' $#)""#,
    ),
    (
        "a substitution, quoted within",
        r#"printf '%s\0' "$(printf '%s.' "$#")""#,
    ),
    (
        "a substitution, single quotes within",
        r#"printf '%s\0' "$$(printf '%s.' '$#')""#,
    ),
    (
        "a substitution in a substitution",
        r#"printf '%s\0' "$(printf '%s' "$(printf '%s.' $#)")""#,
    ),
    (
        "case in a substitution",
        r#"printf '%s\0' "$(case x in x) printf '%s.' $#;; esac)""#,
    ),
    (
        "backquotes, bare within",
        r#"v=`printf '%s.' $#`; printf '%s\0' "$v""#,
    ),
    (
        "backquotes in double quotes",
        r#"printf '%s\0' "`printf '%s.' $#`""#,
    ),
    (
        "backquotes, quoted within",
        r#"v=`printf '%s.' "$#"`; printf '%s\0' "$v""#,
    ),
    ("a default", r"printf '%s\0' ${nope:-$#}"),
    (
        "a default in double quotes",
        r#"printf '%s\0' "${nope:-$#}""#,
    ),
    ("a pipe", r"printf '%s\0' $# | cat"),
    (
        "a case word and pattern",
        r#"case $# in $#) printf '%s\0' "$#";; *) printf 'no\0';; esac"#,
    ),
];

/// What an attacker would put into a name.
const FRAGMENTS: [&str; 24] = [
    "$(>CANARY)",
    "`>CANARY`",
    ";>CANARY;",
    "'>CANARY'",
    "\">CANARY\"",
    "|>CANARY",
    "&&>CANARY",
    "\n>CANARY\n",
    "a[$(>CANARY)]",
    "${x:=$(>CANARY)}",
    "-rf",
    "--",
    "*",
    "?",
    "[a-z]",
    "{a,b}",
    "~",
    "$HOME",
    "\\",
    "' '",
    "#",
    "!",
    "\n",
    " ",
];

/// A small generator, so that a failure names a seed that repeats it.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }

    fn name(&mut self) -> Vec<u8> {
        let mut name = Vec::new();
        for _ in 0..=self.next(6) {
            match self.next(3) {
                0 => name.extend(FRAGMENTS[self.next(FRAGMENTS.len())].bytes()),
                1 => name.push((1 + self.next(255)) as u8),
                _ => name.extend(
                    (0..self.next(8)).map(|_| b"'\"\\`$();&|<> \t\n!*?[]{}~#-="[self.next(26)]),
                ),
            }
        }
        name.retain(|b| *b != b'/');
        if name.is_empty() { b"x".to_vec() } else { name }
    }
}

fn names(count: usize) -> Vec<Vec<u8>> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let every: Vec<u8> = (1..=255).filter(|b| *b != b'/').collect();
    let mut names = vec![
        every,
        b"-n".to_vec(),
        b"\n\n".to_vec(),
        b"'".to_vec(),
        b"\xff\xfe".to_vec(),
    ];
    names.extend((names.len()..count).map(|_| random.name()));
    names
}

fn line(text: &str) -> Line {
    let context = Context {
        origin: "test".into(),
        name: "test".into(),
        dialect: Dialect::V0_5_12,
        system: false,
    };
    let (mut table, diagnostics) = parse(text.as_bytes(), &context);
    assert!(table.lines.len() == 1, "{text}: {diagnostics:?}");
    table.lines.remove(0)
}

fn event(watch: &[u8], name: &[u8]) -> Event {
    Event {
        mask: Mask::CLOSE_WRITE,
        watch: OsString::from_vec(watch.to_vec()),
        name: OsString::from_vec(name.to_vec()),
        old_path: None,
        time: SystemTime::UNIX_EPOCH,
        origin: Origin::Kernel,
        actor: None,
        seq: 1,
        labels: None,
    }
}

/// Runs the line's command for the event as the daemon would.
fn run(line: &Line, event: &Event, shell: &str, locale: &str, cwd: &std::path::Path) -> Output {
    let invocation = line.command.invocation(event, OsStr::new(shell));
    let mut variables = invocation.env;
    let context = EventContext {
        host: "h",
        table: "t",
        line: 1,
        key: "k",
    };
    event.variables(&context, &mut variables);
    Command::new(&invocation.argv[0])
        .args(&invocation.argv[1..])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", locale)
        .envs(variables)
        .current_dir(cwd)
        .stdin(Stdio::null())
        .output()
        .expect("the shell starts")
}

fn assert_empty(dir: &std::path::Path, what: &str) {
    let found: Vec<_> = std::fs::read_dir(dir)
        .expect("the directory is there")
        .collect();
    assert!(found.is_empty(), "{what}: a name ran as code: {found:?}");
}

/// All contexts as one script, so that one process a name tells of all of them.
fn all_contexts() -> Line {
    let commands: Vec<&str> = CONTEXTS.iter().map(|(_, command)| *command).collect();
    line(&format!(
        "/w IN_CLOSE_WRITE,shell=yes {}",
        commands.join("; ")
    ))
}

#[test]
fn every_context_of_the_shell() {
    let dir = tempfile::tempdir().expect("a directory");
    let line = all_contexts();
    for (i, name) in names(400).iter().enumerate() {
        let shell = SHELLS[i % 2];
        let locale = LOCALES[i / 2 % 2];
        let output = run(&line, &event(b"/w", name), shell, locale, dir.path());
        let words: Vec<&[u8]> = output.stdout.split(|b| *b == 0).collect();
        for ((context, _), word) in CONTEXTS.iter().zip(&words) {
            let word = if context.contains("substitution") || context.contains("backquotes") {
                word.strip_suffix(b".").unwrap_or(word)
            } else {
                word
            };
            assert!(
                word == name,
                "{shell} {locale} {context}: {:?} came as {:?}",
                OsStr::from_bytes(name),
                OsStr::from_bytes(word)
            );
        }
        assert_eq!(
            words.len(),
            CONTEXTS.len() + 1,
            "{shell} {:?}",
            OsStr::from_bytes(name)
        );
        assert!(
            output.stderr.is_empty(),
            "{:?}",
            OsString::from_vec(output.stderr)
        );
        assert_empty(
            dir.path(),
            &format!("{shell} {:?}", OsStr::from_bytes(name)),
        );
    }
}

/// Both shells see every nasty fragment, whatever the generator chose above.
#[test]
fn every_fragment_in_both_shells() {
    let dir = tempfile::tempdir().expect("a directory");
    let line = all_contexts();
    let mut expected = Vec::new();
    for fragment in FRAGMENTS.iter().filter(|f| !f.contains('/')) {
        expected.clear();
        for (context, _) in &CONTEXTS {
            expected.extend(fragment.bytes());
            if context.contains("substitution") || context.contains("backquotes") {
                expected.push(b'.');
            }
            expected.push(0);
        }
        for shell in SHELLS {
            let output = run(
                &line,
                &event(b"/w", fragment.as_bytes()),
                shell,
                "C.UTF-8",
                dir.path(),
            );
            assert_eq!(
                OsStr::from_bytes(&output.stdout),
                OsStr::from_bytes(&expected),
                "{shell} {fragment:?}"
            );
            assert_empty(dir.path(), fragment);
        }
    }
}

#[test]
fn the_direct_form() {
    let dir = tempfile::tempdir().expect("a directory");
    let line = line(r#"/w IN_CLOSE_WRITE /usr/bin/printf %s\\0 $# "$@/$#" '$#' a$#$%"#);
    assert!(line.command.script().is_none(), "no shell takes part");
    for name in names(400) {
        let output = run(&line, &event(b"/w", &name), "/nonexistent", "C", dir.path());
        let mut expected = Vec::new();
        for (before, after) in [("", ""), ("/w/", ""), ("", ""), ("a", "IN_CLOSE_WRITE")] {
            expected.extend(before.bytes());
            expected.extend_from_slice(&name);
            expected.extend(after.bytes());
            expected.push(0);
        }
        assert_eq!(
            OsStr::from_bytes(&output.stdout),
            OsStr::from_bytes(&expected)
        );
        assert_empty(dir.path(), "direct");
    }
}

/// The watched path is as hostile as the name: others may choose directories' names.
#[test]
fn the_watched_path_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let line =
        line(r#"/w IN_CLOSE_WRITE,shell=yes printf '%s\0' $@$# '$@'"$@/$#" "$(printf %s. $@)""#);
    for name in names(60) {
        let watch = [b"/w/", &name[..], b"/"].concat();
        for shell in SHELLS {
            let output = run(&line, &event(&watch, b"x"), shell, "C", dir.path());
            let expected = [&watch, &b"x\0"[..], &watch, &watch, b"/x\0", &watch, b".\0"].concat();
            assert_eq!(
                OsStr::from_bytes(&output.stdout),
                OsStr::from_bytes(&expected),
                "{shell}"
            );
            assert_empty(dir.path(), shell);
        }
    }
}

#[test]
fn redirections_take_any_name() {
    let line = line("/w IN_CLOSE_WRITE echo done > $#");
    for shell in SHELLS {
        for name in names(60)
            .into_iter()
            .filter(|n| n.len() < 200 && n != b"." && n != b"..")
        {
            let dir = tempfile::tempdir().expect("a directory");
            run(&line, &event(b"/w", &name), shell, "C", dir.path());
            let found: Vec<_> = std::fs::read_dir(dir.path())
                .expect("the directory is there")
                .filter_map(|e| e.ok().map(|e| e.file_name().into_vec()))
                .collect();
            assert_eq!(found, [name], "{shell}");
        }
    }
}

/// Arithmetic and subscripts evaluate what a variable holds: a name may not stand there.
#[test]
fn places_that_evaluate_are_refused() {
    let context = Context {
        origin: "test".into(),
        name: "test".into(),
        dialect: Dialect::V0_5_12,
        system: false,
    };
    for command in [
        "echo $(($#))",
        "echo $$((1 + $#))",
        "((x = $#))",
        "echo ${x[$#]}",
        "echo ${x:$#}",
        "echo ${x/$#/y}",
        "echo ${$#}",
        "echo `echo \\\"$#\\\"`",
        "echo $'$#' | cat",
        "echo $'it\\'s' $# | cat",
    ] {
        let (table, diagnostics) = parse(format!("/w 8 {command}").as_bytes(), &context);
        assert!(
            table.lines.is_empty() && !diagnostics.is_empty(),
            "{command}"
        );
    }
}

/// A random word of shell text whose value is that of `$#`, nested `depth` deep.
/// `quoted`: it stands in double quotes.
fn nested(random: &mut Random, depth: usize, quoted: bool) -> String {
    let depth = match depth.checked_sub(1) {
        Some(depth) => depth,
        None => return "$#".into(),
    };
    let choice = random.next(if quoted { 4 } else { 8 });
    let inner_quoted = quoted && choice == 1;
    let inner = nested(random, depth, inner_quoted || choice == 4);
    match choice {
        0 => "$#".into(),
        1 => format!("${{nope:-{inner}}}"),
        2 if quoted => format!("$(printf %s {inner})"),
        3 if quoted => format!("$$(case x in (y) ;; x) (printf %s {inner});; esac)"),
        4 => format!("\"{inner}\""),
        5 => "'$#'".into(),
        6 => format!("\"$({{ v={inner}; printf %s \"$v\"; }})\""),
        7 => format!("\"$(printf %s {inner} | cat)\""),
        _ => format!("\"$(printf %s {inner})\""),
    }
}

#[test]
fn contexts_in_contexts() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut random = Random(42);
    let names = names(300);
    for name in names.iter().filter(|n| n.last() != Some(&b'\n')) {
        let depth = random.next(6);
        let word = nested(&mut random, depth, false);
        let line = line(&format!("/w IN_CLOSE_WRITE,shell=yes printf '<%s>' {word}"));
        let expected = [b"<", &name[..], b">"].concat();
        for shell in SHELLS {
            let output = run(&line, &event(b"/w", name), shell, "C", dir.path());
            assert_eq!(
                OsStr::from_bytes(&output.stdout),
                OsStr::from_bytes(&expected),
                "{shell} {word}\n{:?}\n{:?}",
                line.command.script(),
                OsString::from_vec(output.stderr)
            );
            assert_empty(dir.path(), &word);
        }
    }
}
