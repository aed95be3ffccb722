//! Each option that decides when, in the smallest example that shows what it promises.

use std::ffi::OsString;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use incron::event::{Actor, Confidence, Event, LineId, Origin};
use incron::schedule::{Action, RunId, Scheduler};
use incron::table::{Batch, Busy, Limit, Mask, Options};
use incron::time::Moment;

const LINE: LineId = LineId(1);

fn event(name: &str, mask: Mask) -> Event {
    Event {
        mask,
        watch: OsString::from("/srv"),
        name: OsString::from(name),
        old_path: None,
        time: SystemTime::UNIX_EPOCH,
        origin: Origin::Kernel,
        actor: None,
        seq: 1,
        labels: None,
    }
}

/// A scheduler with one line and a clock in milliseconds.
struct Bench {
    scheduler: Scheduler,
    now: Moment,
    runs: Vec<RunId>,
}

impl Bench {
    fn new(options: Options) -> Self {
        Self::with_jobs(64, options)
    }

    fn with_jobs(max_jobs: usize, options: Options) -> Self {
        let mut scheduler = Scheduler::new(max_jobs);
        scheduler.set_line(LINE, &options);
        Self {
            scheduler,
            now: Moment(0),
            runs: Vec::new(),
        }
    }

    fn at(&mut self, ms: u64) -> &mut Self {
        self.now = Moment(ms * 1_000_000);
        self
    }

    fn change(&mut self, name: &str) -> &mut Self {
        self.give(event(name, Mask::CLOSE_WRITE))
    }

    fn give(&mut self, event: Event) -> &mut Self {
        self.scheduler.event(LINE, Rc::new(event), self.now);
        self
    }

    /// What is to be done now, as text: `run a b`, `retry1 a`, `kill`, `notice`.
    fn look(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(action) = self.scheduler.next(self.now) {
            all.push(match action {
                Action::Start {
                    run,
                    events,
                    attempt,
                    ..
                } => {
                    self.runs.push(run);
                    let names: Vec<_> = events.iter().map(|e| e.name.to_string_lossy()).collect();
                    let what = if attempt == 0 {
                        "run".into()
                    } else {
                        format!("retry{attempt}")
                    };
                    format!("{what} {}", names.join(" "))
                }
                Action::Kill { .. } => "kill".into(),
                Action::Notice(_, text) => text,
            });
        }
        all
    }

    /// The oldest run ends.
    fn end(&mut self, success: bool) -> &mut Self {
        let run = self.runs.remove(0);
        self.scheduler.finished(run, success, self.now);
        self
    }

    fn deadline(&self) -> Option<u64> {
        self.scheduler.deadline().map(|m| m.0 / 1_000_000)
    }

