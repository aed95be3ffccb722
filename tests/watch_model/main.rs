//! Random operations on a small tree, with random pauses and full queues, against
//! a model of what the lines must have been told.
//!
//! The model is the file system itself: a snapshot before and after each
//! operation says what came, went and was written. At each check the queue is
//! read to its end, and then
//!
//! - every visible thing that came, and every file that was written, has been told
//!   under a path it had since, after its last change;
//! - every name that went from a directory that is still there has been told;
//! - nothing has been told more often than it happened (unless the queue was full);
//! - the source holds exactly one watch for every visible directory, and from time
//!   to time a file is written in each of them, which must be told by its path.
//!
//! Beside the two lines of a plain game there are games with lines of all kinds that
//! share directories, with trees that move while another thread writes in them, and,
//! as root, with file systems that come and go.
//!
//! An operation that does not apply does nothing, so any sequence can be cut: a
//! failure is printed as the shortest sequence found, with its seed.
//! The games are the same in every run. `WATCH_MODEL_SEED` replays one; with
//! `WATCH_MODEL_OPS`, so many operations of each test from that seed on (a million
//! new ones: `WATCH_MODEL_SEED=$(date +%s) WATCH_MODEL_OPS=1000000`).
//!
//! As root each game is played with fanotify, too, where the queue has no bound and a tiny
//! one means nothing. `WATCH_MODEL_SOURCE=fanotify` (or `inotify`) leaves the other out.

#![allow(dead_code)] // tests/daemon_model uses the rest

mod carried;
mod checks;
mod dice;
mod file;
mod games;
mod line;
mod model;
mod operations;
mod race;
mod scope;
mod sequences;
mod shrink;
mod snapshot;
#[path = "../watch_kit/mod.rs"]
mod watch_kit;

use games::{Game, play_all};
use incron::table::Source;
use operations::Deck;

/// A line on a tree and one on a file in it.
fn plain() -> Game {
    Game {
        source: Source::Inotify,
        queue: None,
        lines: false,
        deck: Deck::default(),
    }
}

/// The same, heard by the source that hears a whole file system.
fn marked() -> Game {
    let source = Source::Fanotify;
    Game { source, ..plain() }
}

/// True where games of this source are to be played.
fn plays(game: Game) -> bool {
    let wanted = std::env::var("WATCH_MODEL_SOURCE");
    match game.source {
        Source::Fanotify if !nix::unistd::geteuid().is_root() => {
            eprintln!("left out: fanotify, not root");
            false
        }
        Source::Fanotify => wanted.as_deref() != Ok("inotify"),
        _ => wanted.as_deref() != Ok("fanotify"),
    }
}

fn play_many(game: Game, operations: u64) {
    if plays(game) {
        play_all(game, operations);
    }
}

fn tiny_queue() -> Game {
    let queue = Some(16);
    Game { queue, ..plain() }
}

#[test]
fn random_operations_are_told_completely_and_once() {
    play_many(plain(), 30_000);
}

#[test]
fn random_operations_are_told_completely_and_once_by_fanotify() {
    play_many(marked(), 30_000);
}

#[test]
fn random_operations_through_a_tiny_queue_are_told_completely() {
    play_many(tiny_queue(), 30_000);
}

#[test]
fn lines_of_all_kinds_that_share_directories_are_told_all_of_it() {
    let lines = true;
    play_many(Game { lines, ..plain() }, 15_000);
    play_many(Game { lines, ..marked() }, 15_000);
}

#[test]
fn lines_of_all_kinds_survive_a_tiny_queue() {
    let lines = true;
    play_many(
        Game {
            lines,
            ..tiny_queue()
        },
        6_000,
    );
}

fn races(game: Game) -> Game {
    let deck = Deck {
        races: true,
        ..Deck::default()
    };
    Game { deck, ..game }
}

#[test]
fn trees_are_moved_while_files_are_written_in_them() {
    play_many(races(plain()), 9_000);
    let lines = true;
    play_many(races(Game { lines, ..plain() }), 6_000);
}

#[test]
fn trees_are_moved_while_files_are_written_in_them_by_fanotify() {
    play_many(races(marked()), 9_000);
}

#[test]
fn trees_come_and_go_for_all_kinds_of_lines_by_fanotify() {
    let lines = true;
    play_many(races(Game { lines, ..marked() }), 6_000);
}

#[test]
fn file_systems_come_and_go_over_watched_paths() {
    const NAME: &str = "file_systems_come_and_go_over_watched_paths";
    if !watch_kit::in_own_mounts(NAME) {
        return;
    }
    let deck = Deck {
        mounts: true,
        ..Deck::default()
    };
    for game in [plain(), marked()] {
        play_many(Game { deck, ..game }, 9_000);
    }
}

#[test]
fn file_systems_come_and_go_for_lines_of_all_kinds() {
    const NAME: &str = "file_systems_come_and_go_for_lines_of_all_kinds";
    if !watch_kit::in_own_mounts(NAME) {
        return;
    }
    for game in [plain(), marked()] {
        play_many(mounting(game), 6_000);
    }
}

/// As in a container with volumes.
#[test]
fn no_mount_shows_all_of_the_file_system() {
    const NAME: &str = "no_mount_shows_all_of_the_file_system";
    if !watch_kit::in_own_mounts(NAME) {
        return;
    }
    for mounts in [false, true] {
        let game = if mounts { mounting(marked()) } else { marked() };
        let parts = true;
        let deck = Deck { parts, ..game.deck };
        play_many(Game { deck, ..game }, 6_000);
    }
}

/// With mounts, and lines of all kinds.
fn mounting(game: Game) -> Game {
    let deck = Deck {
        mounts: true,
        ..Deck::default()
    };
    let lines = true;
    Game {
        lines,
        deck,
        ..game
    }
}

/// Some of the same with the other source, for `cargo test`.
#[test]
fn fanotify_plays_the_same_games() {
    if std::env::var_os("WATCH_MODEL_SOURCE").is_some() || watch_kit::kit_or_skip().is_none() {
        return;
    }
    let source = Source::Fanotify;
    let lines = true;
    play_all(Game { source, ..plain() }, 6_000);
    play_all(
        Game {
            source,
            ..tiny_queue()
        },
        3_000,
    );
    play_all(
        Game {
            source,
            lines,
            ..plain()
        },
        6_000,
    );
}
