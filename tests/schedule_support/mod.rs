//! A world for the scheduler: lines with random options, events, runs that take their
//! time, fail, are killed or refused, and a clock that jumps. All of it follows from a
//! seed. A model written independently of the scheduler checks every action.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::ffi::OsString;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use incron::event::{Event, LineId, Origin};
use incron::schedule::{Action, Counters, RunId, Scheduler};
use incron::table::{Batch, Busy, Limit, Mask, Options};
use incron::time::Moment;

pub const MS: u64 = 1_000_000;

/// SplitMix64.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 .. n
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }
}

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A number that follows from two others: what a run does must not depend on when it is asked.
pub fn mix(seed: u64, n: u64) -> Random {
    let mut random = Random(seed ^ n.wrapping_mul(0xd134_2543_de82_ef95));
    random.next();
    random
}

pub fn random_options(r: &mut Random) -> Options {
    let mut o = Options {
        busy: r.pick(&[
            Busy::Parallel,
            Busy::Parallel,
            Busy::Queue,
            Busy::Skip,
            Busy::Restart,
        ]),
        ..Options::default()
    };
    if r.chance(35) {
        o.settle = ms(r.pick(&[1, 50, 200, 1000]));
        if r.chance(50) {
            o.max_wait = Some(ms(r.pick(&[1, 100, 1500, 5000])));
        }
    }
    if r.chance(25) {
        o.batch = Some(if r.chance(50) {
            Batch::Time(ms(r.pick(&[10, 300, 2000])))
        } else {
            Batch::Count(r.pick(&[1, 2, 5]))
        });
    }
    if r.chance(30) {
        o.jobs = Some(r.pick(&[1, 2, 3]));
    }
    if r.chance(30) {
        o.limit = Limit {
            runs: r.pick(&[1, 2, 5, 20]),
            per: ms(r.pick(&[100, 1000, 10_000])),
        };
    }
    o.no_loop = r.chance(10);
    o.retry = if r.chance(20) { r.pick(&[1, 3]) } else { 0 };
    o
}

/// How large and how wild a world is.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub lines: u32,
    pub events: u64,
    pub paths: u64,
    pub max_jobs: usize,
    /// Mean time between two events, in microseconds; rounded to milliseconds.
    pub gap_us: u64,
    pub jumps: bool,
    pub reloads: bool,
    pub refusals: bool,
    /// Options of every line, instead of random ones.
    pub options: Option<Options>,
    /// Longest run.
    pub longest_ms: u64,
    /// Check that lines, all plain, take turns.
    pub turns: bool,
    /// Look at the scheduler every millisecond, not only at its deadlines.
    pub tick: bool,
    /// Close and drain in the end instead of letting all of it run.
    pub close: bool,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            lines: 100,
            events: 5000,
            paths: 5,
            max_jobs: 16,
            gap_us: 2000,
            jumps: true,
            reloads: true,
            refusals: true,
            options: None,
            longest_ms: 300,
            turns: false,
            tick: false,
            close: false,
        }
    }
}

/// What was done, for comparing two worlds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    Start {
        at: u64,
        run: u64,
        line: u32,
        events: Vec<u64>,
        attempt: u32,
    },
    Kill {
        at: u64,
        run: u64,
    },
    Notice {
        at: u64,
        line: u32,
        text: String,
    },
    End {
        at: u64,
        run: u64,
        success: bool,
    },
}

#[derive(Default)]
struct PathModel {
    /// First event, due moment, looks before that was set: of the group that settles.
    group: Option<(u64, u64, u64)>,
    /// Of all accepted events.
    last: Option<u64>,
    mask: u32,
    /// Of all first attempts.
    started: Option<u64>,
    started_mask: u32,
}

struct LineModel {
    options: Options,
    paths: BTreeMap<u64, PathModel>,
    running: u32,
    starts: VecDeque<u64>,
    events: u64,
    looped: u64,
    ran: u64,
    runs: u64,
    /// Starts of each other line since this one has waited: only kept where asked for.
    passed: Option<HashMap<u32, u32>>,
}

struct Run {
    line: u32,
    ends: u64,
    success: bool,
}

pub struct World {
    plan: Plan,
    random: Random,
    pub scheduler: Scheduler,
    now: u64,
    looked: u64,
    looks: u64,
    lines: BTreeMap<u32, LineModel>,
    next_line: u32,
    runs: BTreeMap<u64, Run>,
    ends: BinaryHeap<Reverse<(u64, u64)>>,
    fed: u64,
    /// By event number: when it may start at the earliest.
    due: Vec<u64>,
    pub did: Vec<Did>,
    keep: bool,
    pub started: u64,
    pub drained: u64,
}

