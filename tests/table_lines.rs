//! The lines of incron's tables mean what they meant (each rule of the old parser
//! that tables rely on), and what was broken there is not.

mod table_common;

use incron::table::{Dialect, Mask, Options, Severity};
use table_common::{errors, line, line_in, notes, parse_text, warnings};

fn words(text: &str) -> Vec<String> {
    let line = line(text);
    let words = line
        .command
        .arguments()
        .unwrap_or_else(|| panic!("{text}: a shell"));
    words
        .into_iter()
        .map(|w| w.into_string().expect("UTF-8"))
        .collect()
}

#[test]
fn fields_end_at_blanks_and_tabs() {
    for text in [
        "/a IN_CREATE c d",
        " \t /a \t IN_CREATE\t c d",
        "/a\tIN_CREATE\tc d \t",
        "/a IN_CREATE c d\r",
    ] {
        let line = line(text);
        assert_eq!(line.path.written, "/a");
        assert_eq!(line.mask, Mask::CREATE);
        assert_eq!(line.command.text, "c d", "{text:?}");
    }
}

#[test]
fn comments_and_blank_lines_are_nothing() {
    let (table, diagnostics) = parse_text("# a\n\n  \t# b\n   \n\r\n#\n");
    assert!(
        table.lines.is_empty() && diagnostics.is_empty(),
        "{diagnostics:?}"
    );
}

#[test]
fn crlf_tables_and_last_lines_without_newline_work() {
    let (table, diagnostics) = parse_text("\u{feff}/a IN_CREATE c\r\n\r\n# x\r\n/b IN_DELETE d");
    assert!(
        diagnostics.iter().all(|d| d.severity == Severity::Note),
        "{diagnostics:?}"
    );
    let texts: Vec<_> = table.lines.iter().map(|l| l.command.text.clone()).collect();
    assert_eq!(texts, ["c", "d"]);
    assert_eq!(
        table.lines.iter().map(|l| l.number).collect::<Vec<_>>(),
        [1, 4]
    );
}

#[test]
fn long_lines_are_whole() {
    let command = format!("echo {}", "x".repeat(5000));
    assert_eq!(
        line(&format!("/a IN_CREATE {command}")).command.text,
        command.as_str()
    );
}

#[test]
fn numbers_are_masks() {
    assert_eq!(line("/a 12 c").mask, Mask::CLOSE_WRITE | Mask(4));
    assert_eq!(line("/a 010 c").mask, Mask(10));
    assert_eq!(line("/a 0x8 c").mask, Mask::CLOSE_WRITE);
    assert_eq!(line("/a 4095 c").mask, Mask::ALL_EVENTS);
    assert_eq!(
        line("/a 2147483656 c").mask,
        Mask::CLOSE_WRITE | Mask::ONESHOT
    );
    assert!(!line("/a 12,recursive=false c").options.recursive);
}

#[test]
fn wrong_numbers_say_what_is_right() {
    for mask in [
        "12abc",
        "-1",
        "0",
        "0x",
        "0xg",
        "99999999999",
        "+1",
        "4096",
        "65536",
        "32768",
        "00",
    ] {
        let errors = errors(&format!("/a {mask} c"));
        assert_eq!(errors.len(), 1, "{mask}: {errors:?}");
        assert!(
            errors[0].help.is_some() && errors[0].column == 4,
            "{mask}: {errors:?}"
        );
    }
}

#[test]
fn every_old_word() {
    let all = "IN_ACCESS IN_MODIFY IN_ATTRIB IN_CLOSE_WRITE IN_CLOSE_NOWRITE IN_OPEN IN_MOVED_FROM \
               IN_MOVED_TO IN_CREATE IN_DELETE IN_DELETE_SELF IN_UNMOUNT IN_CLOSE IN_MOVE \
               IN_ALL_EVENTS IN_MOVE_SELF";
    for word in all.split_whitespace() {
        let mask = line(&format!("/a {word} c")).mask;
        assert_eq!(Some(mask), Mask::from_word(word));
    }
    let flags = line("/a IN_MODIFY,IN_DONT_FOLLOW,IN_ONLYDIR,IN_ONESHOT,IN_EXCL_UNLINK c").mask;
    assert_eq!(
        flags,
        Mask::MODIFY | Mask::DONT_FOLLOW | Mask::ONLYDIR | Mask::ONESHOT | Mask::EXCL_UNLINK
    );
}

#[test]
fn inotifywait_words() {
    let mask = line("/a close_write,moved_to,complete c").mask;
    assert_eq!(mask, Mask::CLOSE_WRITE | Mask::MOVED_TO | Mask::COMPLETE);
    assert_eq!(line("/a IN_COMPLETE c").mask, Mask::COMPLETE);
}

