//! The cache of processes against a simulated machine: any processes, messages that
//! come late or not at all, numbers that are used again. What it calls exact is
//! the truth; and without a loss all is exact.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;

use incron::event::LineId;
use incron::watch::actor::cache::Cache;
use incron::watch::actor::message::{Message, What};
use incron::watch::actor::process::{Image, Known, Program, Reader, Rest};
use proptest::prelude::*;

/// Nanoseconds of a clock tick, of which the cache forgives two.
const TICK: u64 = 10;
/// A number is not given again sooner: no machine forks 30,000 times in 20 ms.
const REUSE: u64 = 100;
const OWN: i32 = 1;
const PIDS: i32 = 8;

#[derive(Clone, Debug, PartialEq)]
struct Process {
    born: u64,
    parent: i32,
    exe: u32,
    uid: u32,
    /// The child of OWN that it is or descends from.
    run: Option<u64>,
    /// Reaped then.
    gone: Option<u64>,
}

#[derive(Default)]
struct World {
    now: u64,
    processes: BTreeMap<i32, Process>,
}

#[derive(Clone)]
struct Machine(Rc<RefCell<World>>);

fn exe(number: u32) -> PathBuf {
    format!("/bin/{number}").into()
}

impl Reader for Machine {
    type Found = (i32, u64);

    fn open(&self, pid: i32) -> Option<((i32, u64), Program)> {
        let world = self.0.borrow();
        let process = world.processes.get(&pid).filter(|p| p.gone.is_none())?;
        let program = Program {
            exe: Some(exe(process.exe)),
            cmdline: vec![process.exe.to_string().into()],
        };
        Some(((pid, process.born), program))
    }

    fn rest(&self, found: &(i32, u64), _: Option<&Image>) -> Option<Rest> {
        let world = self.0.borrow();
        let process = world.processes.get(&found.0)?;
        (process.gone.is_none() && process.born == found.1).then(|| Rest {
            start: process.born / TICK,
            ppid: process.parent,
            uid: Some(process.uid),
            ..Rest::default()
        })
    }

    fn pids(&self) -> Vec<i32> {
        let world = self.0.borrow();
        let living = world.processes.iter().filter(|(_, p)| p.gone.is_none());
        living.map(|(pid, _)| *pid).collect()
    }

    fn now(&self) -> u64 {
        self.0.borrow().now
    }

    fn ticks(&self, at: u64) -> u64 {
        at / TICK
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Fork(i32, i32),
    Exec(i32, u32),
    Uid(i32, u32),
    Exit(i32),
    /// So many messages arrive.
    Hear(usize),
    /// The rest of what has executed is read.
    Finish,
    /// The oldest message is lost.
    Lose,
    /// An event of this process is asked for, at once or when it has ended.
    Ask(i32, bool),
}

fn step(losses: bool) -> impl Strategy<Value = Step> {
    let pid = || 2..PIDS;
    prop_oneof![
        4 => (1..PIDS, pid()).prop_map(|(a, b)| Step::Fork(a, b)),
        4 => (pid(), 0..50u32).prop_map(|(a, b)| Step::Exec(a, b)),
        2 => (pid(), 0..5u32).prop_map(|(a, b)| Step::Uid(a, b)),
        3 => pid().prop_map(Step::Exit),
        4 => (1..6usize).prop_map(Step::Hear),
        1 => Just(Step::Finish),
        u32::from(losses) => Just(Step::Lose),
        4 => (pid(), any::<bool>()).prop_map(|(a, b)| Step::Ask(a, b)),
    ]
}

struct Test {
    world: Rc<RefCell<World>>,
    cache: Cache<Machine>,
    queue: VecDeque<Message>,
    lost: bool,
}

impl Test {
    fn new() -> Self {
        let mut world = World {
            now: 1000,
            ..World::default()
        };
        let first = Process {
            born: 0,
            parent: 0,
            exe: 0,
            uid: 0,
            run: None,
            gone: None,
        };
        world.processes.insert(OWN, first);
        let world = Rc::new(RefCell::new(world));
        let mut cache = Cache::new(Machine(Rc::clone(&world)), OWN);
        cache.scan(OWN);
        Self {
            world,
            cache,
            queue: VecDeque::new(),
            lost: false,
        }
    }

    /// Something happens, and the kernel says so.
    fn happen(&mut self, what: What, change: impl FnOnce(&mut World, u64)) {
        let mut world = self.world.borrow_mut();
        world.now += 3;
        let now = world.now;
        change(&mut world, now);
        world.now += 3;
        self.queue.push_back(Message { at: now, what });
    }

    fn alive(&self, pid: i32) -> Option<Process> {
        let world = self.world.borrow();
        world
            .processes
            .get(&pid)
            .filter(|p| p.gone.is_none())
            .cloned()
    }

    fn hear(&mut self, count: usize) {
        for message in self.queue.drain(..count.min(self.queue.len())) {
            self.cache.tell(message);
        }
        self.world.borrow_mut().now += 1;
    }

