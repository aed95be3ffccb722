//! What is written is JSON, is read back exactly, and never trips on bytes.

use super::*;
use crate::event::{Actor, Confidence, Parent};
use proptest::prelude::*;
use std::path::PathBuf;

fn context() -> EventContext<'static> {
    EventContext {
        host: "h",
        table: "t",
        line: 3,
        key: "k",
    }
}

fn event(watch: &[u8], name: &[u8]) -> Event {
    Event {
        mask: Mask::CREATE | Mask::ISDIR,
        watch: OsString::from_vec(watch.to_vec()),
        name: OsString::from_vec(name.to_vec()),
        old_path: None,
        time: moment(1, 2),
        origin: Origin::Kernel,
        actor: None,
        seq: 9,
        labels: None,
    }
}

#[test]
fn the_whole_text() {
    assert_eq!(
        event(b"/a", b"x\"\n\x1f").to_json(&context()),
        r#"{"time":"1970-01-01T00:00:01.000000002Z","host":"h","table":"t","line":3,"key":"k","#
            .to_string()
            + r#""watch":"/a","name":"x\"\n\u001f","path":"/a/x\"\n\u001f","#
            + r#""events":["IN_CREATE"],"mask":1073742080,"dir":true,"origin":"kernel","seq":9}"#
    );
}

#[test]
fn bytes_that_are_not_utf8_are_beside() {
    let json = event(b"/a", b"\xff").to_json(&context());
    assert!(json.contains(r#""name":"�","name_raw":"/w==""#), "{json}");
    assert!(json.contains(r#""path_raw":"L2Ev/w==""#), "{json}");
    assert!(!json.contains("watch_raw"));
}

#[test]
fn rubbish_is_an_error() {
    for text in ["", "{}", "[]", "null", r#"{"time":"x"}"#] {
        assert!(Event::from_json(text).is_err(), "{text}");
    }
    let good = event(b"/a", b"\xff").to_json(&context());
    assert!(Event::from_json(&good.replace("kernel", "moon")).is_err());
    assert!(Event::from_json(&good.replace("/w==", "/w=")).is_err());
    assert!(Event::from_json(&good.replace("1970", "1960")).is_err());
    assert!(Event::from_json(&good.replace("{\"time", "{\"new\":1,\"time")).is_ok());
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(1u8.., 0..20)
}

prop_compose! {
    fn any_event()(
        mask in any::<u32>(), seq: u64, watch in any_bytes(), name in any_bytes(),
        old in proptest::option::of(any_bytes()), secs in 0u64..4_000_000_000, nanos in 0u32..1_000_000_000,
        origin in 0usize..5, actor in proptest::option::of((
            any::<i32>(), any::<Option<u32>>(), proptest::option::of(any_bytes()),
            proptest::collection::vec(any_bytes(), 0..4), 0usize..4,
        )),
        labels in proptest::option::of(proptest::collection::btree_map(".*", ".*", 0..3)),
    ) -> Event {
        let path = |bytes: Vec<u8>| PathBuf::from(OsString::from_vec(bytes));
        Event {
            mask: Mask(mask),
            watch: OsString::from_vec(watch),
            name: OsString::from_vec(name),
            old_path: old.map(path),
            time: moment(secs, nanos),
            origin: [Origin::Kernel, Origin::Scan, Origin::Rescan, Origin::Offline, Origin::Poll][origin],
            actor: actor.map(|(pid, uid, exe, words, confidence)| Rc::new(Actor {
                pid,
                uid,
                login_uid: uid,
                ppid: uid.map(|_| pid),
                parents: exe.iter().map(|exe| Parent { pid, exe: Some(path(exe.clone())) }).collect(),
                exe: exe.map(path),
                user: words.first().map(|word| String::from_utf8_lossy(word).into_owned()),
                cmdline: words.into_iter().map(OsString::from_vec).collect(),
                confidence: [Confidence::Exact, Confidence::Late, Confidence::Pid, Confidence::None][confidence],
                ..Actor::default()
            })),
            seq,
            labels: labels.map(Rc::new),
        }
    }
}

proptest! {
    #[test]
    fn round_trip(event in any_event(), host in ".*", key in ".*", line: u32) {
        let context = EventContext { host: &host, table: "t", line, key: &key };
        let json = event.to_json(&context);
        prop_assert!(!json.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(value["dir"].as_bool(), Some(event.mask.intersects(Mask::ISDIR)));
        let read = Event::from_json(&json).unwrap();
        prop_assert_eq!(&read.event, &event);
        prop_assert_eq!(read.context(), context);
    }

    #[test]
    fn reading_is_total(text in ".*") {
        let _ = Event::from_json(&text);
    }
}