#[test]
fn wrong_case_is_an_error_with_the_right_one() {
    for (wrong, right) in [
        ("in_create", "IN_CREATE"),
        ("Close_Write", "close_write"),
        ("IN_CLOSEWRITE", "IN_CLOSE_WRITE"),
    ] {
        let errors = errors(&format!("/a {wrong} c"));
        assert_eq!(
            errors[0].help.as_deref(),
            Some(format!("did you mean `{right}`?").as_str())
        );
    }
}

#[test]
fn news_of_the_watch_never_runs_a_command() {
    assert_eq!(errors("/a IN_IGNORED c").len(), 1);
    assert_eq!(errors("/a IN_Q_OVERFLOW c").len(), 1);
    assert_eq!(
        line("/a IN_MODIFY,IN_IGNORED,IN_ISDIR c").mask,
        Mask::MODIFY
    );
    assert_eq!(warnings("/a IN_MODIFY,IN_IGNORED,IN_ISDIR c").len(), 2);
    assert_eq!(errors("/a IN_ONLYDIR c").len(), 1);
    assert_eq!(errors("/a IN_ISDIR,recursive=false c").len(), 1);
}

#[test]
fn old_options() {
    let default = line("/a IN_CREATE c").options;
    assert_eq!(default, Options::default());
    assert!(default.recursive && !default.dotdirs && !default.no_loop);
    assert!(line("/a IN_NO_LOOP,IN_CREATE c").options.no_loop);
    assert!(!line("/a IN_CREATE,loopable=true c").options.no_loop);
    assert!(line("/a loopable=false,IN_CREATE c").options.no_loop);
    assert!(!line("/a IN_CREATE,recursive=false c").options.recursive);
    assert!(line("/a IN_CREATE,dotdirs=true c").options.dotdirs);
    assert_eq!(errors("/a IN_NO_LOOP,IN_CREATE,loopable=true c").len(), 1);
}

#[test]
fn a_mask_with_blanks_is_told_so() {
    let errors = errors("/a IN_CREATE, IN_DELETE c");
    assert!(errors[0].message.contains("blank"), "{errors:?}");
    assert_eq!(
        line("/a IN_CREATE,,IN_DELETE c").mask,
        Mask::CREATE | Mask::DELETE
    );
}

