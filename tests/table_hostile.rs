//! No bytes make the parser panic, hang, or lose the lines beside them.

mod table_common;

use incron::table::{Dialect, Filter, Pattern, Severity, parse, render};
use proptest::prelude::*;
use table_common::{context, parse_text};

/// Every consumer of a table's bytes.
fn all(bytes: &[u8]) {
    for dialect in [Dialect::V0_5_10, Dialect::V0_5_12] {
        for system in [false, true] {
            let (table, diagnostics) = parse(bytes, &context(dialect, system));
            let text = render(&diagnostics, bytes, "t", Severity::Note, true);
            assert_eq!(text.is_empty(), diagnostics.is_empty());
            incron::table::explain(&table, &diagnostics, "/bin/sh".as_ref(), &|_| String::new());
            for line in &table.lines {
                assert!(!line.mask.events().is_empty());
                assert!(!line.command.text.is_empty());
                Filter::new(&line.options).expect("checked by the parser");
                Pattern::compile(&line.path).expect("checked by the parser");
            }
            for d in &diagnostics {
                assert!(!d.message.chars().any(char::is_control), "{:?}", d.message);
                assert!(d.line >= 1 && d.column >= 1);
            }
        }
    }
}

/// Pieces from which random tables are made that go deep into the language.
const PIECES: [&str; 48] = [
    "/a",
    "/b c",
    "\\",
    "\"",
    "'",
    " ",
    "\t",
    "\n",
    "\r\n",
    "#",
    "IN_CREATE",
    "IN_CLOSE_WRITE",
    "close_write",
    "IN_ISDIR",
    ",",
    "=",
    "12",
    "0x8",
    "-1",
    "settle=2s",
    "batch=3",
    "include=*.{a,b}",
    "exclude=/x/",
    ":",
    "run=stream",
    "stdin=json",
    "$@",
    "$#",
    "$$",
    "$",
    "$(",
    ")",
    "((",
    "))",
    "${x:-",
    "}",
    "`",
    "|",
    "<<",
    "case",
    "esac",
    "sh -c",
    "A=1",
    "INCRON_DIALECT=0.5.10",
    "*",
    "[a-",
    "{a,b}",
    "\u{202e}",
];

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        all(&bytes);
    }

    #[test]
    fn any_line_after_a_good_start(rest in proptest::collection::vec(any::<u8>(), 0..100), mask in any::<bool>()) {
        let start: &[u8] = if mask { b"/a 8," } else { b"/a 8 " };
        all(&[start, &rest].concat());
    }

    #[test]
    fn any_pieces(pieces in proptest::collection::vec(0..PIECES.len(), 0..40)) {
        let text: String = pieces.into_iter().map(|i| PIECES[i]).collect();
        all(text.as_bytes());
        all(format!("/a 8 {text}").as_bytes());
        all(format!("/a 8,{text} c").as_bytes());
    }
}

#[test]
fn nul_bytes_and_other_rubbish() {
    let (table, diagnostics) = parse_text("/a 8 c\n/b\0 8 c\n\0\0\n/c 8 c\n");
    assert_eq!(table.lines.len(), 2);
    let errors: Vec<(u32, u32)> = diagnostics
        .iter()
        .filter(|d| d.severity == Severity::Error)
        .map(|d| (d.line, d.column))
        .collect();
    assert_eq!(errors, [(2, 3), (3, 1)]);
    all(&[0; 10_000]);
    all(&[0xff; 10_000]);
}

#[test]
fn file_names_are_any_bytes_and_options_are_not() {
    let c = context(Dialect::V0_5_12, false);
    let (table, _) = parse(
        b"/\xff 8 \xfe $@\n/a 8,include=\xff c\n/a 8,\xff c\n/a 8,key=\xff c\n",
        &c,
    );
    assert_eq!(table.lines.len(), 1);
    assert_eq!(table.lines[0].path.written.as_encoded_bytes(), b"/\xff");
}

/// Shapes that would take hours if any step were quadratic.
#[test]
fn long_lines_and_long_tables_take_no_time() {
    let fill = |start: &str, unit: &str, end: &str| {
        let line = format!("{start}{}{end}", unit.repeat((63 * 1024) / unit.len()));
        let mut table = String::new();
        while table.len() + line.len() < 256 * 1024 {
            table.push_str(&line);
            table.push('\n');
        }
        table
    };
    for table in [
        fill("/a 8 ", "{", ""),
        fill("/a 8 ", "[", ""),
        fill("/a 8 ", "'", "'"),
        fill("/a 8 ", "$(", ""),
        fill("/a 8 ", "`", ""),
        fill("/a 8 | ", "$@", ""),
        fill("/a 8 | ", "\\`", ""),
        fill("/a 8 sh -c ", "$# ", ""),
        fill("/a 8 ", "${a:-", ""),
        fill("/a ", "x,", "8 c"),
        fill("/a ", "settle=1s,", "8 c"),
        fill("/a 8,include=", "{a,", " c"),
        fill("/a 8,include=", "a:", "a c"),
        fill("/a 8,include=", "*a", " c"),
        fill("/a 8,include=", "[[", " c"),
        fill("/", "{a", " 8 c"),
        fill("/", "{a,b}", " 8 c"),
        fill("/", "\\ ", " 8 c"),
        fill("", "\"", ""),
        fill("", "#", ""),
        "x\n".repeat(512 * 1024),
        "/ 8 c\n".repeat(170_000),
        "/ xIN_A c\n".repeat(90_000),
        "/ 8,xy=1 c\n".repeat(90_000),
        "A=b\n/ 8 c\n".repeat(100_000),
        (0..70_000).map(|i| format!("A{i}=\n/ 8 c\n")).collect(),
        "\n".repeat(1024 * 1024),
    ] {
        let table = &table.as_bytes()[..table.len().min(1024 * 1024)];
        let (lines, diagnostics) = parse(table, &context(Dialect::V0_5_12, false));
        assert!(diagnostics.len() <= 2001, "{}", diagnostics.len());
        assert!(lines.lines.len() <= 180_000);
        let text = render(&diagnostics, table, "t", Severity::Error, false);
        assert!(text.len() < 2_000_000, "{}", text.len());
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let (table, diagnostics) = parse_text(&format!("/a 8 {}\n/b 8 c\n", "x".repeat(64 * 1024)));
    assert_eq!((table.lines.len(), diagnostics[0].line), (1, 1));
    assert!(diagnostics[0].message.contains("65536"), "{diagnostics:?}");
    let (table, diagnostics) = parse_text(&"#\n".repeat(600 * 1024));
    assert_eq!((table.lines.len(), diagnostics.len()), (0, 1));
}
