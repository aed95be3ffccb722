//! Sequences that failed once, as short as they were found. Those of mounts, links and
//! exchanges that fanotify lost or repeated something of are in `carried`.

use super::games::{Game, play};
use super::operations::{Deck, Op};
use super::{carried, marked, mounting, plain, plays, tiny_queue, watch_kit};

fn both(ops: &[Op]) {
    for game in [plain(), marked()].into_iter().filter(|game| plays(*game)) {
        assert_eq!(play(ops, game), Ok(()), "{game:?}");
    }
}

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
    const NAME: &str = "sequences::a_tree_that_is_at_a_second_place_is_told_there";
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

/// Sequences that fanotify lost or repeated once, as short as they were found.
#[test]
fn mounts_that_move_with_their_directories_are_told_by_fanotify() {
    const NAME: &str = "sequences::mounts_that_move_with_their_directories_are_told_by_fanotify";
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
    const NAME: &str = "sequences::a_directory_that_leaves_two_places_at_once_has_one";
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
    const NAME: &str = "sequences::what_a_mount_hides_has_not_moved_to_where_else_it_is_seen";
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

#[test]
fn a_directory_that_comes_to_a_name_in_two_exchanges_leaves_it() {
    let p = |s: &str| s.to_owned();
    let ops = [
        Op::Mkdir(p("d/a")),
        Op::MkdirAll(p("d/f/f/a")),
        Op::Mkdir(p("d/.h")),
        Op::MkdirAll(p("o/g/g")),
        Op::Check,
        Op::Exchange(p("d/f"), p("d/a")),
        Op::Exchange(p("o/g"), p("d/a")),
        Op::Read,
        Op::Rename(p("d/a"), p("d/.h/.h")),
        Op::Probe,
    ];
    both(&ops);
}

/// Nobody looks between, so that the table of mounts says the same.
#[test]
fn a_file_system_that_is_mounted_again_is_heard_wherever_it_lies() {
    const NAME: &str = "sequences::a_file_system_that_is_mounted_again_is_heard_wherever_it_lies";
    if !watch_kit::in_own_mounts(NAME) {
        return;
    }
    let p = |s: &str| s.to_owned();
    let ops = [
        Op::MkdirAll(p("d/b/c")),
        Op::Mount(p("d/b")),
        Op::Read,
        Op::Unmount(p("d/b")),
        Op::Mount(p("d/b")),
        Op::Switch(p("d/b/b"), p("d/a")),
        Op::Probe,
    ];
    for parts in [false, true] {
        let game = mounting(marked());
        let deck = Deck { parts, ..game.deck };
        assert_eq!(play(&ops, Game { deck, ..game }), Ok(()), "{deck:?}");
    }
}
