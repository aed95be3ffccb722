//! Promises about stream commands, kept with real processes.

mod run_support;

use std::fs;
use std::time::Duration;

use incron::run::stream::{Limits, StreamId};
use run_support::{Loop, sh};

fn open(the: &mut Loop, text: &str, lines: usize) -> StreamId {
    let mut job = sh(text);
    job.kill_after = Duration::from_millis(50);
    let now = the.now();
    the.streams.open(
        job,
        Limits {
            lines,
            bytes: 16 << 20,
        },
        now,
    )
}

fn push(the: &mut Loop, id: StreamId, numbers: std::ops::Range<usize>) {
    for n in numbers {
        the.streams.push(
            id,
            format!("{{\"seq\":{n}}}").as_bytes(),
            n.to_string().as_bytes(),
        );
    }
}

fn events(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|n| format!("{{\"seq\":{n}}}\n")).collect()
}

#[test]
fn one_process_reads_all_events_in_order_and_ends_at_end_of_file() {
    let mut the = Loop::new();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("events");
    let id = open(&mut the, &format!("exec cat >{}", file.display()), 1 << 20);
    // Many times what the pipe holds.
    push(&mut the, id, 0..200_000);
    the.until(|the| the.streams.counts(id).unwrap().1 == 0);
    let now = the.now();
    the.streams.close(id, Duration::from_secs(60), now);
    the.until(|the| the.streams.is_over(id));
    assert!(the.streams.remove(id).is_empty());
    assert!(fs::read_to_string(&file).unwrap() == events(0..200_000));
    assert_eq!(the.stream_lives, 1);
}

#[test]
fn what_a_process_did_not_read_goes_to_the_next() {
    let mut the = Loop::new();
    // Each life reads a line, and half of the next one, and dies.
    let text = "read -r line; echo \"$line\"; head -c 4 >/dev/null";
    let id = open(&mut the, text, 1000);
    push(&mut the, id, 0..8);
    for lives in 1..8 {
        the.until(|the| the.stream_lives == lives);
        // Whatever the pause was.
        the.skew += Duration::from_secs(60);
    }
    the.until(|the| the.all_lines().len() == 8);
    assert_eq!(the.all_lines().join("\n") + "\n", events(0..8));
    let counts = the.streams.counts(id).unwrap().0;
    assert!(counts.lost == 0 && counts.again > 0, "{counts:?}");
    let now = the.now();
    the.streams.close(id, Duration::ZERO, now);
    the.until(|the| the.streams.is_over(id));
}

#[test]
fn one_that_never_reads_costs_bounded_memory_and_a_counted_loss() {
    let mut the = Loop::new();
    let id = open(
        &mut the,
        "trap '' TERM; exec <&-; echo ready; while :; do sleep 1000; done",
        100,
    );
    the.until(|the| the.all_lines() == ["ready"]);
    // Far more than the pipe holds, of a path each; then again, of the same paths.
    for _ in 0..2 {
        for start in (0..50_000).step_by(50) {
            push(&mut the, id, start..start + 50);
            let now = the.now();
            the.streams.process(now, &mut the.runner);
        }
    }
    let (counts, waiting) = the.streams.counts(id).unwrap();
    assert_eq!(waiting, 100);
    assert!(counts.lost > 50_000 && counts.merged == 100, "{counts:?}");
    // End of file and TERM are not enough for this one.
    let now = the.now();
    the.streams.close(id, Duration::from_millis(10), now);
    the.until(|the| the.streams.is_over(id));
    // What it was given and what waited can be saved.
    let saved = the.streams.remove(id);
    assert!(
        saved.len() > 100 && saved[0] == b"{\"seq\":0}\n",
        "{}",
        saved.len()
    );
    assert_eq!(the.children(), Vec::<i32>::new());
}

#[test]
fn one_that_ends_at_once_is_started_again_with_growing_pauses() {
    let mut the = Loop::new();
    let start = the.now();
    open(&mut the, "exit 1", 10);
    the.until(|the| the.stream_lives == 2);
    let mut pauses = Vec::new();
    for lives in 3..11 {
        let due = the.streams.deadline().unwrap();
        pauses.push((due - the.stream_end).as_secs());
        the.skew += due - the.now();
        the.until(|the| the.stream_lives == lives);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert!(the.now() - start > Duration::from_secs(180));
}

#[test]
fn one_that_cannot_be_started_is_tried_again() {
    let mut the = Loop::new();
    let mut job = sh("");
    job.argv = vec!["/no/such/program".into()];
    let now = the.now();
    let id = the.streams.open(job, Limits::default(), now);
    push(&mut the, id, 0..3);
    the.streams.process(now, &mut the.runner);
    the.streams.process(now, &mut the.runner);
    assert!(the.streams.deadline().unwrap() > now);
    assert_eq!(the.streams.counts(id).unwrap().1, 3);
    the.streams.close_all(Duration::ZERO, now);
    assert!(the.streams.is_over(id));
    assert_eq!(the.streams.remove(id).concat(), events(0..3).into_bytes());
}