impl World {
    pub fn new(plan: Plan, keep: bool) -> Self {
        let mut world = Self {
            random: Random(plan.seed),
            scheduler: Scheduler::new(plan.max_jobs),
            now: 0,
            looked: 0,
            looks: 0,
            lines: BTreeMap::new(),
            next_line: 0,
            runs: BTreeMap::new(),
            ends: BinaryHeap::new(),
            fed: 0,
            due: Vec::new(),
            did: Vec::new(),
            keep,
            started: 0,
            drained: 0,
            plan,
        };
        for _ in 0..world.plan.lines {
            world.add_line();
        }
        world
    }

    fn options(&mut self) -> Options {
        self.plan
            .options
            .clone()
            .unwrap_or_else(|| random_options(&mut self.random))
    }

    fn add_line(&mut self) {
        let options = self.options();
        let line = self.next_line;
        self.next_line += 1;
        self.scheduler.set_line(LineId(line), &options);
        let model = LineModel {
            options,
            paths: BTreeMap::new(),
            running: 0,
            starts: VecDeque::new(),
            events: 0,
            looped: 0,
            ran: 0,
            runs: 0,
            passed: None,
        };
        self.lines.insert(line, model);
    }

    fn log(&mut self, did: Did) {
        if self.keep {
            self.did.push(did);
        }
    }

    /// From the first event to the last consequence.
    pub fn live(&mut self) {
        let mut at = 0;
        while self.fed < self.plan.events {
            at += self.random.below(2 * self.plan.gap_us * 1000) / MS * MS;
            if self.plan.jumps && self.random.chance(1) && self.random.chance(10) {
                // The worker was stopped: what ended meanwhile is seen late.
                at += self.random.pick(&[100, 5_000, 3_600_000]) * MS;
                self.now = at;
            }
            self.until(at);
            at = self.now;
            self.change();
            for _ in 0..=self.random.below(3) {
                self.feed();
            }
            if self.random.chance(70) {
                self.look();
            }
            if self.fed.is_multiple_of(64) {
                self.check_counters();
            }
        }
        self.look();
        if self.plan.close {
            self.close();
        } else {
            self.until(u64::MAX);
            assert!(
                self.scheduler.idle(),
                "not idle in the end: deadline {:?}",
                self.scheduler.deadline()
            );
            self.check_end();
        }
        self.check_counters();
    }

    /// Lets time pass, run ends and deadlines first.
    fn until(&mut self, at: u64) {
        loop {
            let end = self.ends.peek().map(|e| e.0.0);
            let deadline = self.scheduler.deadline().map(|m| m.0);
            let mut next = [end, deadline]
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(u64::MAX)
                .max(self.now);
            if self.plan.tick && (end.is_some() || deadline.is_some() || at < u64::MAX) {
                next = next.min(self.now + MS);
            }
            if next >= at {
                if at < u64::MAX {
                    self.now = at.max(self.now);
                    self.end_runs();
                    self.look();
                }
                return;
            }
            let before = (next, self.did.len(), self.started, self.runs.len());
            self.now = next;
            self.end_runs();
            self.look();
            let due = self.scheduler.deadline().is_some_and(|d| d.0 <= self.now);
            assert!(!due, "the deadline {due} stays at {before:?}");
        }
    }

    fn end_runs(&mut self) {
        while let Some(&Reverse((at, run))) = self.ends.peek() {
            if at > self.now {
                return;
            }
            self.ends.pop();
            // A killed run has two ends; the first counts.
            let Some(ended) = self.runs.remove(&run) else {
                continue;
            };
            if let Some(line) = self.lines.get_mut(&ended.line) {
                line.running -= 1;
            }
            self.log(Did::End {
                at: self.now,
                run,
                success: ended.success,
            });
            self.scheduler
                .finished(RunId(run), ended.success, Moment(self.now));
        }
    }

    fn change(&mut self) {
        if !self.plan.reloads || !self.random.chance(1) {
            return;
        }
        let line = self.random.below(u64::from(self.next_line)) as u32;
        if self.random.chance(50) {
            let options = self.options();
            let Some(model) = self.lines.get_mut(&line) else {
                return;
            };
            if !model.options.settle.is_zero() && options.settle.is_zero() {
                model.paths.values_mut().for_each(|p| p.group = None);
            }
            // Its windows and counts begin anew where the options differ.
            model.starts.clear();
            model.options = options;
            self.scheduler.set_line(LineId(line), &model.options);
            // What was due later is due now where settle is gone.
            if model.options.settle.is_zero() {
                let now = self.now;
                self.due.iter_mut().for_each(|due| *due = (*due).min(now));
            }
        } else if self.lines.remove(&line).is_some() {
            self.scheduler.remove_line(LineId(line));
            self.add_line();
        }
    }

