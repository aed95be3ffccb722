//! On the real kernel; what is done is done before the queue is read, so that
//! nothing is waited for.

use super::*;
use std::fs;

const PARTS: [Part; 4] = [
    Part::Ending("-containers"),
    Part::Any,
    Part::Name("userdata"),
    Part::Name("pidfile"),
];

fn begun(base: &Path) -> (Finder, Vec<PathBuf>) {
    let mut finder = Finder::new(1000).unwrap();
    let found = finder.add(Pattern {
        base: base.to_owned(),
        parts: &PARTS,
    });
    (finder, found)
}

fn make(base: &Path, id: &str) -> PathBuf {
    let dir = base.join("overlay-containers").join(id).join("userdata");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("pidfile"), "1").unwrap();
    dir.join("pidfile")
}

#[test]
fn what_is_there_and_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let old = make(dir.path(), "old");
    let (mut finder, found) = begun(dir.path());
    assert_eq!(found, std::slice::from_ref(&old));
    assert!(finder.read().is_empty());
    let new = make(dir.path(), "new");
    assert_eq!(finder.read(), std::slice::from_ref(&new));
    fs::write(&old, "2").unwrap();
    fs::write(new.with_file_name(".p"), "3").unwrap();
    fs::rename(new.with_file_name(".p"), &new).unwrap();
    assert_eq!(finder.read(), [old, new]);
    // The store, its one wildcard, and one for each container.
    assert_eq!(finder.nodes.len(), 4, "{:?}", finder.nodes);
}

#[test]
fn a_store_that_is_not_there_yet_and_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("a/b/c");
    let (mut finder, found) = begun(&base);
    assert!(found.is_empty());
    for _ in 0..3 {
        let file = make(&base, "x");
        assert_eq!(finder.read(), [file]);
        fs::remove_dir_all(dir.path().join("a")).unwrap();
        assert!(finder.read().is_empty());
        assert_eq!(finder.nodes.len(), 1, "{:?}", finder.nodes);
    }
}

#[test]
fn a_container_made_again_under_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (mut finder, _) = begun(dir.path());
    for _ in 0..20 {
        let file = make(dir.path(), "x");
        assert_eq!(finder.read(), std::slice::from_ref(&file));
        fs::remove_dir_all(file.parent().unwrap()).unwrap();
        assert!(finder.read().is_empty());
        let file = make(dir.path(), "x");
        assert_eq!(finder.read(), [file]);
        fs::remove_dir_all(dir.path().join("overlay-containers/x")).unwrap();
        assert!(finder.read().is_empty());
        assert_eq!(finder.nodes.len(), 2, "{:?}", finder.nodes);
    }
}

#[test]
fn links_below_the_store_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = make(elsewhere.path(), "x");
    let link = |to: &Path, at: &str| std::os::unix::fs::symlink(to, dir.path().join(at)).unwrap();
    link(&elsewhere.path().join("overlay-containers"), "l-containers");
    fs::create_dir_all(dir.path().join("o-containers/y/userdata")).unwrap();
    link(&file, "o-containers/y/userdata/pidfile");
    let (mut finder, found) = begun(dir.path());
    assert!(found.is_empty(), "{found:?}");
    link(elsewhere.path(), "o-containers/z");
    assert!(finder.read().is_empty());
}

#[test]
fn no_more_watches_than_allowed() {
    let dir = tempfile::tempdir().unwrap();
    (0..50).for_each(|n| drop(make(dir.path(), &n.to_string())));
    let mut finder = Finder::new(10).unwrap();
    let pattern = Pattern {
        base: dir.path().to_owned(),
        parts: &PARTS,
    };
    assert!(finder.add(pattern).len() < 10);
    assert_eq!(
        (finder.nodes.len(), finder.trouble()),
        (10, Some(Errno::ENOSPC))
    );
    assert_eq!(finder.trouble(), None);
}
