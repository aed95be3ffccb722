//! Sequences that the fanotify source lost or repeated something of once, as short as they
//! were found: mounts carried along, links and exchanges.

use super::operations::Op;

/// A line of the list: what it is about, and its operations.
type Case = (&'static str, &'static str);

const CASES: &[Case] = &[
    (
        "a mount goes along in two exchanges",
        "Mkdir(d/a) Mkdir(d/f) Mkdir(d/a/a) Mount(d/a/a) Check Tree(d/b/a/b) Exchange(d/f,d/b) Exchange(d/f/a/b,d/a)",
    ),
    (
        "a file is written where the end of a mount uncovered it",
        "MkdirAll(d/b) Rename(d/b,d/a) Mount(d/a) Read Unmount(d/a) Write(d/a/f)",
    ),
    (
        "what a bind mount shows is removed and made anew",
        "MkdirAll(d/f) MkdirAll(d/b/f/a) Bind(d/b,d/f) Read RemoveAll(d/b) Check MkdirAll(d/b/a)",
    ),
    (
        "what a bind mount shows is renamed",
        "MkdirAll(d/f/c/c) MkdirAll(d/.h/.h/f) MkdirAll(d/c/b) Bind(d/.h,d/c) Check Rename(d/.h,d/f/g) MkdirAll(d/a/c)",
    ),
    (
        "what a bind mount shows is renamed out of the tree",
        "MkdirAll(d/g) Tree(d/b/a/b) Bind(d/g,d/b) MkdirAll(d/b/c) Check Rename(d/g,o/f)",
    ),
    (
        "a mount comes into the tree",
        "Tree(o/a/b/g) MkdirAll(d/c/a/a) Mount(o/a/b) Check Exchange(o/a,d/c/a/a) Probe",
    ),
    (
        "a mount over a mount",
        "MkdirAll(d/f) Mount(d/f) Read Mount(d/f) Tree(d/f/b/b) Check RemoveAll(d/f)",
    ),
    (
        "a mount over a mount, and a rename beside it",
        "Mkdir(o/b) Mkdir(d/c) Rename(o/b,d/g) Mkdir(d/a) Mount(d/a) Read Mount(d/a) Read Rename(d/g,d/c/.h) Probe",
    ),
    (
        "an exchange of the directory of a mount",
        "MkdirAll(d/c/f) MkdirAll(d/a/a) Mount(d/a/a) Read Exchange(d/a,d/c) Write(d/c/a/c)",
    ),
    (
        "a link that a mount hides",
        "MkdirAll(d/b) Tree(o/a) Bind(o/a,d/b) Symlink(d/f,o/a/c) Check Mount(d/b) Tree(d/f/c/b) Check Write(d/f/f)",
    ),
    (
        "a bind mount that a pattern matches shows the same",
        "MkdirAll(d/a/b) Mkdir(d/b) MkdirAll(d/f/f) Bind(d/b,d/a) Tree(d/a/b) Check Exchange(d/b,d/f/f)",
    ),
    (
        "a bind mount shows what a mount hides",
        "Tree(d/b) MkdirAll(d/a/g) Mount(d/b/a) Bind(d/b,d/a)",
    ),
    (
        "a second mount has the number of the first",
        "MkdirAll(d/b/a) Mount(d/b) Check Unmount(d/b) Mount(d/b) Nameless(d/b/c)",
    ),
    (
        "a tree comes to two places",
        "Tree(d/g) MkdirAll(d/c/c/f) Bind(d/c,d/g) MkdirAll(d/b/a/g) Read Rename(d/b,d/c/f)",
    ),
    (
        "a bind mount's directory is the second of an exchange",
        "MkdirAll(d/a) Tree(d/c) Mkdir(d/f) MkdirAll(d/b/c) Exchange(d/a,d/b) Bind(d/c,d/a/c) Check Exchange(d/f,d/c)",
    ),
    (
        "a tree is renamed to where a mount has ended",
        "MkdirAll(d/a/.h) MkdirAll(d/b/b) Mount(d/a) Read Unmount(d/a) Rename(d/b,d/a/g)",
    ),
    (
        "a file without a name where a mount has ended",
        "MkdirAll(d/b/a) Mount(d/b) Check Unmount(d/b) Nameless(d/b/f)",
    ),
    (
        "a bind mount in what it shows",
        "Mkdir(d/f) MkdirAll(d/b) Switch(o/b,d/g) MkdirAll(o/b/a) Bind(d/f,d/g/a) Rename(o/b,d/f/c) Check Exchange(d/f,d/b)",
    ),
    (
        "a link leads back to the file of before",
        "MkdirAll(d/.h) Write(d/.h/f) Mkdir(d/b) Symlink(d/b,d/a) Write(d/a/f) Check Switch(d/.h,d/a) Probe Switch(d/b,d/a)",
    ),
    (
        "a link takes the place of a directory",
        "MkdirAll(d/f/f) MkdirAll(d/b/c) Switch(d/f,d/a) Exchange(d/a,d/b/c)",
    ),
    (
        "a tree is renamed into what a link leads back to",
        "MkdirAll(d/a/c/c) MkdirAll(d/.h) Read Rename(d/a,d/b) Rename(d/.h,d/b/c/.h) Switch(d/b,d/a)",
    ),
    (
        "something is renamed out of what has left the tree",
        "Tree(o/b) Tree(d/.h) Switch(d/.h/a,d/a) Write(d/.h/b) Read Rename(d/.h,o/a) Probe Switch(o/a,d/a) Rename(d/a/a,o/b/b)",
    ),
    (
        "a directory takes the place of a link to the file in it",
        "Switch(d/b/f,d/a) Read MkdirAll(d/b) Write(d/b/f) Exchange(d/b,d/a)",
    ),
    (
        "a tree is renamed into what the only path that had lost it leads back to",
        "MkdirAll(o/a) Mkdir(d/c) Switch(d/c,d/a) Read Switch(d/g/b,d/a) Rename(o/a,d/c/a) Read Switch(d/c,d/a)",
    ),
    (
        "what a bind mount that a pattern matches shows is renamed out of the tree",
        "MkdirAll(d/b/.h) Tree(d/a/b/a) Bind(d/b,d/a) Write(d/a/f) Check Rename(d/b,o/f)",
    ),
    (
        "the number of a file without a name is used again",
        "Tree(d/b) Probe Write(d/g) Nameless(d/g) Nameless(d/g) Write(d/b/.h)",
    ),
    (
        "a file takes the place of a directory in an exchange, at a path through a link",
        "MkdirAll(d/b/c) Nameless(d/b/f) MkdirAll(d/g) MkdirAll(o/a/f/a) Link(d/b/f,d/g/g) Switch(o/a,d/a) Read Exchange(d/g/g,o/a/f) Check Write(d/b/f)",
    ),
    (
        "a file is written where the end of a bind mount shows it by its own path",
        "MkdirAll(d/a/b) Bind(d/a/b,d/a) Check Unmount(d/a) Write(d/a/b/f)",
    ),
    (
        "a directory takes the place of a link that leads to itself",
        "MkdirAll(d/a/g) Symlink(d/b,d/a/a) Write(d/a/a) Exchange(d/a/a,d/b) Read Write(d/a/f) Exchange(d/a,d/b)",
    ),
    (
        "one name of a file goes there and back and is removed, while another was renamed",
        "Mkdir(d/a) Mkdir(d/b) Mkdir(d/c) Write(d/a/f) Link(d/a/f,d/b/g) Check Rename(d/b/g,d/c/g) Rename(d/a/f,d/c/f) Rename(d/c/f,d/a/f) Remove(d/a/f)",
    ),
    (
        "a file goes there and back, and then by a link",
        "Mkdir(d/a) Mkdir(d/c) Write(d/a/f) Check Rename(d/a/f,d/c/f) Rename(d/c/f,d/a/f) Link(d/a/f,d/c/f) Remove(d/a/f)",
    ),
    (
        "a link is switched to where a tree has just been renamed from",
        "MkdirAll(d/g/b/b) Switch(o/g/.h,d/a) Write(d/g/b/b/f) Rename(d/g,d/b) Switch(d/g,d/a)",
    ),
    (
        "a file is uncovered after the one that was shown in its place was removed",
        "Mkdir(d/a) Write(d/a/f) Mkdir(d/c) Write(d/c/f) Bind(d/c,d/a) Read RemoveAll(d/c) Unmount(d/a)",
    ),
    (
        "a directory is renamed beside a mount over a mount over a mount",
        "Mkdir(d/f) MkdirAll(d/a/.h/.h) MkdirAll(d/.h) Mkdir(d/b) Bind(d/.h,d/b) Mount(d/b) Read Mount(d/b) Check Rename(d/a,d/f/b) Mkdir(d/b/f)",
    ),
    (
        "a directory with a mount in it goes there and back",
        "Mkdir(d/f) MkdirAll(d/.h) MkdirAll(d/a/b) Bind(d/.h,d/a/b) Mount(d/a/b) Read Mount(d/a/b) Check Rename(d/a,d/f/b) Rename(d/f/b,d/a) Check Mkdir(d/a/b/f)",
    ),
    (
        "a directory with a mount in it goes there and back past a pattern",
        "MkdirAll(d/f) MkdirAll(d/a/b) Mount(d/a/b) Check Rename(d/a,d/f/b) Rename(d/f/b,d/a) Mkdir(d/a/b/f)",
    ),
    (
        "a bind mount elsewhere has the number of one that has ended",
        "MkdirAll(d/a) MkdirAll(d/g) MkdirAll(o/a/b) MkdirAll(o/b/c) Bind(o/a,d/a) Check Unmount(d/a) Bind(o/b,d/g)",
    ),
    (
        "a mount comes along with a directory that a bind mount shows",
        "Tree(o/b/g/g) Mount(o/b/g) Mkdir(d/f) Tree(d/c) Bind(o/b,d/f) Check Rename(o/b,d/c/c) Read Write(d/c/c/g/f)",
    ),
    (
        "a directory is renamed where a mount has ended",
        "MkdirAll(d/a/f/.h) Mount(d/a) MkdirAll(d/g/f/f) Read Unmount(d/a) Mkdir(d/g/b) Rename(d/a,d/g/b/f)",
    ),
    (
        "a tree is made on the way to where a bind mount shows it to a pattern",
        "Write(d/b) MkdirAll(d/f/g/a) Exchange(d/f,d/b) Bind(d/b,d/b/g) Tree(d/b/c/a)",
    ),
    (
        "a directory bound over itself hides the mount in it",
        "Switch(d/b/b,d/a) Tree(d/c) Mount(d/c/a) Exchange(d/c,d/a) Read Bind(d/a,d/a)",
    ),
    (
        "a directory is renamed where a mount has ended, and a bind mount shows it elsewhere",
        "MkdirAll(d/a/g/a) MkdirAll(d/c/c/a) Mkdir(d/g) Bind(d/c,d/a) Mount(d/c) Read Unmount(d/c) Rename(d/c,d/g/b)",
    ),
];