#[test]
fn paths_with_blanks() {
    for text in [
        r"/a\ b IN_CREATE c",
        r#""/a b" IN_CREATE c"#,
        r#"/"a b" IN_CREATE c"#,
    ] {
        assert_eq!(line(text).path.written, "/a b", "{text}");
    }
    assert_eq!(line(r"/a\\b IN_CREATE c").path.written, r"/a\b");
    assert_eq!(line(r#"/a\"b IN_CREATE c"#).path.written, r#"/a"b"#);
    assert_eq!(line(r#""/a\"b\\" IN_CREATE c"#).path.written, r#"/a"b\"#);
    assert_eq!(line("/o'brien IN_CREATE c").path.written, "/o'brien");
    assert_eq!(
        line("/a/ IN_CREATE c").path.written,
        "/a/",
        "the slash is kept for $@$#"
    );
    assert_eq!(line("/é IN_CREATE c").path.written, "/é");
}

#[test]
fn patterns() {
    for path in ["/a/*", "/a/?x", "/a/[ab]", "/a/{b,c}", "/a/**/b"] {
        assert!(line(&format!("{path} IN_CREATE c")).path.pattern, "{path}");
        assert!(
            !line_in(Dialect::V0_5_10, &format!("{path} IN_CREATE c"))
                .path
                .pattern,
            "{path}"
        );
    }
    for path in [r"/a/\*", r#""/a/*""#, "/a/{b}", "/a/b,c}"] {
        assert!(!line(&format!("{path} IN_CREATE c")).path.pattern, "{path}");
    }
    assert_eq!(line(r#"/a/"*"* IN_CREATE c"#).path.written, r"/a/\**");
    assert_eq!(
        errors(&format!("/{} IN_CREATE c", "{a,b}".repeat(30))).len(),
        1
    );
}

#[test]
fn wrong_paths() {
    for path in [
        "a/b",
        "./a",
        "~/a",
        "$HOME/a",
        "\"/a",
        &format!("/{}", "x".repeat(5000)),
    ] {
        let errors = errors(&format!("{path} IN_CREATE c"));
        assert_eq!(
            (errors.len(), errors[0].column),
            (1, 1),
            "{path}: {errors:?}"
        );
    }
}

#[test]
fn paths_of_a_provider() {
    for (text, written, name, rest, pattern) in [
        ("@homes", "@homes", "homes", "", false),
        ("@homes/", "@homes/", "homes", "/", false),
        ("@a-b_1/.ssh", "@a-b_1/.ssh", "a-b_1", "/.ssh", false),
        (
            "\"@homes/My Docs\"",
            "@homes/My Docs",
            "homes",
            "/My Docs",
            false,
        ),
        ("@a\\-b/*.jpg", "@a-b/*.jpg", "a-b", "/*.jpg", true),
        (
            "@homes/{a,b}\\*/**",
            "@homes/{a,b}\\*/**",
            "homes",
            "/{a,b}\\*/**",
            true,
        ),
    ] {
        let path = line(&format!("{text} IN_CREATE c")).path;
        assert_eq!(path.written, written, "{text}");
        assert_eq!(path.pattern, pattern, "{text}");
        assert_eq!(path.provider(), Some((name, rest.as_bytes())), "{text}");
    }
    assert_eq!(line("/@homes IN_CREATE c").path.provider(), None);
    for wrong in [
        "@",
        "@/a",
        "@ho.mes",
        "@hom*/a",
        "@{a,b}/c",
        "@h@/a",
        "@homes/../a",
        "@é",
    ] {
        let errors = errors(&format!("  {wrong} IN_CREATE c"));
        assert_eq!(
            (errors.len(), errors[0].column),
            (1, 3),
            "{wrong}: {errors:?}"
        );
        assert!(errors[0].help.is_some(), "{wrong}");
    }
    assert_eq!(warnings("@homes/a IN_CREATE,catch-up=true c").len(), 1);
}

#[test]
fn missing_fields() {
    for text in [
        "/a",
        "/a ",
        "/a IN_CREATE",
        "/a IN_CREATE  ",
        "/a IN_CREATE ''",
        "/a IN_CREATE # c",
    ] {
        assert_eq!(errors(text).len(), 1, "{text}");
    }
}

#[test]
fn a_bad_line_costs_only_itself() {
    let (table, diagnostics) = parse_text("/a IN_CREATE c\nx\n/b IN_BAD c\n/c IN_CREATE d\n");
    assert_eq!(
        table.lines.iter().map(|l| l.number).collect::<Vec<_>>(),
        [1, 4]
    );
    let errors: Vec<u32> = diagnostics
        .iter()
        .filter(|d| d.severity == Severity::Error)
        .map(|d| d.line)
        .collect();
    assert_eq!(errors, [2, 3]);
}

#[test]
fn environment_lines_as_in_cron() {
    let (table, _) = parse_text(
        "A=1\nB = \" x y \"\nC='q'\nD=a\"b\n/a IN_CREATE c\nA=2\nE=\n/b IN_CREATE c\n/c IN_CREATE c\n",
    );
    let env = |i: usize| -> Vec<String> {
        let pairs = table.lines[i].env.iter();
        pairs
            .map(|(n, v)| format!("{}={}", n.display(), v.display()))
            .collect()
    };
    assert_eq!(env(0), ["A=1", "B= x y ", "C=q", "D=a\"b"]);
    assert_eq!(env(1), ["A=2", "B= x y ", "C=q", "D=a\"b", "E="]);
    assert!(std::rc::Rc::ptr_eq(
        &table.lines[1].env,
        &table.lines[2].env
    ));
    for text in ["A=\"x", "A='x' y", "A=\"", "INCRON_DIALECT=0.6"] {
        assert_eq!(errors(text).len(), 1, "{text}");
    }
    assert_eq!(warnings("INCRON_FILE=x").len(), 1);
}

#[test]
fn the_old_dialect() {
    let (table, _) = parse_text(
        "INCRON_DIALECT=0.5.10\n/a IN_CREATE c 'd e' f\\ g | $@ $x $$\n/a IN_CREATE,recursive=true c\nINCRON_DIALECT=0.5.12\n/a IN_CREATE c\n",
    );
    let recursive: Vec<bool> = table.lines.iter().map(|l| l.options.recursive).collect();
    assert_eq!(recursive, [false, true, true]);
    let words = table.lines[0].command.arguments().expect("no shell");
    assert_eq!(words, ["c", "'d", "e'", "f g", "|", "$@", "$x", "$"]);
}

#[test]
fn plain_words_need_no_shell() {
    assert_eq!(
        words("/a 8 git commit -m '' \"$@/$#\""),
        ["git", "commit", "-m", "", "$@/$#"]
    );
    assert_eq!(
        words(r#"/a 8 a "b\"c\d" e\ f '\g'"#),
        ["a", "b\"c\\d", "e f", "\\g"]
    );
    assert_eq!(
        words("/a 8 awk '{print $1}' $@$#"),
        ["awk", "{print $1}", "$@$#"]
    );
    assert_eq!(words("/a 8 [ -e $@ ]"), ["[", "-e", "$@", "]"]);
    assert_eq!(
        words("/a 8 find $@ -exec ls {} +"),
        ["find", "$@", "-exec", "ls", "{}", "+"]
    );
    assert_eq!(words("/a 8 echo a$ $$ # it's"), ["echo", "a$", "$"]);
    assert_eq!(words("/a 8 echo a#b"), ["echo", "a#b"]);
}

#[test]
fn shell_syntax_needs_the_shell() {
    for command in [
        "a | b",
        "a > b",
        "a < b",
        "a; b",
        "a && b",
        "a &",
        "echo $HOME",
        "echo $$HOME",
        "echo $(date)",
        "echo `date`",
        "echo \"$(date)\"",
        "echo *.c",
        "echo a?",
        "echo [a]",
        "ls ~",
        "a ~/b",
        "A=b c",
        "A=$@ c",
        "cd /x",
        "source x",
        ". x",
        "if x",
        "{ a",
        "(a)",
        "! a",
        "exec a",
        "echo {a,b}",
        "echo $$$$",
        "echo $\"x\"",
        "a b=~/c",
    ] {
        let text = format!("/a 8 {command}");
        let closed = match command {
            "if x" => "/a 8 if x; then y; fi".to_string(),
            "{ a" => "/a 8 { a; }".to_string(),
            _ => text,
        };
        assert!(line(&closed).command.script().is_some(), "{command}");
    }
}

#[test]
fn shell_yes_and_no() {
    assert_eq!(
        line("/a 8,shell=yes c $#").command.script(),
        Some("c \"${INCRON_FILE}\"".as_ref())
    );
    assert_eq!(
        words("/a 8,shell=no c | $# > *.c $HOME `x"),
        ["c", "|", "$#", ">", "*.c", "$HOME", "`x"]
    );
}

#[test]
fn unclosed_quotes_are_errors_at_their_column() {
    for (command, column) in [
        ("it's", 8),
        ("a \"b", 8),
        ("a `b", 8),
        ("a $(b", 8),
        ("a | 'b", 10),
        ("a ${b", 8),
    ] {
        let errors = errors(&format!("/a 8 {command}"));
        assert_eq!(
            (errors.len(), errors[0].column),
            (1, column),
            "{command}: {errors:?}"
        );
    }
}

#[test]
fn inner_shells_are_warned_about() {
    for command in [
        "sh -c \"echo $#\"",
        "/bin/bash -lc 'x $@'",
        "ssh host rm $#",
        "eval x $#",
        "su -c 'x $#' joe",
        "xargs sh -c 'echo $#'",
        "python3 -c 'print(\"$#\")'",
        "perl -e 'x $#'",
        "a | sh -c 'b $#'",
        "(sh -c 'b $#')",
        "[[ $# -eq 1 ]] && x",
        "[[ -v $# ]]",
        "x[$#]=1; y",
        "[ -v $# ] && x",
        "declare $#=1",
        "read $#",
        "printf -v $# x; y",
        "unset $# && x",
        "sudo ssh h $#",
        "if eval $#; then x; fi",
        "exec eval $#",
        "sudo -u joe bash -c 'x $@/$#'",
    ] {
        assert_eq!(warnings(&format!("/a 8 {command}")).len(), 1, "{command}");
    }
    for command in [
        "sh -c 'use \"$$1\"' sh $@/$#",
        "echo sh $#",
        "systemctl restart ssh $#",
        "export A=$#; x",
        "[[ $# = x ]] && y",
        "[ $# = x ] && [ 1 -eq 2 ]",
        "[ -f $# ] && y -v",
        "[ $# -eq 1 ]",
        "[ $# -eq 1 ] && x",
        "sh $@/$#",
        "sh -c 'x $%'",
        "ssh host date; echo $#",
    ] {
        assert_eq!(warnings(&format!("/a 8 {command}")).len(), 0, "{command}");
    }
}

#[test]
fn differences_are_noted() {
    assert!(
        notes("/a 8 echo $x")
            .iter()
            .any(|n| n.message.contains("drops this dollar"))
    );
    assert!(
        notes("/a 8 c")
            .iter()
            .any(|n| n.message.contains("0.5.10 does not watch"))
    );
    assert!(notes("/a 8,recursive=false c $@/$#").is_empty());
}

#[test]
fn equal_lines_are_the_same_work() {
    let (a, _) = parse_text("/a 8 c\n");
    let (b, _) = parse_text("# moved\n/a 8 c\n/a 8 d\n");
    assert!(a.lines[0].same_work(&b.lines[0]));
    assert!(!a.lines[0].same_work(&b.lines[1]));
    assert_ne!(a.lines[0], b.lines[0]);
}
