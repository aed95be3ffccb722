//! The cache of processes against a simulated machine: any processes, messages that
//! come late, by two ways or not at all, numbers that are used again. What it calls exact
//! is the truth; and where programs are looked at at once and nothing is lost, all is exact,
//! however late the rest is heard.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;

use incron::event::LineId;
use incron::watch::actor::cache::{Cache, Look};
use incron::watch::actor::merge::{Entry, Merge};
use incron::watch::actor::message::{Message, What};
use incron::watch::actor::process::{Image, Known, Marks, Program, Reader, Rest};
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
    /// Where it was put, of which there is no message.
    cgroup: u64,
    /// The child of OWN that it is or descends from.
    run: Option<u64>,
    /// Reaped then.
    gone: Option<u64>,
}

#[derive(Default)]
struct World {
    now: u64,
    processes: BTreeMap<i32, Process>,
    /// Times that anything but a program was read.
    read: usize,
}

#[derive(Clone)]
struct Machine(Rc<RefCell<World>>);

fn marks(cgroups: u64) -> Marks {
    Marks {
        cgroups,
        ..Marks::default()
    }
}

impl Machine {
    /// As long as it was not reaped.
    fn found(&self, found: &(i32, u64)) -> Option<Process> {
        let mut world = self.0.borrow_mut();
        world.read += 1;
        let process = world.processes.get(&found.0)?;
        (process.gone.is_none() && process.born == found.1).then(|| process.clone())
    }
}

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
        let process = self.found(found)?;
        let image = Image {
            cgroup: Some(process.cgroup.to_string()),
            marks: marks(process.cgroup),
            ..Image::default()
        };
        Some(Rest {
            start: process.born / TICK,
            ppid: process.parent,
            uid: Some(process.uid),
            image,
            ..Rest::default()
        })
    }

    fn is_like(&self, found: &(i32, u64), last: &Image) -> Option<bool> {
        Some(last.marks == marks(self.found(found)?.cgroup))
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
    /// The program of the oldest that has executed is looked at.
    Look,
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
        2 => Just(Step::Look),
        u32::from(losses) => Just(Step::Lose),
        4 => (pid(), any::<bool>()).prop_map(|(a, b)| Step::Ask(a, b)),
    ]
}

type Happened = (Message, Option<Look<(i32, u64)>>);

