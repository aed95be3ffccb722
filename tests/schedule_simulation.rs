//! Days of events in seconds: what the scheduler promises, over random worlds.
//!
//! A failure prints its seed; `SCHEDULE_SEED=n cargo test --test schedule_simulation`
//! runs that one again.

mod schedule_support;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use incron::table::{Limit, Options};
use schedule_support::{Plan, Random, World, ms};

/// Runs a world per seed; the seed of the first that fails is printed.
fn worlds(count: u64, plan: impl Fn(u64, &mut Random) -> Plan, check: impl Fn(Plan)) {
    let chosen = std::env::var("SCHEDULE_SEED")
        .ok()
        .and_then(|s| s.parse().ok());
    let seeds: Vec<u64> = chosen.map_or_else(|| (1..=count).collect(), |seed| vec![seed]);
    for seed in seeds {
        let plan = plan(seed, &mut Random(!seed));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(plan.clone()))) {
            eprintln!("failed with SCHEDULE_SEED={seed}: {plan:?}");
            resume_unwind(panic);
        }
    }
}

fn live(plan: Plan) -> World {
    let mut world = World::new(plan, false);
    world.live();
    world
}

#[test]
fn a_million_events_each_end_in_a_run_or_a_counted_reason() {
    let plan = |seed, r: &mut Random| Plan {
        lines: r.pick(&[1, 10, 300, 3000]),
        events: 50_000,
        max_jobs: r.pick(&[1, 16, 64, 1000]),
        gap_us: r.pick(&[100, 2000, 20_000]),
        reloads: r.chance(50),
        close: r.chance(25),
        ..Plan::new(seed)
    };
    worlds(20, plan, |plan| drop(live(plan)));
}

#[test]
fn many_small_worlds() {
    let plan = |seed, r: &mut Random| Plan {
        lines: 1 + r.below(8) as u32,
        events: 300,
        paths: 1 + r.below(4),
        max_jobs: 1 + r.below(4) as usize,
        gap_us: r.pick(&[1000, 20_000, 200_000]),
        jumps: r.chance(50),
        reloads: r.chance(30),
        refusals: r.chance(50),
        close: r.chance(25),
        longest_ms: r.pick(&[1, 50, 3000]),
        ..Plan::new(seed)
    };
    worlds(500, plan, |plan| drop(live(plan)));
}

#[test]
fn deadlines_are_exact() {
    let plan = |seed, r: &mut Random| Plan {
        lines: 1 + r.below(10) as u32,
        events: 200,
        max_jobs: 1 + r.below(4) as usize,
        gap_us: r.pick(&[1000, 20_000]),
        jumps: false,
        ..Plan::new(seed)
    };
    worlds(60, plan, |plan| {
        let mut woken = World::new(plan.clone(), true);
        woken.live();
        let mut ticked = World::new(Plan { tick: true, ..plan }, true);
        ticked.live();
        assert_eq!(woken.did, ticked.did);
    });
}

#[test]
fn a_line_that_waits_is_served_within_a_round() {
    let plan = |seed, r: &mut Random| Plan {
        lines: 2 + r.below(30) as u32,
        events: 2000,
        max_jobs: 1 + r.below(8) as usize,
        gap_us: 100,
        jumps: false,
        reloads: false,
        refusals: false,
        options: Some(Options::default()),
        turns: true,
        ..Plan::new(seed)
    };
    worlds(20, plan, |plan| drop(live(plan)));
}

#[test]
fn settled_paths_start_on_the_moment_where_nothing_holds_them() {
    use schedule_support::Did;
    let plan = |seed, r: &mut Random| {
        let settle = ms(r.pick(&[5, 50, 500]));
        let max_wait = r.chance(50).then(|| ms(r.pick(&[5, 60, 700])));
        Plan {
            lines: 1 + r.below(20) as u32,
            events: 2000,
            max_jobs: 100_000,
            gap_us: r.pick(&[1000, 5000]),
            jumps: false,
            reloads: false,
            refusals: false,
            options: Some(Options {
                settle,
                max_wait,
                ..Options::default()
            }),
            ..Plan::new(seed)
        }
    };
    worlds(30, plan, |plan| {
        let mut world = World::new(plan, true);
        world.live();
        for did in &world.did {
            if let Did::Start {
                at,
                events,
                attempt: 0,
                ..
            } = did
            {
                assert!(events.iter().all(|e| world.due(*e) == *at), "{did:?}: late");
            }
        }
    });
}

#[test]
fn the_guard_slows_a_flood_and_says_so_once() {
    use schedule_support::Did;
    let limit = Limit {
        runs: 10,
        per: ms(1000),
    };
    let plan = |seed, _: &mut Random| Plan {
        lines: 1,
        events: 5000,
        gap_us: 2000,
        jumps: false,
        reloads: false,
        refusals: false,
        max_jobs: 1000,
        options: Some(Options {
            limit,
            ..Options::default()
        }),
        ..Plan::new(seed)
    };
    worlds(5, plan, |plan| {
        let mut world = World::new(plan, true);
        world.live();
        let notices: Vec<_> = world
            .did
            .iter()
            .filter(|d| matches!(d, Did::Notice { .. }))
            .collect();
        assert_eq!(notices.len(), 2, "{notices:?}");
    });
}