/// All of them, as operations.
pub fn all() -> impl Iterator<Item = (&'static str, Vec<Op>)> {
    CASES
        .iter()
        .map(|(name, ops)| (*name, ops.split(' ').map(parse).collect()))
}

/// `Rename(d/a,d/b)`, as a failure prints it but for the quotes.
fn parse(text: &str) -> Op {
    let (name, paths) = text
        .trim_end_matches(')')
        .split_once('(')
        .unwrap_or((text, ""));
    let (p, q) = paths.split_once(',').unwrap_or((paths, ""));
    let (p, q) = (p.to_owned(), q.to_owned());
    match name {
        "Write" => Op::Write(p),
        "Mkdir" => Op::Mkdir(p),
        "MkdirAll" => Op::MkdirAll(p),
        "Tree" => Op::Tree(p),
        "Remove" => Op::Remove(p),
        "RemoveAll" => Op::RemoveAll(p),
        "Rename" => Op::Rename(p, q),
        "Exchange" => Op::Exchange(p, q),
        "Symlink" => Op::Symlink(p, q),
        "Link" => Op::Link(p, q),
        "Switch" => Op::Switch(p, q),
        "Nameless" => Op::Nameless(p),
        "Mount" => Op::Mount(p),
        "Bind" => Op::Bind(p, q),
        "Unmount" => Op::Unmount(p),
        "Read" => Op::Read,
        "Check" => Op::Check,
        "Probe" => Op::Probe,
        _ => panic!("no operation: {text}"),
    }
}
