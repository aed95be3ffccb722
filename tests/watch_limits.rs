//! Limits: what could be watched is, what is missing is told, and tried again.

mod watch_kit;

use std::fs;
use std::process::Command;

use incron::table::Mask;
use incron::time::Moment;
use incron::watch::Source;
use watch_kit::Kit;

const LIMIT: &str = "/proc/sys/user/max_inotify_watches";

/// Limits are set in a user namespace of its own, which needs another process.
#[test]
fn a_full_table_is_told_once_and_tried_again() {
    let script =
        format!("echo 12 >{LIMIT} && exec \"$0\" --exact --ignored --nocapture inner_full_table");
    let exe = std::env::current_exe().unwrap();
    let run = Command::new("unshare")
        .args(["-U", "-r", "sh", "-c", &script])
        .arg(exe)
        .output();
    let Ok(run) = run else {
        return eprintln!("skipped: no unshare(1)");
    };
    let text =
        String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    if text.contains("unshare failed") || text.contains("Permission denied") {
        return eprintln!("skipped: {text}");
    }
    assert!(run.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by a_full_table_is_told_once_and_tried_again"]
fn inner_full_table() {
    let mut kit = Kit::new();
    for i in 0..20 {
        kit.mkdir(&format!("d/{i}"));
    }
    let line = kit.line("d", Mask::CREATE);
    assert_eq!(kit.problems.len(), 1, "{:?}", kit.problems);
    let message = &kit.problems[0].message;
    assert!(kit.problems[0].serious);
    for part in ["fs.inotify.max_user_watches", "/d: ", "missing"] {
        assert!(message.contains(part), "{message}");
    }
    kit.write("d/top");
    assert_eq!(kit.told_to(line), ["CREATE d|top"]);
    kit.tick();
    for i in 0..20 {
        kit.write(&format!("d/{i}/f"));
    }
    let before = kit.told().len();
    assert!(before < 20);
    let first = kit.source.deadline().unwrap();
    let mut out = Vec::new();
    kit.source.tick(first, &mut out);
    assert!(out.is_empty(), "told again: {out:?}");
    let second = kit.source.deadline().unwrap();
    assert!(second > first, "the pause grows");
    fs::write(LIMIT, "1000").unwrap();
    kit.source.tick(Moment(second.0), &mut out);
    assert_eq!(kit.source.deadline(), None);
    // What happened meanwhile where nothing was watched is told now.
    let told = out
        .iter()
        .filter(|r| matches!(r, incron::watch::Report::Event(..)))
        .count();
    assert_eq!(before + told, 20);
    assert!(
        out.iter()
            .any(|r| matches!(r, incron::watch::Report::Problem(_, p) if !p.serious))
    );
    for i in 0..20 {
        kit.write(&format!("d/{i}/g"));
    }
    assert_eq!(kit.told().len(), 20);
}

#[test]
fn without_problems_nothing_wakes_us() {
    let mut kit = Kit::new();
    kit.mkdir("d/s");
    kit.line("d", Mask::ALL_EVENTS);
    kit.line("missing/x", Mask::CREATE);
    kit.write("d/s/f");
    kit.told();
    assert_eq!(kit.source.deadline(), None);
    assert!(!kit.readable());
}
