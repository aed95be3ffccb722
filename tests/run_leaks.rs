//! Alone in its process, so that its descriptors and children can be counted.

mod run_support;

use std::fs;

use incron::run::Outcome;
use incron::schedule::RunId;
use run_support::{Loop, job};

#[test]
fn a_thousand_runs_leave_no_zombie_and_no_descriptor() {
    let mut the = Loop::new();
    the.runner.prepare();
    the.run(&job(["true"]));
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    the.runner.prepare();
    let before = descriptors();
    for _ in 0..10 {
        let runs: Vec<RunId> = (0..100)
            .map(|_| the.start(&job(["true"])).unwrap())
            .collect();
        for run in runs {
            assert_eq!(the.wait_for(run).outcome, Outcome::Exited(0));
        }
    }
    the.runner.prepare();
    assert_eq!(descriptors(), before);
    assert_eq!(the.runner.running(), 0);
    assert_eq!(the.children(), Vec::<i32>::new());
}
