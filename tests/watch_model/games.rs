//! Plays games by their seeds, and makes one that fails as short as it can be.

use incron::table::Source as Choice;

use super::dice::Dice;
use super::model::Model;
use super::operations::{Deck, Op, op};
use super::shrink::shrink;

/// What is played with.
#[derive(Clone, Copy, Debug)]
pub struct Game {
    pub source: Choice,
    /// Events that the kernel's queue holds; None: enough for exact counts.
    pub queue: Option<u32>,
    /// More lines than the one on the tree and the one on a file.
    pub lines: bool,
    pub deck: Deck,
}

/// Operations of one game.
const LENGTH: usize = 300;

/// Plays one game; what went wrong.
pub fn play(ops: &[Op], game: Game) -> Result<(), String> {
    let mut model = Model::new(game);
    let played = ops
        .iter()
        .try_for_each(|op| model.run(op).map_err(|e| format!("{op:?}: {e}")))
        .and_then(|()| model.check());
    model.unmount_all();
    played
}

/// Plays so many operations, the same in each run. A longer run by hand goes on after a
/// failure, so that its figure is that of all its games; its seeds are replayed one by one.
pub fn play_all(game: Game, operations: u64) {
    let number = |name| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let seed = number("WATCH_MODEL_SEED");
    let total = number("WATCH_MODEL_OPS").unwrap_or(if seed.is_some() { 1 } else { operations });
    let first = seed.unwrap_or(1);
    let mut failed = Vec::new();
    for seed in first..first + total.div_ceil(LENGTH as u64) {
        let mut dice = Dice::new(seed);
        let ops: Vec<Op> = (0..LENGTH).map(|_| op(&mut dice, game.deck)).collect();
        if let Err(error) = play(&ops, game) {
            // Stamps have the grain of the kernel's tick, so that a thing told twice may
            // be luck (docs/semantics.md); it counts when it comes again. A loss always does.
            let twice = error.contains(" happened");
            if twice && (0..3).any(|_| play(&ops, game).is_ok()) {
                eprintln!("by luck: WATCH_MODEL_SEED={seed} {game:?}: {error}");
                continue;
            }
            if total > operations {
                eprintln!("WATCH_MODEL_SEED={seed} {game:?}: {error}");
                failed.push(seed);
                continue;
            }
            let short = shrink(&ops, 3_000, |less| play(less, game).is_err());
            let again = play(&short, game);
            panic!("WATCH_MODEL_SEED={seed} {game:?}: {error}\nshortest: {short:#?}\n{again:?}");
        }
    }
    assert!(
        failed.is_empty(),
        "{game:?}: these seeds failed: {failed:?}"
    );
}
