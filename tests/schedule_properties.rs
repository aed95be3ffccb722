//! The promises of the simulation over short lists of calls, in any order, so that a
//! broken one shrinks to the few calls that break it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use incron::event::{Event, LineId, Origin};
use incron::schedule::{Action, RunId, Scheduler};
use incron::table::{Batch, Busy, Limit, Mask, Options};
use incron::time::Moment;
use proptest::prelude::*;

const LINES: u32 = 2;

#[derive(Clone, Debug)]
enum Call {
    Event {
        line: u32,
        path: u8,
    },
    Pass {
        ms: u64,
    },
    Look,
    /// The nth of the running ends; nothing if there is none.
    End {
        nth: usize,
        success: bool,
    },
    /// The next start is refused.
    Refuse,
    Set {
        line: u32,
        options: Box<Options>,
    },
}

fn options() -> impl Strategy<Value = Options> {
    let ms = |n| Duration::from_millis(n);
    let settle = prop_oneof![3 => Just(0u64), 1 => Just(5), 1 => Just(100)];
    let batch = prop_oneof![
        3 => Just(None),
        1 => Just(Some(Batch::Time(ms(30)))),
        1 => Just(Some(Batch::Count(2))),
    ];
    let busy = prop_oneof![
        Just(Busy::Parallel),
        Just(Busy::Queue),
        Just(Busy::Skip),
        Just(Busy::Restart)
    ];
    let jobs = prop_oneof![2 => Just(None), 1 => Just(Some(1u32)), 1 => Just(Some(2))];
    let limit =
        prop_oneof![2 => Just((10_000u32, 10_000u64)), 1 => Just((1, 50)), 1 => Just((2, 1000))];
    let max_wait = prop_oneof![2 => Just(None), 1 => Just(Some(ms(20)))];
    (
        settle,
        batch,
        busy,
        jobs,
        limit,
        max_wait,
        any::<bool>(),
        0u32..2,
        prop_oneof![3 => Just(false), 1 => Just(true)],
    )
        .prop_map(
            move |(settle, batch, busy, jobs, (runs, per), max_wait, no_loop, retry, stream)| {
                Options {
                    settle: ms(settle),
                    batch,
                    busy,
                    jobs,
                    limit: Limit { runs, per: ms(per) },
                    max_wait,
                    no_loop,
                    retry,
                    stream,
                    ..Options::default()
                }
            },
        )
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        6 => (0..LINES, 0u8..3).prop_map(|(line, path)| Call::Event { line, path }),
        3 => prop_oneof![0u64..50, Just(1000), Just(20_000)].prop_map(|ms| Call::Pass { ms }),
        4 => Just(Call::Look),
        4 => (0usize..4, any::<bool>()).prop_map(|(nth, success)| Call::End { nth, success }),
        1 => Just(Call::Refuse),
        1 => (0..LINES, options())
            .prop_map(|(line, options)| Call::Set { line, options: Box::new(options) }),
    ]
}

/// The worker, and what it saw.
struct Seen {
    scheduler: Scheduler,
    max_jobs: usize,
    now: Moment,
    runs: Vec<RunId>,
    /// Lines that feed a process of their own, and the runs that are such.
    feeding: BTreeSet<u32>,
    fed_runs: BTreeSet<RunId>,
    refuse: bool,
    fed: u64,
    /// By line and path: the last event fed, the last started.
    paths: BTreeMap<(u32, String), (u64, Option<u64>)>,
}

impl Seen {
    fn call(&mut self, call: &Call) {
        match call {
            Call::Event { line, path } => self.feed(*line, *path),
            Call::Pass { ms } => self.now = self.now + Duration::from_millis(*ms),
            Call::Look => self.look(),
            Call::End { nth, success } => {
                if *nth < self.runs.len() {
                    let run = self.runs.remove(*nth);
                    self.scheduler.finished(run, *success, self.now);
                }
            }
            Call::Refuse => self.refuse = true,
            Call::Set { line, options } => self.set(*line, options),
        }
        let c = self.scheduler.totals();
        let out = c.ran + c.merged + c.skipped + c.looped + c.removed + c.saved + c.waiting;
        assert_eq!(c.events, out, "{c:?}");
        assert_eq!(c.events, self.fed);
    }

