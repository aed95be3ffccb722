//! A full queue: everything that changed is told, and nothing twice.

mod watch_kit;

use std::collections::BTreeMap;
use std::fs;

use incron::event::Origin;
use incron::table::Mask;
use watch_kit::Kit;

fn kit(length: u32) -> Option<Kit> {
    let kit = Kit::with_queue(length);
    if kit.is_none() {
        eprintln!("skipped: needs the right to set fs.inotify.max_queued_events");
    }
    kit
}

#[test]
fn twenty_thousand_new_files_through_a_queue_of_64() {
    let Some(mut kit) = kit(64) else { return };
    for d in 0..20 {
        kit.mkdir(&format!("d/{d}"));
    }
    kit.line("d", Mask::CLOSE_WRITE);
    for f in 0..1000 {
        for d in 0..20 {
            kit.write(&format!("d/{d}/{f}"));
        }
    }
    let mut told: BTreeMap<String, u32> = BTreeMap::new();
    for (_, e) in kit.events() {
        *told.entry(kit.relative(e.target().as_ref())).or_default() += 1;
    }
    assert_eq!(told.len(), 20_000);
    assert!(
        told.values().all(|&n| n == 1),
        "{:?}",
        told.iter().find(|(_, n)| **n > 1)
    );
    assert!(kit.source.figures().overflows > 0);
    kit.write("d/3/3");
    assert_eq!(kit.told(), ["CLOSE_WRITE d/3|3"]);
}

#[test]
fn what_was_there_before_is_not_told() {
    let Some(mut kit) = kit(16) else { return };
    kit.mkdir("d");
    kit.write("d/old");
    kit.tick();
    kit.line("d", Mask::CREATE | Mask::CLOSE_WRITE | Mask::MOVED_TO);
    for f in 0..50 {
        kit.write(&format!("d/{f}"));
    }
    let events = kit.events();
    assert!(events.iter().any(|(_, e)| e.origin == Origin::Rescan));
    for f in 0..50 {
        let of: Vec<_> = events
            .iter()
            .filter(|(_, e)| e.name == f.to_string().as_str())
            .map(|(_, e)| kit.text(e))
            .collect();
        assert_eq!(of.len(), 2, "{of:?}");
        assert!(
            of[0].starts_with("CREATE ") && of[1].starts_with("CLOSE_WRITE "),
            "{of:?}"
        );
    }
    assert!(!events.iter().any(|(_, e)| e.name == "old"));
}

#[test]
fn deletions_are_told_to_lines_that_ask_for_them() {
    let Some(mut kit) = kit(16) else { return };
    kit.mkdir("d/s/t");
    for f in 0..50 {
        kit.write(&format!("d/s/{f}"));
    }
    let line = kit.line("d", Mask::DELETE | Mask::DELETE_SELF);
    kit.line("d", Mask::CREATE);
    for f in 0..50 {
        kit.rm(&format!("d/s/{f}"));
    }
    kit.rm("d/s/t");
    let mut told = kit.told_to(line);
    for t in &mut told {
        *t = t.replace(" (rescan)", "");
    }
    told.sort();
    let mut want: Vec<_> = (0..50).map(|f| format!("DELETE d/s|{f}")).collect();
    want.push("DELETE,ISDIR d/s|t".into());
    want.push("DELETE_SELF d/s/t|".into());
    want.sort();
    assert_eq!(told, want);
}

#[test]
fn directories_made_and_moved_meanwhile_are_found() {
    let Some(mut kit) = kit(16) else { return };
    kit.mkdir("d/a/b");
    kit.write("d/a/b/known");
    kit.mkdir("out/x");
    kit.write("out/x/f");
    kit.tick();
    kit.line("d", Mask::CREATE | Mask::MOVED_TO);
    for f in 0..50 {
        kit.write(&format!("d/{f}"));
    }
    kit.mkdir("d/new/deep");
    kit.write("d/new/deep/f");
    kit.mv("out/x", "d/x");
    kit.mv("d/a", "d/c");
    let told = kit.told();
    let has = |text: &str| {
        told.iter()
            .filter(|t| t.replace(" (rescan)", "").replace(" (scan)", "") == text)
            .count()
    };
    assert_eq!(has("CREATE d/new/deep|f"), 1, "{told:?}");
    assert_eq!(has("MOVED_TO d/x|f"), 1, "{told:?}");
    assert!(!told.iter().any(|t| t.contains("known")), "{told:?}");
    kit.write("d/c/b/g");
    kit.write("d/new/deep/g");
    assert_eq!(kit.told(), ["CREATE d/c/b|g", "CREATE d/new/deep|g"]);
}

#[test]
fn a_file_that_is_saved_or_removed_meanwhile_is_told_to_its_line() {
    let Some(mut kit) = kit(16) else { return };
    kit.write("f");
    kit.write("g");
    let f = kit.line("f", Mask::CLOSE_WRITE);
    let g = kit.line("g", Mask::DELETE_SELF);
    kit.mkdir("noise");
    kit.line("noise", Mask::CREATE);
    kit.tick();
    for i in 0..50 {
        kit.write(&format!("noise/{i}"));
    }
    fs::write(kit.path("f"), b"longer").unwrap();
    kit.rm("g");
    let events = kit.events();
    let of = |line| {
        events
            .iter()
            .filter(|(l, _)| *l == line)
            .map(|(_, e)| kit.text(e))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(f), ["CLOSE_WRITE f| (rescan)"]);
    assert_eq!(of(g), ["DELETE_SELF g| (rescan)"]);
}

#[test]
fn a_line_on_everything_does_not_overflow_by_our_own_reading() {
    let Some(mut kit) = kit(64) else { return };
    for d in 0..500 {
        kit.mkdir(&format!("d/{d}"));
    }
    kit.line("d", Mask::ALL_EVENTS);
    assert_eq!(kit.told(), [""; 0]);
    for f in 0..100 {
        kit.write(&format!("d/{f}/f"));
    }
    let events = kit.events();
    let of = |bit| {
        events
            .iter()
            .filter(|(_, e)| e.mask.intersects(bit) && e.name == "f")
            .count()
    };
    assert_eq!((of(Mask::CREATE), of(Mask::CLOSE_WRITE)), (100, 100));
    assert_eq!(kit.source.figures().overflows, 1);
}