    fn feed(&mut self) {
        let line = self.random.below(u64::from(self.next_line)) as u32;
        let path = self.random.below(self.plan.paths);
        let Some(model) = self.lines.get_mut(&line) else {
            return;
        };
        let number = self.fed;
        self.fed += 1;
        let bit = 1 << self.random.below(12);
        let event = Rc::new(Event {
            mask: Mask(bit),
            watch: OsString::from(format!("/w{line}")),
            name: OsString::from(path.to_string()),
            old_path: None,
            time: SystemTime::UNIX_EPOCH + Duration::from_nanos(number),
            origin: Origin::Kernel,
            actor: None,
            seq: 1,
            labels: None,
        });
        model.events += 1;
        let mut due = self.now;
        if model.options.no_loop && model.running > 0 {
            model.looped += 1;
        } else {
            let state = model.paths.entry(path).or_default();
            state.last = Some(number);
            state.mask |= bit;
            if !model.options.settle.is_zero() {
                let settle = model.options.settle;
                let latest = model.options.max_wait.unwrap_or(settle * 10);
                let first = match state.group {
                    // Still there, unless the scheduler was looked at when it was due.
                    Some((first, due, looks)) if self.looked < due || looks == self.looks => first,
                    _ => self.now,
                };
                due = (Moment(self.now) + settle).min(Moment(first) + latest).0;
                state.group = Some((first, due, self.looks));
            }
        }
        self.due.push(due);
        self.scheduler.event(LineId(line), event, Moment(self.now));
    }

    /// Fetches every action.
    fn look(&mut self) {
        self.looked = self.now;
        self.looks += 1;
        while let Some(action) = self.scheduler.next(Moment(self.now)) {
            match action {
                Action::Start {
                    run,
                    line,
                    events,
                    attempt,
                } => self.start(run, line.0, &events, attempt),
                Action::Kill { run, .. } => {
                    self.log(Did::Kill {
                        at: self.now,
                        run: run.0,
                    });
                    let ended = self
                        .runs
                        .get_mut(&run.0)
                        .expect("killed a run that is not there");
                    assert_eq!(self.lines[&ended.line].options.busy, Busy::Restart);
                    ended.success = false;
                    ended.ends = self.now + mix(self.plan.seed, run.0 ^ 7).below(20) * MS;
                    self.ends.push(Reverse((ended.ends, run.0)));
                }
                Action::Notice(line, text) => self.log(Did::Notice {
                    at: self.now,
                    line: line.0,
                    text,
                }),
            }
        }
    }

    fn start(&mut self, run: RunId, id: u32, events: &[Rc<Event>], attempt: u32) {
        let mut fate = mix(self.plan.seed, run.0);
        if self.plan.refusals && fate.chance(2) {
            self.scheduler.postpone(run, Moment(self.now));
            return;
        }
        let numbers: Vec<u64> = events.iter().map(|e| number(e)).collect();
        self.log(Did::Start {
            at: self.now,
            run: run.0,
            line: id,
            events: numbers.clone(),
            attempt,
        });
        self.started += 1;
        let ends = self.now + (1 + fate.below(self.plan.longest_ms)) * MS;
        let success = fate.chance(80);
        assert!(
            self.runs
                .insert(
                    run.0,
                    Run {
                        line: id,
                        ends,
                        success
                    }
                )
                .is_none(),
            "a run number was used twice"
        );
        self.ends.push(Reverse((ends, run.0)));
        assert!(
            self.runs.len() <= self.plan.max_jobs,
            "more than max_jobs at once"
        );
        self.check_start(id, events, &numbers, attempt);
        self.check_turn(id);
    }