    fn act(&mut self, step: Step, prompt: bool) -> Result<(), TestCaseError> {
        match step {
            Step::Fork(parent, child) => {
                let free = |p: &Process| {
                    p.gone
                        .is_some_and(|at| at + REUSE < self.world.borrow().now)
                };
                let taken = self
                    .world
                    .borrow()
                    .processes
                    .get(&child)
                    .is_some_and(|p| !free(p));
                let Some(like) = self.alive(parent).filter(|_| !taken) else {
                    self.world.borrow_mut().now += REUSE / 2;
                    return Ok(());
                };
                self.happen(What::Fork { parent, child }, |world, born| {
                    let run = if parent == OWN { Some(born) } else { like.run };
                    let process = Process {
                        born,
                        parent,
                        run,
                        ..like
                    };
                    world.processes.insert(child, process);
                });
            }
            Step::Exec(pid, exe) if self.alive(pid).is_some() => {
                self.happen(What::Exec { pid }, |world, _| {
                    world.processes.get_mut(&pid).unwrap().exe = exe;
                });
            }
            Step::Uid(pid, uid) if self.alive(pid).is_some() => {
                self.happen(What::Uid { pid, uid }, |world, _| {
                    world.processes.get_mut(&pid).unwrap().uid = uid;
                });
            }
            Step::Exit(pid) if self.alive(pid).is_some() => self.exit(pid),
            Step::Hear(count) => self.hear(count),
            Step::Finish => {
                self.cache.finish_one();
            }
            Step::Lose if !self.queue.is_empty() => {
                self.queue.pop_front();
                self.lost = true;
                self.cache.tell_lost();
                self.world.borrow_mut().now += 1;
            }
            Step::Ask(pid, ended) => return self.ask(pid, ended, prompt),
            _ => {}
        }
        // Whoever listens comes first.
        if prompt {
            self.hear(usize::MAX);
        }
        Ok(())
    }

    fn exit(&mut self, pid: i32) {
        self.happen(What::Exit { pid }, |world, now| {
            world.processes.get_mut(&pid).unwrap().gone = Some(now);
        });
    }

    fn ask(&mut self, pid: i32, ended: bool, prompt: bool) -> Result<(), TestCaseError> {
        let Some(truth) = self.alive(pid) else {
            return Ok(());
        };
        if ended {
            self.exit(pid);
        }
        self.hear(usize::MAX);
        let when = self.world.borrow().now;
        let found = self.cache.find(pid, when);
        if prompt {
            let known = found.as_ref().map(|found| found.known);
            prop_assert_eq!(known, Some(Known::Exact), "{:?}", truth);
        }
        let Some(found) = found.filter(|found| found.known == Known::Exact) else {
            return Ok(());
        };
        prop_assert_eq!(found.image.exe.clone(), Some(exe(truth.exe)));
        prop_assert_eq!(found.uid, Some(truth.uid));
        prop_assert!(found.start.abs_diff(truth.born / TICK) <= 2);
        if !self.lost {
            prop_assert_eq!(found.ppid, truth.parent);
            prop_assert_eq!(found.run.is_some(), truth.run.is_some());
            // All of a run share it, and nobody else does.
            if let (Some(run), Some(born)) = (&found.run, truth.run) {
                let mark = LineId(u32::try_from(born).unwrap());
                prop_assert!(run.line().is_none_or(|line| line == mark));
                run.set(mark);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whoever_listens_at_once_knows_all(steps in proptest::collection::vec(step(false), 0..80)) {
        let mut test = Test::new();
        for step in steps {
            test.act(step, true)?;
        }
    }

    #[test]
    fn what_is_exact_is_true_however_late_it_is_heard(
        steps in proptest::collection::vec(step(false), 0..80)
    ) {
        let mut test = Test::new();
        for step in steps {
            test.act(step, false)?;
        }
    }

    #[test]
    fn what_is_exact_is_true_whatever_is_lost(
        steps in proptest::collection::vec(step(true), 0..80)
    ) {
        let mut test = Test::new();
        for step in steps {
            test.act(step, false)?;
        }
    }

    #[test]
    fn a_loss_heals(steps in proptest::collection::vec(step(true), 0..80)) {
        let mut test = Test::new();
        for step in steps {
            test.act(step, false)?;
        }
        test.hear(usize::MAX);
        test.cache.heal();
        // Who ended is not counted among the living; who lives and is asked for is known,
        // and what they start from now on is exact again.
        let parents: Vec<i32> = (1..PIDS).filter(|pid| test.alive(*pid).is_some()).collect();
        for parent in parents {
            test.world.borrow_mut().now += 2 * REUSE;
            let free = (2..PIDS).find(|pid| test.alive(*pid).is_none());
            let Some(child) = free else { break };
            test.act(Step::Fork(parent, child), true)?;
            test.act(Step::Exec(child, 99), true)?;
            test.ask(child, true, true)?;
        }
    }
}

#[test]
fn a_fork_bomb_is_bounded() {
    let mut test = Test::new();
    let at = test.world.borrow().now;
    for i in 0..200_000 {
        let (at, child) = (at + 2 * i, 100 + i as i32);
        let what = What::Fork { parent: OWN, child };
        test.cache.tell(Message { at, what });
        test.cache.tell(Message {
            at: at + 1,
            what: What::Exit { pid: child },
        });
    }
    assert!(test.cache.len() <= 32_769, "{}", test.cache.len());
}

#[test]
fn who_forks_before_it_was_looked_at_is_exact_from_then_on() {
    let mut test = Test::new();
    // It lived before there were messages.
    let first = test.alive(OWN).unwrap();
    test.world.borrow_mut().processes.insert(2, first);
    let fork = Step::Fork(2, 3);
    test.act(fork, true).unwrap();
    test.cache.scan(2);
    let when = test.world.borrow().now;
    let found = test.cache.find(2, when).unwrap();
    assert_eq!(found.known, Known::Exact);
    // Of the time before nobody knows: it may have been another program.
    let found = test.cache.find(2, 900).unwrap();
    assert_eq!(found.known, Known::Late);
}
