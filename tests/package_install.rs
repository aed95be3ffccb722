//! `make install` and `make uninstall`, into a directory of the test's own.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Every file and directory below `dir`, relative to it.
fn tree(dir: &Path, below: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            tree(dir, &path, found);
        } else {
            found.insert(path.to_string_lossy().into_owned());
        }
    }
}

fn files(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    tree(dir, Path::new(""), &mut found);
    found
}

fn make(target: &str, prefix: &str, root: &Path) {
    let programs = Path::new(env!("CARGO_BIN_EXE_incrontab")).parent().unwrap();
    let output = Command::new("make")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg(target)
        .arg(format!("PREFIX={prefix}"))
        .arg(format!("DESTDIR={}", root.display()))
        .arg(format!("TARGET={}", programs.display()))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn have_make() -> bool {
    let found = Command::new("make").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: no make here");
    }
    found
}

#[test]
fn installed_and_uninstalled() {
    if !have_make() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    make("install", "/opt/incron", root);
    let found = files(root);
    for wanted in [
        "opt/incron/sbin/incrond",
        "opt/incron/bin/incrontab",
        "opt/incron/bin/incronctl",
        "usr/libexec/incron/providers/homes",
        "usr/libexec/incron/incron-containers",
        "usr/libexec/incron/providers/containers",
        "opt/incron/share/man/man8/incron-containers.8",
        "opt/incron/share/man/man1/incrontab.1",
        "opt/incron/share/man/man8/incronctl.8",
        "opt/incron/lib/systemd/system/incron.service",
        "opt/incron/lib/systemd/user/incron.service",
        "opt/incron/lib/tmpfiles.d/incron.conf",
        "opt/incron/share/bash-completion/completions/incrond",
        "opt/incron/share/zsh/site-functions/_incrontab",
        "opt/incron/share/fish/vendor_completions.d/incrontab.fish",
        "opt/incron/share/doc/incron/LICENSE",
        "opt/incron/share/doc/incron/security.md",
        "opt/incron/share/doc/incron/examples/containers/passwd-guard",
        "opt/incron/share/incron/containers",
        "etc/incron.conf",
        "etc/incron.allow",
    ] {
        assert!(found.contains(wanted), "{wanted} is missing: {found:?}");
    }
    assert_eq!(
        mode(&root.join("opt/incron/bin/incrontab")),
        0o755,
        "no set-id bit"
    );
    assert_eq!(mode(&root.join("var/spool/incron")), 0o700);
    let unit = fs::read_to_string(root.join("opt/incron/lib/systemd/system/incron.service"));
    assert!(
        unit.unwrap()
            .contains("ExecStart=/opt/incron/sbin/incrond -n\n")
    );

    make("uninstall", "/opt/incron", root);
    let left: Vec<String> = files(root).into_iter().collect();
    assert_eq!(left, ["etc/incron.allow", "etc/incron.conf"]);
}

#[test]
fn what_an_administrator_wrote_stays() {
    if !have_make() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("etc")).unwrap();
    fs::write(root.path().join("etc/incron.conf"), "editor = vim\n").unwrap();
    fs::write(root.path().join("etc/incron.allow"), "alice\n").unwrap();
    make("install", "/usr", root.path());
    let read = |name: &str| fs::read_to_string(root.path().join(name)).unwrap();
    assert_eq!(read("etc/incron.conf"), "editor = vim\n");
    assert_eq!(read("etc/incron.allow"), "alice\n");
    let unit = read("usr/lib/systemd/system/incron.service");
    assert!(unit.contains("ExecStart=/usr/sbin/incrond -n\n"));
}

#[test]
fn where_everyone_could_have_a_table_everyone_still_can() {
    if !have_make() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let spool = root.path().join("var/spool/incron");
    fs::create_dir_all(&spool).unwrap();
    fs::write(spool.join("alice"), "/a IN_CREATE true\n").unwrap();
    make("install", "/usr", root.path());
    assert!(!root.path().join("etc/incron.allow").exists());
    assert!(spool.join("alice").exists());
}