    fn set(&mut self, line: u32, options: &Options) {
        self.scheduler.set_line(LineId(line), options);
        match options.stream {
            true => self.feeding.insert(line),
            false => self.feeding.remove(&line),
        };
    }

    fn feed(&mut self, line: u32, path: u8) {
        let number = self.fed;
        self.fed += 1;
        let name = path.to_string();
        let event = Event {
            mask: Mask::MODIFY,
            watch: "/w".into(),
            name: name.clone().into(),
            old_path: None,
            time: SystemTime::UNIX_EPOCH + Duration::from_nanos(number),
            origin: Origin::Kernel,
            actor: None,
            seq: 1,
            labels: None,
        };
        let looped = self.scheduler.counters(LineId(line)).looped;
        let skipped = self.scheduler.counters(LineId(line)).skipped;
        self.scheduler.event(LineId(line), Rc::new(event), self.now);
        let after = self.scheduler.counters(LineId(line));
        if (after.looped, after.skipped) == (looped, skipped) {
            self.paths.entry((line, name)).or_default().0 = number;
        }
    }

    fn look(&mut self) {
        while let Some(action) = self.scheduler.next(self.now) {
            let Action::Start {
                run,
                line,
                events,
                attempt,
            } = action
            else {
                continue;
            };
            assert!(!events.is_empty());
            if std::mem::take(&mut self.refuse) {
                self.scheduler.postpone(run, self.now);
                continue;
            }
            self.runs.push(run);
            if self.feeding.contains(&line.0) {
                self.fed_runs.insert(run);
            }
            let counted = self.runs.iter().filter(|run| !self.fed_runs.contains(run));
            assert!(counted.count() <= self.max_jobs);
            for event in events.iter().filter(|_| attempt == 0) {
                let name = event.name.to_string_lossy().into_owned();
                let number = event
                    .time
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .map_or(0, |d| d.as_nanos());
                let started = &mut self.paths.entry((line.0, name)).or_default().1;
                assert!(*started < Some(number as u64), "out of order");
                *started = Some(number as u64);
            }
        }
        let late = self.scheduler.deadline().is_some_and(|due| due <= self.now);
        assert!(!late, "a deadline that stays");
    }

    /// Lets everything run to its end.
    fn rest(&mut self) {
        for _ in 0..10_000 {
            self.look();
            while let Some(run) = self.runs.pop() {
                self.scheduler.finished(run, true, self.now);
            }
            match self.scheduler.deadline() {
                Some(due) => self.now = self.now.max(due),
                None => break,
            }
        }
        assert!(self.scheduler.idle(), "it never ends");
        for (path, (fed, started)) in &self.paths {
            let skipped = self.scheduler.counters(LineId(path.0)).skipped > 0;
            assert!(
                skipped || *started >= Some(*fed),
                "{path:?}: the last event had no run"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_calls_in_any_order(
        max_jobs in 1usize..4,
        options in proptest::collection::vec(options(), LINES as usize),
        calls in proptest::collection::vec(call(), 0..60),
    ) {
        let mut seen = Seen {
            scheduler: Scheduler::new(max_jobs),
            max_jobs,
            now: Moment(0),
            runs: Vec::new(),
            feeding: BTreeSet::new(),
            fed_runs: BTreeSet::new(),
            refuse: false,
            fed: 0,
            paths: BTreeMap::new(),
        };
        for (line, options) in (0..).zip(&options) {
            seen.set(line, options);
        }
        calls.iter().for_each(|call| seen.call(call));
        seen.rest();
    }
}