    fn expect(&mut self, actions: &[&str]) -> &mut Self {
        assert_eq!(self.look(), actions);
        self
    }
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn without_options_every_event_runs_at_once() {
    let mut b = Bench::new(Options::default());
    b.change("a")
        .change("a")
        .change("b")
        .expect(&["run a", "run a", "run b"]);
    assert_eq!(b.deadline(), None);
    b.end(true).end(true).end(false);
    assert!(b.scheduler.idle());
}

#[test]
fn settle_runs_once_the_path_is_quiet() {
    let mut b = Bench::new(Options {
        settle: ms(200),
        ..Options::default()
    });
    b.at(0)
        .change("a")
        .at(100)
        .change("a")
        .change("b")
        .expect(&[]);
    assert_eq!(b.deadline(), Some(300));
    b.at(299).expect(&[]);
    b.at(300).expect(&["run a", "run b"]);
}

#[test]
fn merged_events_keep_every_bit_the_last_time_and_the_old_path() {
    let mut b = Bench::new(Options {
        settle: ms(10),
        ..Options::default()
    });
    let renamed = Event {
        old_path: Some(PathBuf::from("/srv/old")),
        ..event("a", Mask::MOVED_TO)
    };
    let later = SystemTime::UNIX_EPOCH + ms(5);
    b.give(renamed).give(Event {
        time: later,
        ..event("a", Mask::MODIFY)
    });
    b.at(10);
    let Some(Action::Start { events, .. }) = b.scheduler.next(b.now) else {
        panic!("no start")
    };
    let [merged] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(merged.mask, Mask::MOVED_TO | Mask::MODIFY);
    assert_eq!(merged.old_path, Some(PathBuf::from("/srv/old")));
    assert_eq!(merged.time, later);
}

#[test]
fn a_path_with_a_slash_behind_it_is_the_same_path() {
    let mut b = Bench::new(Options {
        settle: ms(10),
        ..Options::default()
    });
    for watch in ["/srv/d", "/srv/d/", "/srv/d//", "/", "//"] {
        b.give(Event {
            watch: watch.into(),
            name: OsString::new(),
            ..event("", Mask::ATTRIB)
        });
    }
    assert_eq!(b.scheduler.counters(LINE).merged, 3);
}

#[test]
fn max_wait_is_never_late() {
    let mut b = Bench::new(Options {
        settle: ms(100),
        max_wait: Some(ms(250)),
        ..Options::default()
    });
    for t in [0, 90, 180, 240] {
        b.at(t).change("a").expect(&[]);
    }
    assert_eq!(b.deadline(), Some(250));
    b.at(250).expect(&["run a"]);
    // Ten times settle where the line does not say.
    let mut b = Bench::new(Options {
        settle: ms(100),
        ..Options::default()
    });
    for t in 0..20 {
        b.at(t * 50).change("a").expect(&[]);
    }
    b.at(999).change("a").expect(&[]);
    b.at(1000).expect(&["run a"]);
}

#[test]
fn a_million_events_of_a_path_take_one_place() {
    let mut b = Bench::new(Options {
        settle: ms(1000),
        ..Options::default()
    });
    let shared = Rc::new(event("a", Mask::MODIFY));
    for n in 0..1_000_000 {
        b.scheduler.event(LINE, Rc::clone(&shared), Moment(n));
    }
    // Only the last is held: the scheduler keeps nothing of the others.
    assert_eq!(Rc::strong_count(&shared), 2);
    let counters = b.scheduler.counters(LINE);
    assert_eq!((counters.waiting, counters.merged), (1, 999_999));
}

#[test]
fn batch_of_a_time_is_one_run_for_all_paths() {
    let mut b = Bench::new(Options {
        batch: Some(Batch::Time(ms(500))),
        ..Options::default()
    });
    b.at(0)
        .change("a")
        .at(400)
        .change("b")
        .change("a")
        .expect(&[]);
    assert_eq!(b.deadline(), Some(500));
    b.at(500).expect(&["run a b"]);
}

#[test]
fn batch_of_a_number_counts_paths_and_does_not_wait_for_ever() {
    let options = Options {
        batch: Some(Batch::Count(2)),
        ..Options::default()
    };
    let mut b = Bench::new(options.clone());
    b.change("a").change("a").expect(&[]);
    b.change("b").expect(&["run a b"]);
    b.at(100).change("c").expect(&[]);
    assert_eq!(b.deadline(), Some(10_100));
    b.at(10_100).expect(&["run c"]);
    let mut b = Bench::new(Options {
        max_wait: Some(ms(300)),
        ..options
    });
    b.change("a").at(300).expect(&["run a"]);
}

#[test]
fn settled_paths_enter_the_batch() {
    let options = Options {
        settle: ms(100),
        batch: Some(Batch::Time(ms(1000))),
        ..Options::default()
    };
    let mut b = Bench::new(options.clone());
    b.at(0)
        .change("a")
        .at(50)
        .change("a")
        .at(500)
        .change("b")
        .expect(&[]);
    // a settles at 150 and begins the batch; b settles at 600.
    b.at(1149).expect(&[]);
    b.at(1150).expect(&["run a b"]);
    // A written max-wait bounds both together.
    let mut b = Bench::new(Options {
        max_wait: Some(ms(400)),
        ..options
    });
    b.at(0).change("a").at(100).expect(&[]);
    b.at(400).expect(&["run a"]);
}

#[test]
fn queue_runs_once_more_for_all_that_came() {
    let mut b = Bench::new(Options {
        busy: Busy::Queue,
        ..Options::default()
    });
    b.change("a").expect(&["run a"]);
    b.change("b").change("a").change("b").expect(&[]);
    b.end(true).expect(&["run b a"]);
    b.end(true).expect(&[]);
    assert!(b.scheduler.idle());
}

#[test]
fn skip_drops_and_counts_what_comes_during_a_run() {
    let mut b = Bench::new(Options {
        busy: Busy::Skip,
        ..Options::default()
    });
    // Three events of one save, read at once.
    b.change("a").change("a").change("a").expect(&["run a"]);
    b.change("b").end(true).expect(&[]);
    assert_eq!(b.scheduler.counters(LINE).skipped, 3);
    b.change("b").expect(&["run b"]);
}

#[test]
fn skip_does_not_drop_what_waits_for_a_limit() {
    let limit = Limit {
        runs: 1,
        per: ms(1000),
    };
    let mut b = Bench::new(Options {
        busy: Busy::Skip,
        limit,
        ..Options::default()
    });
    b.at(0).change("a").expect(&["run a"]);
    b.at(10).end(true).change("b").look();
    b.at(1000).expect(&["run b"]);
}

#[test]
fn restart_kills_the_run_and_starts_with_the_new_events_when_it_ended() {
    let mut b = Bench::new(Options {
        busy: Busy::Restart,
        retry: 3,
        ..Options::default()
    });
    b.change("a").expect(&["run a"]);
    b.change("b").change("c").expect(&["kill"]);
    b.change("b").expect(&[]);
    b.end(false).expect(&["run b c"]);
    b.end(true);
    assert!(b.scheduler.idle(), "the killed run is not retried");
}

#[test]
fn restart_of_a_run_that_ended_meanwhile_kills_nothing() {
    let mut b = Bench::new(Options {
        busy: Busy::Restart,
        ..Options::default()
    });
    b.change("a").expect(&["run a"]);
    b.change("b").end(true).expect(&["run b"]);
}

#[test]
fn jobs_bounds_the_line_and_max_jobs_all_lines() {
    let mut b = Bench::with_jobs(
        3,
        Options {
            jobs: Some(2),
            ..Options::default()
        },
    );
    b.scheduler.set_line(LineId(2), &Options::default());
    b.change("a")
        .change("b")
        .change("c")
        .expect(&["run a", "run b"]);
    for name in ["x", "y"] {
        b.scheduler
            .event(LineId(2), Rc::new(event(name, Mask::MODIFY)), b.now);
    }
    b.expect(&["run x"]);
    b.end(true).expect(&["run y"]);
    b.end(true).expect(&["run c"]);
}

#[test]
fn what_goes_to_a_stream_takes_no_job_and_waits_for_none() {
    let mut b = Bench::with_jobs(1, Options::default());
    let stream = Options {
        stream: true,
        settle: ms(100),
        ..Options::default()
    };
    b.scheduler.set_line(LineId(2), &stream);
    b.change("a").change("b").expect(&["run a"]);
    for name in ["x", "y"] {
        b.scheduler
            .event(LineId(2), Rc::new(event(name, Mask::MODIFY)), b.now);
    }
    b.at(100).expect(&["run x", "run y"]);
    // Their end gives room to nobody; that of `a` does.
    b.runs.rotate_left(1);
    b.end(true).end(true).expect(&[]);
    b.end(true).expect(&["run b"]);
    // As another line it has a turn like any.
    b.scheduler
        .event(LineId(2), Rc::new(event("z", Mask::MODIFY)), b.now);
    b.scheduler.set_line(
        LineId(2),
        &Options {
            stream: false,
            ..stream
        },
    );
    b.at(300).expect(&[]);
    b.end(true).expect(&["run z"]);
}

#[test]
fn lines_take_turns() {
    let mut b = Bench::with_jobs(1, Options::default());
    b.scheduler.set_line(LineId(2), &Options::default());
    for name in ["a", "b", "c", "d"] {
        b.change(name);
    }
    for name in ["x", "y"] {
        b.scheduler
            .event(LineId(2), Rc::new(event(name, Mask::MODIFY)), b.now);
    }
    for next in ["run a", "run b", "run x", "run c", "run y", "run d"] {
        b.expect(&[next]).end(true);
    }
}

#[test]
fn limit_slows_merges_by_path_and_tells_once() {
    let limit = Limit {
        runs: 2,
        per: ms(1000),
    };
    let mut b = Bench::new(Options {
        limit,
        ..Options::default()
    });
    b.at(0).change("a").expect(&["run a"]);
    b.at(500).change("b").expect(&["run b"]);
    let begins = "limit=2/1s: 2 runs in the last 600ms; slowed, what waits is merged by path";
    b.at(600)
        .change("c")
        .change("c")
        .change("d")
        .expect(&[begins]);
    assert_eq!(b.deadline(), Some(1000));
    b.at(1000).expect(&["run c"]);
    b.at(1500).expect(&["run d"]);
    // Nothing was held back for a whole second.
    let over = "limit=2/1s: no longer slowed, after 1.400s; 1 events were merged";
    assert_eq!(b.deadline(), Some(1600));
    b.at(1600).look();
    assert_eq!(b.deadline(), Some(2000));
    b.at(2000).expect(&[over]);
    let counters = b.scheduler.counters(LINE);
    assert_eq!(
        (counters.merged, counters.waited, counters.slowed),
        (1, 2, 1)
    );
}

/// All of it came at once, and each second has room for two: that is one slowdown.
#[test]
fn a_limit_is_not_over_while_something_waits_for_it() {
    let limit = Limit {
        runs: 2,
        per: ms(1000),
    };
    let mut b = Bench::new(Options {
        limit,
        ..Options::default()
    });
    for name in ["a", "b", "c", "d", "e", "f"] {
        b.at(0).change(name);
    }
    let begins = "limit=2/1s: 2 runs in the last 0ms; slowed, what waits is merged by path";
    b.expect(&[begins, "run a", "run b"]);
    b.at(1010).expect(&["run c", "run d"]);
    b.at(2020).expect(&["run e", "run f"]);
    let over = "limit=2/1s: no longer slowed, after 3.020s; 0 events were merged";
    b.at(3020).expect(&[over]);
    assert_eq!(b.scheduler.counters(LINE).slowed, 1);
}

/// The worker fetches a start a moment after it gave the event: nothing held that back.
#[test]
fn only_what_was_held_back_has_waited() {
    let mut b = Bench::new(Options {
        jobs: Some(1),
        ..Options::default()
    });
    b.at(0).change("a");
    b.at(1).expect(&["run a"]);
    assert_eq!(b.scheduler.counters(LINE).waited, 0);
    b.at(2).change("b").expect(&[]);
    b.at(3).end(true).expect(&["run b"]);
    assert_eq!(b.scheduler.counters(LINE).waited, 1);
}

#[test]
fn no_window_of_a_limit_holds_more_wherever_it_begins() {
    let limit = Limit {
        runs: 3,
        per: ms(1000),
    };
    let mut b = Bench::new(Options {
        limit,
        ..Options::default()
    });
    let mut starts: Vec<u64> = Vec::new();
    for t in (0..10_000).step_by(7) {
        b.at(t).change(&t.to_string());
        starts.extend(b.look().iter().filter(|a| a.starts_with("run")).map(|_| t));
    }
    assert!(starts.windows(4).all(|w| w[3] - w[0] >= 1000), "{starts:?}");
    assert!(starts.len() >= 28, "slowed, not stopped: {}", starts.len());
}

#[test]
fn a_flood_behind_a_slow_command_is_bounded_by_its_paths() {
    let mut b = Bench::new(Options {
        jobs: Some(1),
        ..Options::default()
    });
    for _ in 0..50_000 {
        b.change("a");
    }
    let counters = b.scheduler.counters(LINE);
    assert_eq!(counters.waiting, 9_999);
    assert_eq!(counters.merged, 40_000);
}

#[test]
fn retries_come_after_one_two_four_seconds() {
    let mut b = Bench::new(Options {
        retry: 2,
        ..Options::default()
    });
    b.at(0).change("a").expect(&["run a"]).end(false);
    assert_eq!(b.deadline(), Some(1000));
    b.at(500).change("b").expect(&["run b"]);
    b.at(1000).expect(&["retry1 a"]).end(true);
    b.at(1100)
        .end(false)
        .at(3100)
        .expect(&["retry2 a"])
        .end(false);
    assert!(b.scheduler.idle());
    let counters = b.scheduler.counters(LINE);
    assert_eq!(
        (counters.started, counters.retried, counters.failed),
        (4, 2, 3)
    );
}

#[test]
fn a_queue_waits_for_the_retry_of_its_run() {
    let mut b = Bench::new(Options {
        retry: 1,
        busy: Busy::Queue,
        ..Options::default()
    });
    b.change("a").expect(&["run a"]).end(false);
    b.at(10).change("b").expect(&[]);
    b.at(1000)
        .expect(&["retry1 a"])
        .end(false)
        .expect(&["run b"]);
}

#[test]
fn no_loop_drops_what_the_run_may_have_caused() {
    let mut b = Bench::new(Options {
        no_loop: true,
        ..Options::default()
    });
    // Read together, before anything ran: nobody's loop.
    b.change("a").change("b").expect(&["run a", "run b"]);
    b.change("a").expect(&[]);
    let by = |line, confidence| Event {
        actor: Some(Rc::new(Actor {
            line,
            confidence,
            ..Actor::of_pid(1)
        })),
        ..event("c", Mask::MODIFY)
    };
    // Known for somebody else, or for another line: no loop, however much runs.
    b.give(by(None, Confidence::Exact)).expect(&["run c"]);
    let other = Some(LineId(LINE.0 + 1));
    b.give(by(other, Confidence::Exact)).expect(&["run c"]);
    // Not known well enough: as without.
    b.give(by(None, Confidence::Late)).expect(&[]);
    b.end(true)
        .end(true)
        .end(true)
        .change("a")
        .end(true)
        .expect(&[]);
    assert_eq!(b.scheduler.counters(LINE).looped, 3);
    // Known for its own: long after the run, too.
    b.give(by(Some(LINE), Confidence::Exact)).expect(&[]);
    assert_eq!(b.scheduler.counters(LINE).looped, 4);
    b.change("a").expect(&["run a"]);
}

#[test]
fn a_refused_start_comes_again_in_order_after_a_growing_pause() {
    let mut b = Bench::new(Options::default());
    b.at(0).change("a").change("a").change("b");
    let Some(Action::Start { run, .. }) = b.scheduler.next(b.now) else {
        panic!("no start")
    };
    b.scheduler.postpone(run, b.now);
    b.expect(&[]);
    assert_eq!(b.deadline(), Some(20));
    b.at(20);
    let Some(Action::Start { run, .. }) = b.scheduler.next(b.now) else {
        panic!("no start")
    };
    b.scheduler.postpone(run, b.now);
    assert_eq!(b.deadline(), Some(60));
    b.at(60).expect(&["run a", "run a", "run b"]);
    let counters = b.scheduler.counters(LINE);
    assert_eq!(
        (counters.started, counters.ran, counters.postponed),
        (3, 3, 2)
    );
}

#[test]
fn a_reload_keeps_what_is_gathered() {
    let mut b = Bench::new(Options {
        settle: ms(100),
        ..Options::default()
    });
    b.at(0).change("a");
    b.scheduler.set_line(
        LINE,
        &Options {
            settle: ms(500),
            ..Options::default()
        },
    );
    b.at(100).expect(&["run a"]);
    b.change("b");
    b.scheduler.set_line(LINE, &Options::default());
    b.change("b").expect(&["run b", "run b"]);
}

#[test]
fn a_removed_line_drops_what_waits_and_counts_it() {
    let mut b = Bench::new(Options {
        jobs: Some(1),
        ..Options::default()
    });
    b.change("a").change("b").expect(&["run a"]);
    b.scheduler.remove_line(LINE);
    b.change("c").end(false).expect(&[]);
    let totals = b.scheduler.totals();
    assert_eq!(
        (totals.events, totals.ran, totals.removed, totals.failed),
        (3, 1, 2, 1)
    );
    assert!(b.scheduler.idle());
}

#[test]
fn drain_gives_back_all_that_waits_in_order() {
    let mut b = Bench::with_jobs(
        1,
        Options {
            retry: 1,
            ..Options::default()
        },
    );
    b.scheduler.set_line(
        LineId(2),
        &Options {
            settle: ms(50),
            ..Options::default()
        },
    );
    b.change("a").expect(&["run a"]);
    b.change("b").change("c");
    b.scheduler
        .event(LineId(2), Rc::new(event("x", Mask::MODIFY)), b.now);
    b.scheduler.close();
    b.end(false).at(5000).expect(&[]);
    assert_eq!(b.deadline(), None);
    b.change("d");
    let names: Vec<_> = b
        .scheduler
        .drain()
        .iter()
        .map(|(l, e)| format!("{}{}", l.0, e.name.display()))
        .collect();
    assert_eq!(names, ["1a", "1b", "1c", "1d", "2x"]);
    assert!(b.scheduler.idle());
    assert_eq!(b.scheduler.totals().saved, 4);
}

#[test]
fn durations_of_nothing_and_of_ages_do_no_harm() {
    let ages = Duration::from_secs(u64::MAX);
    let mut b = Bench::new(Options {
        settle: ages,
        ..Options::default()
    });
    b.change("a")
        .at(u64::MAX / 1_000_000)
        .change("a")
        .expect(&[]);
    assert_eq!(b.deadline(), None);
    let limit = Limit {
        runs: 0,
        per: Duration::ZERO,
    };
    let mut b = Bench::new(Options {
        limit,
        batch: Some(Batch::Count(0)),
        jobs: Some(0),
        ..Options::default()
    });
    b.change("a").expect(&["run a"]);
}

#[test]
fn a_start_that_is_fetched_late_counts_from_then() {
    let limit = Limit {
        runs: 1,
        per: ms(100),
    };
    let mut b = Bench::new(Options {
        limit,
        ..Options::default()
    });
    b.at(0).change("a");
    b.at(90).expect(&["run a"]);
    b.at(110).change("b").look();
    assert_eq!(b.deadline(), Some(190));
    b.at(190).expect(&["run b"]);
}
