//! What the kernel might write into the buffer of a fanotify group: no bytes are read
//! that are not there, and reading comes to an end.

#![no_main]

use libfuzzer_sys::fuzz_target;

// It is nobody's but the source's, so it is taken as a file.
#[allow(dead_code)]
#[path = "../../src/watch/fanotify/parse.rs"]
mod parse;

fuzz_target!(|bytes: &[u8]| {
    let mut records = Vec::new();
    let whole = parse::records(bytes, 0, &mut records);
    assert!(records.len() <= bytes.len() / 24 && (whole || !bytes.is_empty()));
    for r in &records {
        for span in [r.from.0, r.from.1, r.to.0, r.to.1, r.target] {
            assert!(span.is_empty() || !span.of(bytes).is_empty(), "{r:?}");
        }
        let name = [r.from.1.of(bytes), r.to.1.of(bytes)].concat();
        assert!(!name.contains(&0), "{r:?}");
    }
});
