//! What happens in a game, and games by their seeds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::dice::Dice;
use super::game::Game;
use super::operations::{Op, change};
use super::shrink::shrink;

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Op(Op),
    Check,
    /// SIGHUP.
    Reload,
    /// Another table, made from this number.
    Edit(usize),
    /// kill -9; the supervisor starts another.
    KillWorker,
    /// The daemon ends by SIGTERM, and is started by the next check.
    Stop,
    /// kill -9; it is started by the next check.
    KillDaemon,
}

/// What is played with.
#[derive(Clone, Copy, Debug)]
pub struct Deck {
    /// The ends of workers and daemons.
    pub ends: bool,
}

/// Acts of one game.
const LENGTH: usize = 1000;
/// Games at once.
const BESIDE: usize = 4;
/// What is not told by then never will be, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// For one of many tries to make a failure shorter.
const SHORT: Duration = Duration::from_secs(2);

fn act(dice: &mut Dice, deck: Deck) -> Act {
    match dice.roll(400) {
        0..12 => Act::Check,
        12..14 => Act::Reload,
        14..18 => Act::Edit(dice.roll(1 << 16)),
        18 if deck.ends => Act::KillWorker,
        19 if deck.ends => match dice.roll(3) {
            0 => Act::KillDaemon,
            _ => Act::Stop,
        },
        _ => Act::Op(change(dice)),
    }
}

/// What is not told after `patience` never will be.
fn play(acts: &[Act], patience: Duration) -> Result<(), String> {
    let prefix = super::game::prefix();
    let mut game = Game::new(&prefix, patience);
    let play = |act| game.play(act).map_err(|e| format!("{act:?}: {e}"));
    acts.iter().try_for_each(play)?;
    game.end()
}

/// Plays so many acts, the same in each run, in games beside each other.
pub fn play_all(deck: Deck, acts: u64) {
    let number = |name| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let seed = number("DAEMON_MODEL_SEED");
    let total = number("DAEMON_MODEL_OPS").unwrap_or(if seed.is_some() { 1 } else { acts });
    let first = seed.unwrap_or(1);
    let next = AtomicU64::new(first);
    let end = first + total.div_ceil(LENGTH as u64);
    // Most of a game is waiting for processes that begin and end.
    thread::scope(|scope| {
        for _ in 0..BESIDE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    play_seed(deck, seed);
                }
            });
        }
    });
}

fn play_seed(deck: Deck, seed: u64) {
    let mut dice = Dice::new(seed);
    let acts: Vec<Act> = (0..LENGTH).map(|_| act(&mut dice, deck)).collect();
    let Err(error) = play(&acts, PATIENCE) else {
        return;
    };
    // What is told twice may be luck: time stamps have the grain of the kernel's tick.
    if error.contains(" happened") && (0..3).any(|_| play(&acts, PATIENCE).is_ok()) {
        eprintln!("by luck: DAEMON_MODEL_SEED={seed} {deck:?}: {error}");
        return;
    }
    eprintln!("DAEMON_MODEL_SEED={seed} {deck:?}: {error}\nlooking for a shorter one");
    let short = shrink(&acts, 80, |less| play(less, SHORT).is_err());
    let again = play(&short, PATIENCE);
    panic!("DAEMON_MODEL_SEED={seed} {deck:?}: {error}\nshortest: {short:#?}\n{again:?}");
}