struct Test {
    world: Rc<RefCell<World>>,
    cache: Cache<Machine>,
    /// What has happened; with the look at the program, if there was one.
    queue: VecDeque<Happened>,
    merge: Merge<(i32, u64)>,
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
            cgroup: 0,
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
            merge: Merge::default(),
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
        self.queue.push_back((Message { at: now, what }, None));
    }

    /// Looks at the oldest program that was not looked at.
    fn look(&mut self) {
        let machine = Machine(Rc::clone(&self.world));
        for (message, look) in &mut self.queue {
            if let (What::Exec { pid }, None) = (message.what, &look) {
                *look = Some(Look::new(&machine, pid));
                break;
            }
        }
        self.world.borrow_mut().now += 1;
    }

    fn alive(&self, pid: i32) -> Option<Process> {
        let world = self.world.borrow();
        world
            .processes
            .get(&pid)
            .filter(|p| p.gone.is_none())
            .cloned()
    }

    /// Programs come by another way than all else, and are put in order again. What is
    /// not yet to be told waits for the next time.
    fn hear(&mut self, count: usize) {
        let (heard, machine) = (count.min(self.queue.len()), Machine(Rc::clone(&self.world)));
        let Some(until) = self.queue.iter().take(count).next_back().map(|(m, _)| m.at) else {
            return;
        };
        let ahead = self
            .queue
            .drain(..(heard + heard / 2).min(self.queue.len()));
        let (executed, others): (Vec<_>, Vec<_>) =
            ahead.partition(|(message, _)| matches!(message.what, What::Exec { .. }));
        for (message, look) in executed {
            let What::Exec { pid } = message.what else {
                continue;
            };
            let look = look.unwrap_or_else(|| Look::new(&machine, pid));
            self.merge.add(Entry::Executed(message, look));
        }
        for (message, _) in others {
            self.merge.add(Entry::Message(message));
        }
        self.merge.tell(&mut self.cache, until);
        self.world.borrow_mut().now += 1;
    }

    fn hear_all(&mut self) {
        self.hear(usize::MAX);
        self.merge.tell(&mut self.cache, u64::MAX);
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
            Step::Look => self.look(),
            Step::Lose if !self.queue.is_empty() => {
                self.queue.pop_front();
                self.lost = true;
                self.merge.lost = true;
                self.merge.tell(&mut self.cache, 0);
                self.world.borrow_mut().now += 1;
            }
            Step::Ask(pid, ended) => return self.ask(pid, ended, prompt),
            _ => {}
        }
        // Whoever looks comes first.
        if prompt {
            self.look();
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
        self.hear_all();
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
    fn whoever_looks_at_once_knows_all(steps in proptest::collection::vec(step(false), 0..80)) {
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
        test.hear_all();
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
            test.hear_all(); // as the one who looks does
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
    test.hear_all();
    test.cache.scan(2);
    let when = test.world.borrow().now;
    let found = test.cache.find(2, when).unwrap();
    assert_eq!(found.known, Known::Exact);
    // Of the time before nobody knows: it may have been another program.
    let found = test.cache.find(2, 900).unwrap();
    assert_eq!(found.known, Known::Late);
}

impl Test {
    /// A child of OWN that executes, is put elsewhere before, and ends before anybody
    /// hears of it; the cgroup that it is known by.
    fn child(&mut self, cgroup: u64) -> String {
        let child = 2;
        self.world.borrow_mut().now += 2 * REUSE;
        self.act(Step::Fork(OWN, child), true).unwrap();
        let world = Rc::clone(&self.world);
        world.borrow_mut().processes.get_mut(&child).unwrap().cgroup = cgroup;
        self.act(Step::Exec(child, 7), true).unwrap();
        self.hear_all(); // as the one who looks does
        self.exit(child);
        self.hear_all();
        let when = self.world.borrow().now;
        let found = self.cache.find(child, when).unwrap();
        assert_eq!(
            (found.known, &found.image.exe),
            (Known::Exact, &Some(exe(7)))
        );
        found.image.cgroup.clone().unwrap()
    }
}

#[test]
fn children_that_are_put_elsewhere_are_seen_there() {
    let mut test = Test::new();
    for n in 0..100 {
        let cgroup = u64::from(n % 3 > 0);
        assert_eq!(test.child(cgroup), cgroup.to_string(), "child {n}");
    }
}

#[test]
fn children_that_are_like_their_parent_are_soon_believed_to_be() {
    let mut test = Test::new();
    let mut read = Vec::new();
    for _ in 0..200 {
        assert_eq!(test.child(0), "0");
        read.push(std::mem::take(&mut test.world.borrow_mut().read));
    }
    assert!(read[..8].iter().all(|read| *read > 0));
    let later = read[8..].iter().filter(|read| **read > 0).count();
    assert!((8..16).contains(&later), "{read:?}");
    // From one that is not, it is not believed any more.
    let first = (0..32).find(|_| test.child(5) == "5");
    assert!(first.is_some_and(|n| n < 16), "{first:?}");
    for n in 0..20 {
        assert_eq!(test.child(n % 2), (n % 2).to_string(), "{n}");
    }
}

#[test]
fn what_executes_a_second_time_is_looked_at() {
    let mut test = Test::new();
    for _ in 0..20 {
        test.child(0);
    }
    test.world.borrow_mut().now += 2 * REUSE;
    test.act(Step::Fork(OWN, 3), true).unwrap();
    test.act(Step::Exec(3, 1), true).unwrap();
    test.hear_all();
    // Now it puts itself elsewhere, and becomes what is to be done there.
    test.world
        .borrow_mut()
        .processes
        .get_mut(&3)
        .unwrap()
        .cgroup = 9;
    test.act(Step::Exec(3, 2), true).unwrap();
    test.hear_all();
    let when = test.world.borrow().now;
    let found = test.cache.find(3, when).unwrap();
    assert_eq!(found.image.cgroup.as_deref(), Some("9"));
}
