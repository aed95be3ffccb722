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
mod shrink;
mod snapshot;
#[path = "../watch_kit/mod.rs"]
mod watch_kit;

use games::{Game, play, play_all};
use incron::table::Source;
use operations::{Deck, Op};

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

fn both(ops: &[Op]) {
    for game in [plain(), marked()].into_iter().filter(|game| plays(*game)) {
        assert_eq!(play(ops, game), Ok(()), "{game:?}");
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

/// Sequences that failed once, as short as they were found.
#[test]
fn a_directory_that_leaves_through_two_exchanges_is_forgotten() {
    let p = |s: &str| s.to_owned();
    let ops = [
        Op::Write(p("o/.h")),
        Op::Mkdir(p("d/b")),
        Op::MkdirAll(p("d/a/a")),
        Op::Read,
        Op::Exchange(p("d/a"), p("d/b")),
        Op::Exchange(p("o/.h"), p("d/b")),
        Op::Tree(p("o/.h/b")),
    ];
    both(&ops);
}

#[test]
fn a_directory_renamed_while_the_queue_is_full_is_watched() {
    let p = |s: &str| s.to_owned();
    let ops = [
        Op::Tree(p("o/a/a/b")),
        Op::MkdirAll(p("d/c/f")),
        Op::Rename(p("o/a"), p("d/b")),
        Op::Read,
        Op::RemoveAll(p("d/b")),
        Op::MkdirAll(p("d/b/f")),
        Op::Rename(p("d/c"), p("d/b/b")),
    ];
    assert_eq!(play(&ops, tiny_queue()), Ok(()));
}

#[test]
fn a_file_that_was_away_for_a_moment_is_not_new() {
    let p = |s: &str| s.to_owned();
    let ops = [
        Op::Mkdir(p("d/a")),
        Op::Write(p("d/a/f")),
        Op::Mkdir(p("o/b")),
        Op::Read,
        Op::Exchange(p("d/a"), p("o/b")),
        Op::Exchange(p("d/a"), p("o/b")),
    ];
    both(&ops);
}

#[test]
fn a_file_that_has_its_name_late_is_told_to_patterns() {
    let p = |s: &str| s.to_owned();
    let ops = [Op::MkdirAll(p("d/g/b")), Op::Nameless(p("d/g/f"))];
    for game in [plain(), marked()].into_iter().filter(|game| plays(*game)) {
        let lines = true;
        assert_eq!(play(&ops, Game { lines, ..game }), Ok(()), "{game:?}");
    }
}

#[test]
fn a_tree_that_is_at_a_second_place_is_told_there() {
    const NAME: &str = "a_tree_that_is_at_a_second_place_is_told_there";
    if !watch_kit::in_own_mounts(NAME) {
        return;
    }
    let p = |s: &str| s.to_owned();
    let ops = [
        Op::Tree(p("d/a")),
        Op::Tree(p("d/g/c/c")),
        Op::Bind(p("d/a"), p("d/g")),
    ];
    for game in [plain(), marked()].into_iter().filter(|game| plays(*game)) {
        assert_eq!(play(&ops, mounting(game)), Ok(()), "{game:?}");
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

/// Sequences that fanotify lost or repeated once, as short as they were found.
#[test]
fn mounts_that_move_with_their_directories_are_told_by_fanotify() {
    const NAME: &str = "mounts_that_move_with_their_directories_are_told_by_fanotify";
    if !watch_kit::in_own_mounts(NAME) || !plays(marked()) {
        return;
    }
    let play = |(name, ops): (_, Vec<Op>)| Some((name, play(&ops, mounting(marked())).err()?));
    let failed: Vec<_> = carried::all().filter_map(play).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_directory_that_took_the_name_of_another_while_its_path_was_away_is_told() {
    let p = |s: &str| s.to_owned();
    let ops = [
        Op::Tree(p("d/b")),
        Op::Tree(p("o/c")),
        Op::Switch(p("d/b"), p("d/a")),
        Op::Read,
        Op::Switch(p("o/nothing"), p("d/a")),
        Op::Check,
        Op::Exchange(p("d/b/a/b"), p("o/c/a")),
        Op::Switch(p("d/b"), p("d/a")),
    ];
    let lines = true;
    assert_eq!(play(&ops, Game { lines, ..plain() }), Ok(()));
}

#[test]
fn a_directory_that_leaves_two_places_at_once_has_one() {
    const NAME: &str = "a_directory_that_leaves_two_places_at_once_has_one";
    if !watch_kit::in_own_mounts(NAME) {
        return;
    }
    let p = |s: &str| s.to_owned();
    let ops = [
        Op::MkdirAll(p("d/g/b/f")),
        Op::Switch(p("d/.h/f/a"), p("d/a")),
        Op::Exchange(p("d/a"), p("d/g")),
        Op::Read,
        Op::MkdirAll(p("d/f/.h/c")),
        Op::Bind(p("d/a"), p("d/f")),
        Op::Rename(p("d/a/b"), p("d/a/a")),
        Op::Probe,
        Op::Exchange(p("d/a/a"), p("d/g")),
        Op::MkdirAll(p("d/g/.h")),
    ];
    let deck = Deck {
        mounts: true,
        ..Deck::default()
    };
    for game in [plain(), marked()].into_iter().filter(|game| plays(*game)) {
        assert_eq!(play(&ops, Game { deck, ..game }), Ok(()), "{game:?}");
    }
}

/// By a bind mount of a directory over one that it is in, of one that a mount hides, and
/// over itself.
#[test]
fn what_a_mount_hides_has_not_moved_to_where_else_it_is_seen() {
    const NAME: &str = "what_a_mount_hides_has_not_moved_to_where_else_it_is_seen";
    if !watch_kit::in_own_mounts(NAME) {
        return;
    }
    let p = |s: &str| s.to_owned();
    let over = [
        Op::MkdirAll(p("d/b/a/.h")),
        Op::Mkdir(p("d/b/b")),
        Op::Read,
        Op::Bind(p("d/b/b"), p("d/b")),
        Op::Check,
        Op::Unmount(p("d/b")),
        Op::Probe,
    ];
    let filled = [
        Op::Tree(p("d/a/f/b")),
        Op::Read,
        Op::Bind(p("d/a/f"), p("d/a")),
        Op::Write(p("d/a/b/f")),
    ];
    let hidden = [
        Op::MkdirAll(p("d/a/b/a")),
        Op::Tree(p("d/b")),
        Op::Read,
        Op::Mount(p("d/b/a")),
        Op::Bind(p("d/b"), p("d/a")),
        Op::Write(p("d/a/a/f")),
        Op::Check,
        Op::Unmount(p("d/b/a")),
        Op::Probe,
    ];
    let itself = [
        Op::MkdirAll(p("d/b/c")),
        Op::Mount(p("d/b/c")),
        Op::Read,
        Op::Bind(p("d/b"), p("d/b")),
        Op::Probe,
        Op::Unmount(p("d/b")),
        Op::Probe,
    ];
    let deck = Deck {
        mounts: true,
        ..Deck::default()
    };
    for ops in [&over[..], &filled, &hidden, &itself] {
        assert_eq!(play(ops, Game { deck, ..plain() }), Ok(()));
    }
}
