//! Directories that nobody asks for and that make noise are left out by the kernel; what
//! happens in one that comes into reach is told all the same.

mod watch_kit;

use std::collections::BTreeMap;
use std::fs;

use incron::event::LineId;
use incron::table::Mask;
use incron::time::Clock;
use incron::watch::Report;
use incron::watch::fanotify::{Fanotify, Gate, Options};
use proptest::prelude::*;
use watch_kit::{Kit, Tmpfs, kit_or_skip, request};

/// A source that leaves out early; line 1 is on `d`.
struct Loud {
    _fs: Tmpfs,
    kit: Kit,
    source: Fanotify,
    clock: Clock,
    out: Vec<Report>,
}

impl Loud {
    fn new(loud: u32) -> Option<Self> {
        let kit = kit_or_skip()?;
        let fs = Tmpfs::new(kit.path(""));
        kit.mkdir("d");
        kit.mkdir("noisy");
        let options = Options {
            loud: Some(loud),
            ..Options::default()
        };
        let source = Fanotify::new(Gate::new().unwrap(), options).unwrap();
        let mut loud = Self {
            _fs: fs,
            kit,
            source,
            clock: Clock::new(),
            out: Vec::new(),
        };
        loud.add(1, "d");
        Some(loud)
    }

    fn add(&mut self, line: u32, dir: &str) {
        let mask = Mask::CREATE | Mask::MOVED_TO | Mask::DELETE;
        let asked = request(line, self.kit.path(dir), mask);
        self.source.add(&asked, &mut self.out).unwrap();
    }

    fn read(&mut self) {
        let (now, out) = (self.clock.now(), &mut self.out);
        while self.source.drain(now, out).unwrap() {}
    }

    /// Makes and removes files in `dir`.
    fn noise(&mut self, dir: &str) {
        for i in 0..100 {
            let file = format!("{dir}/noise{i}");
            self.kit.write(&file);
            fs::remove_file(self.kit.path(&file)).unwrap();
        }
        self.read();
    }

    /// Until `dir` is left out. What others do in the directory of temporary files, on the
    /// way to the path, is read as well, and may be what was met last.
    fn hush(&mut self, dir: &str) {
        for _ in 0..100 {
            self.noise(dir);
            if self.hushed() == 1 {
                return;
            }
        }
        panic!("{dir} is not left out");
    }

    fn hushed(&self) -> usize {
        self.source.figures().hushed
    }

    /// How often each name was told to `line` as there.
    fn told(&mut self, line: u32) -> BTreeMap<String, usize> {
        self.read();
        let mut told = BTreeMap::new();
        for report in &self.out {
            let Report::Event(lines, event) = report else {
                continue;
            };
            let there = event.mask.intersects(Mask::CREATE | Mask::MOVED_TO);
            if there && lines.into_iter().any(|id| id == LineId(line)) {
                let name = event.name.to_str().unwrap().to_owned();
                *told.entry(name).or_default() += 1;
            }
        }
        told
    }
}

#[test]
fn a_noisy_directory_is_left_out_and_heard_when_it_is_renamed_into_reach() {
    let Some(mut loud) = Loud::new(50) else {
        return;
    };
    loud.hush("noisy");
    let before = loud.source.figures().records;
    loud.noise("noisy");
    let more = loud.source.figures().records - before;
    assert!(more < 100, "a record was made of each file");
    loud.kit.write("noisy/meanwhile");
    loud.kit.mv("noisy", "d/in");
    loud.kit.write("d/in/window");
    loud.read();
    assert_eq!(loud.hushed(), 0);
    loud.kit.write("d/in/later");
    let told = loud.told(1);
    for name in ["in", "meanwhile", "window", "later"] {
        assert_eq!(told.get(name), Some(&1), "{name}: {told:?}");
    }
}

#[test]
fn a_line_on_a_noisy_directory_is_served() {
    let Some(mut loud) = Loud::new(50) else {
        return;
    };
    loud.hush("noisy");
    loud.add(2, "noisy");
    assert_eq!(loud.hushed(), 0);
    loud.kit.write("noisy/now");
    assert_eq!(loud.told(2).get("now"), Some(&1));
}

#[test]
fn renames_out_of_it_and_directories_in_it_are_heard() {
    let Some(mut loud) = Loud::new(50) else {
        return;
    };
    loud.hush("noisy");
    loud.kit.write("noisy/file");
    loud.kit.mkdir("noisy/sub");
    loud.kit.write("noisy/sub/deep");
    loud.kit.mv("noisy/file", "d/file");
    loud.kit.mv("noisy/sub", "d/sub");
    let told = loud.told(1);
    for name in ["file", "sub", "deep"] {
        assert_eq!(told.get(name), Some(&1), "{name}: {told:?}");
    }
}

#[test]
fn where_a_file_is_watched_nothing_is_left_out() {
    let Some(mut loud) = Loud::new(50) else {
        return;
    };
    loud.kit.write("watched");
    fs::hard_link(loud.kit.path("watched"), loud.kit.path("noisy/link")).unwrap();
    loud.read();
    let asked = request(3, loud.kit.path("watched"), Mask::CLOSE_WRITE);
    loud.source.add(&asked, &mut loud.out).unwrap();
    loud.noise("noisy");
    assert_eq!(loud.hushed(), 0);
    loud.kit.write("noisy/link");
    loud.read();
    let of_file = |r: &&Report| matches!(r, Report::Event(lines, _) if lines.into_iter().any(|id| id == LineId(3)));
    assert_eq!(loud.out.iter().filter(of_file).count(), 1);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Noise,
    Write,
    Toggle,
    Read,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Of a directory that goes in and out of reach, each file that is in it when it is
    /// in, or is made in it then, is told; so is one that waits in it.
    #[test]
    fn a_directory_that_comes_and_goes_is_told_whenever_it_is_there(steps in proptest::collection::vec(
        prop_oneof![Just(Step::Noise), Just(Step::Write), Just(Step::Toggle), Just(Step::Read)], 1..40)) {
        let Some(mut loud) = Loud::new(1) else { return Ok(()) };
        let (mut inside, mut made, mut owed) = (false, Vec::new(), Vec::<String>::new());
        for step in steps {
            let dir = if inside { "d/in" } else { "noisy" };
            match step {
                Step::Noise => loud.noise(dir),
                Step::Read => loud.read(),
                Step::Toggle => {
                    loud.read();
                    let to = if inside { "noisy" } else { "d/in" };
                    loud.kit.mv(dir, to);
                    inside = !inside;
                    if inside {
                        owed.extend(made.iter().cloned());
                    }
                }
                Step::Write => {
                    let name = format!("f{}", made.len());
                    loud.kit.write(&format!("{dir}/{name}"));
                    if inside {
                        owed.push(name.clone());
                    }
                    made.push(name);
                }
            }
        }
        if !inside {
            // What was told of it while it was in is all there will be.
            loud.read();
        }
        let told = loud.told(1);
        for name in owed {
            prop_assert!(told.contains_key(&name), "{} of {:?}", name, told);
        }
    }
}
