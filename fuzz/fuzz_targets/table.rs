//! The text of a user's table, hostile: it is parsed, told about and explained in each
//! dialect, and what the parser has accepted needs no further check.

#![no_main]

use incron::table::{Context, Dialect, Filter, Pattern, Severity, explain, parse, render};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for dialect in [Dialect::V0_5_10, Dialect::V0_5_12] {
        for system in [false, true] {
            let context = Context {
                origin: "fuzz".into(),
                name: "fuzz".into(),
                dialect,
                system,
            };
            let (table, diagnostics) = parse(bytes, &context);
            let text = render(&diagnostics, bytes, "t", Severity::Note, true);
            assert_eq!(text.is_empty(), diagnostics.is_empty());
            explain(&table, &diagnostics, "/bin/sh".as_ref(), &|_| String::new());
            for line in &table.lines {
                assert!(!line.mask.events().is_empty());
                assert!(!line.command.text.is_empty());
                assert!(Filter::new(&line.options).is_ok());
                assert!(Pattern::compile(&line.path).is_ok());
            }
            for d in &diagnostics {
                assert!(!d.message.chars().any(char::is_control), "{:?}", d.message);
                assert!(d.line >= 1 && d.column >= 1);
            }
        }
    }
});