    fn check_start(&mut self, id: u32, events: &[Rc<Event>], numbers: &[u64], attempt: u32) {
        let now = self.now;
        let reloads = self.plan.reloads;
        let line = self.lines.get_mut(&id).expect("a removed line started");
        line.running += 1;
        line.runs += 1;
        assert!(!events.is_empty());
        assert!(attempt <= line.options.retry || reloads);
        if !reloads {
            let jobs = line.options.jobs.unwrap_or(u32::MAX);
            assert!(line.running <= jobs, "line {id}: more than {jobs} jobs");
            assert!(
                line.running == 1 || line.options.busy == Busy::Parallel,
                "line {id}: two at once"
            );
        }
        let Limit { runs, per } = line.options.limit;
        line.starts.push_back(now);
        if line.starts.len() > runs as usize {
            let first = line.starts.pop_front().unwrap_or(0);
            assert!(
                Moment(first) + per <= Moment(now),
                "line {id}: more than {runs} starts within {per:?}"
            );
        }
        if attempt > 0 {
            return;
        }
        line.ran += events.len() as u64;
        for (event, number) in events.iter().zip(numbers) {
            let path: u64 = event
                .name
                .to_str()
                .and_then(|n| n.parse().ok())
                .expect("a path");
            assert!(
                self.due[*number as usize] <= now,
                "line {id}: event {number} started before it settled"
            );
            let state = line.paths.get_mut(&path).expect("a path that had an event");
            assert!(
                state.started < Some(*number),
                "line {id} path {path}: {number} after {:?}",
                state.started
            );
            state.started = Some(*number);
            state.started_mask |= event.mask.0;
        }
    }

    /// Where every line is plain: none is passed twice by another while it waits.
    fn check_turn(&mut self, id: u32) {
        if !self.plan.turns {
            return;
        }
        if let Some(model) = self.lines.get_mut(&id) {
            model.passed = None;
        }
        for (other, model) in &mut self.lines {
            if self.scheduler.counters(LineId(*other)).waiting == 0 {
                model.passed = None;
            } else if *other != id {
                let times = model.passed.get_or_insert_default().entry(id).or_insert(0);
                *times += 1;
                // Once in the round that is going on, once in the next.
                assert!(
                    *times <= 2,
                    "line {id} started {times} times while line {other} waited"
                );
            } else {
                model.passed = Some(HashMap::new());
            }
        }
    }

    fn check_counters(&mut self) {
        for (id, model) in &self.lines {
            let c = self.scheduler.counters(LineId(*id));
            conserved(&c, &format!("line {id}"));
            assert_eq!(c.events, model.events, "line {id}: events");
            assert_eq!(c.looped, model.looped, "line {id}: looped");
        }
        let totals = self.scheduler.totals();
        conserved(&totals, "totals");
        assert_eq!(totals.events, self.fed);
    }

    /// Nothing runs, nothing waits: every last event had a run, every bit was seen.
    fn check_end(&mut self) {
        for (id, model) in &self.lines {
            let c = self.scheduler.counters(LineId(*id));
            assert_eq!(c.waiting, 0);
            assert_eq!(
                (c.ran, c.started),
                (model.ran, model.runs),
                "line {id}: ran, started"
            );
            if c.skipped > 0 {
                assert!(model.options.busy == Busy::Skip || self.plan.reloads);
                continue;
            }
            for (path, state) in &model.paths {
                assert_eq!(
                    state.started, state.last,
                    "line {id} path {path}: the last event had no run"
                );
                assert_eq!(
                    state.started_mask, state.mask,
                    "line {id} path {path}: an event bit was lost"
                );
            }
        }
        assert_eq!(self.scheduler.totals().waiting, 0);
    }

    /// Every event that had no run is given back, and nothing starts any more.
    fn close(&mut self) {
        self.scheduler.close();
        while let Some(&Reverse((at, _))) = self.ends.peek() {
            self.now = at.max(self.now);
            self.end_runs();
            while let Some(action) = self.scheduler.next(Moment(self.now)) {
                assert!(
                    !matches!(action, Action::Start { .. }),
                    "started after close"
                );
            }
        }
        let mut last: BTreeMap<(u32, String), u64> = BTreeMap::new();
        for (line, event) in self.scheduler.drain() {
            self.drained += 1;
            let name = event.name.to_str().expect("a path").to_owned();
            last.insert((line.0, name), number(&event));
        }
        assert!(self.scheduler.idle());
        for (id, model) in &self.lines {
            if self.scheduler.counters(LineId(*id)).skipped > 0 {
                continue;
            }
            for (path, state) in &model.paths {
                let drained = last.get(&(*id, path.to_string())).copied();
                assert_eq!(
                    state.started.max(drained),
                    state.last,
                    "line {id} path {path}: lost at the stop"
                );
            }
        }
    }
}

impl World {
    /// When an event could start at the earliest.
    pub fn due(&self, number: u64) -> u64 {
        self.due[number as usize]
    }
}

fn number(event: &Event) -> u64 {
    event
        .time
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos() as u64)
}

pub fn conserved(c: &Counters, of: &str) {
    let out = c.ran + c.merged + c.skipped + c.looped + c.removed + c.saved + c.waiting;
    assert_eq!(c.events, out, "{of}: {c:?}");
}
