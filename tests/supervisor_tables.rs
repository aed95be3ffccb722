//! Tables of the system come, change and go while the daemon runs; what may not
//! be trusted is refused, with what would be right.

mod common;
mod supervisor_support;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use common::{Prefix, is_root};
use nix::sys::signal::Signal;
use supervisor_support::{lines, pid, wait_lines};

const ONE: &str = "@W IN_CREATE true\n";
const TWO: &str = "@W IN_CREATE true\n@W IN_DELETE true\n";

#[test]
fn tables_come_change_and_go_without_a_restart() {
    let prefix = Prefix::new();
    prefix.table("a", ONE);
    let daemon = prefix.start();
    let worker = pid(&prefix, "system");
    assert_eq!(lines(&prefix, "system"), 1);

    prefix.table("b", TWO);
    wait_lines(&prefix, "system", 3);
    daemon.wait_log("system table b created, loading");
    prefix.table("b", ONE);
    wait_lines(&prefix, "system", 2);
    daemon.wait_log("system table b changed, reloading");
    fs::rename(prefix.path("tables/b"), prefix.path("tables/c")).unwrap();
    daemon.wait_log("system table c created, loading");
    wait_lines(&prefix, "system", 2);
    fs::remove_file(prefix.path("tables/c")).unwrap();
    daemon.wait_log("system table c destroyed, removing");
    wait_lines(&prefix, "system", 1);
    assert_eq!(pid(&prefix, "system"), worker, "one process throughout");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn half_a_table_is_never_loaded() {
    let prefix = Prefix::new();
    prefix.table("a", ONE);
    let daemon = prefix.start();
    let mut file = File::create(prefix.path("tables/slow")).unwrap();
    file.write_all(prefix.fill(ONE).as_bytes()).unwrap();
    // A later change that is seen proves that the earlier one was, too.
    prefix.table("b", ONE);
    wait_lines(&prefix, "system", 2);
    file.write_all(prefix.fill(ONE).as_bytes()).unwrap();
    assert!(!prefix.log().contains("slow"), "{}", prefix.log());
    // Neither its owner's or mode's change, nor a reload, makes it whole.
    fs::set_permissions(prefix.path("tables/slow"), PermissionsExt::from_mode(0o600)).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.wait_log("system table b changed, reloading");
    assert!(!prefix.log().contains("slow"), "{}", prefix.log());
    drop(file);
    wait_lines(&prefix, "system", 4);

    // Written anew, however slowly: never half of it. (The old one is served
    // until then, unless its removal is seen before the new one is begun.)
    fs::remove_file(prefix.path("tables/slow")).unwrap();
    let mut file = File::create(prefix.path("tables/slow")).unwrap();
    file.write_all(prefix.fill(ONE).as_bytes()).unwrap();
    prefix.table("c", TWO);
    daemon.wait_log("system table c created, loading");
    assert!(matches!(lines(&prefix, "system"), 4 | 6));
    file.write_all(prefix.fill(TWO).as_bytes()).unwrap();
    drop(file);
    wait_lines(&prefix, "system", 7);
    drop(daemon);
}

#[test]
fn what_is_not_to_be_trusted_is_refused_with_what_would_be_right() {
    let prefix = Prefix::new();
    let tables = prefix.path("tables");
    prefix.table("good", ONE);
    prefix.table("writable", ONE);
    fs::set_permissions(tables.join("writable"), PermissionsExt::from_mode(0o666)).unwrap();
    nix::unistd::mkfifo(&tables.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir(tables.join("dir")).unwrap();
    symlink("nowhere", tables.join("dangling")).unwrap();
    fs::write(tables.join("huge"), vec![b'#'; 2 << 20]).unwrap();
    if is_root() {
        prefix.table("foreign", ONE);
        chown(tables.join("foreign"), Some(65534), None).unwrap();
    }
    for name in ["x~", ".x", "x.rpmsave", "x.dpkg-old", "x.swp", "#x#"] {
        fs::write(tables.join(name), prefix.fill(ONE)).unwrap();
    }
    let daemon = prefix.start();
    assert_eq!(lines(&prefix, "system"), 1);
    let log = prefix.log();
    for reason in [
        "writable: its mode 0666 lets others write it (chmod go-w)",
        "fifo: it is a FIFO",
        "dir: it is a directory",
        "dangling: it is a symbolic link to nothing",
        "huge: it has 2097152 bytes",
    ] {
        assert!(log.contains(reason), "{reason}\n{log}");
    }
    assert!(
        !is_root() || log.contains("foreign: it belongs to uid 65534"),
        "{log}"
    );

    // Put right, it is served at once; put wrong again, it is not.
    fs::set_permissions(tables.join("writable"), PermissionsExt::from_mode(0o644)).unwrap();
    wait_lines(&prefix, "system", 2);
    fs::set_permissions(tables.join("writable"), PermissionsExt::from_mode(0o664)).unwrap();
    wait_lines(&prefix, "system", 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_link_is_followed_unless_others_can_turn_it() {
    let prefix = Prefix::new();
    fs::create_dir(prefix.path("real")).unwrap();
    fs::write(prefix.path("real/t"), prefix.fill(ONE)).unwrap();
    symlink(prefix.path("real/t"), prefix.path("tables/link")).unwrap();
    let daemon = prefix.start();
    assert_eq!(lines(&prefix, "system"), 1);
    fs::set_permissions(prefix.path("real"), PermissionsExt::from_mode(0o777)).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.wait_log("others may change");
    wait_lines(&prefix, "system", 0);
}

#[test]
fn a_table_directory_that_others_can_write_is_not_trusted() {
    let prefix = Prefix::new();
    prefix.table("a", ONE);
    fs::set_permissions(prefix.path("tables"), PermissionsExt::from_mode(0o777)).unwrap();
    let daemon = prefix.start();
    assert_eq!(lines(&prefix, "system"), 0);
    fs::set_permissions(prefix.path("tables"), PermissionsExt::from_mode(0o755)).unwrap();
    wait_lines(&prefix, "system", 1);
    drop(daemon);
}

#[test]
fn a_table_directory_that_vanishes_is_waited_for() {
    let prefix = Prefix::new();
    prefix.table("a", ONE);
    let daemon = prefix.start();
    fs::rename(prefix.path("tables"), prefix.path("away")).unwrap();
    daemon.wait_log("is gone; waiting for it");
    wait_lines(&prefix, "system", 0);
    fs::create_dir(prefix.path("tables")).unwrap();
    prefix.table("b", TWO);
    wait_lines(&prefix, "system", 2);
    fs::remove_dir_all(prefix.path("tables")).unwrap();
    wait_lines(&prefix, "system", 0);
    fs::rename(prefix.path("away"), prefix.path("tables")).unwrap();
    wait_lines(&prefix, "system", 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_hangup_reads_configuration_and_tables_again() {
    let prefix = Prefix::new();
    prefix.table("a", ONE);
    let daemon = prefix.start();
    fs::create_dir(prefix.path("other")).unwrap();
    fs::write(prefix.path("other/x"), prefix.fill(TWO)).unwrap();
    let conf = fs::read_to_string(prefix.conf()).unwrap();
    let moved = conf
        .replace("/tables\n", "/other\n")
        .replace("/state\n", "/elsewhere\n");
    fs::write(prefix.conf(), moved).unwrap();
    daemon.signal(Signal::SIGHUP);
    wait_lines(&prefix, "system", 2);
    daemon.wait_log("`state_dir` has changed; that takes effect at the next start");

    // One that cannot be used changes nothing.
    fs::write(prefix.conf(), "max_jobs = none\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.wait_log("incron.conf:1:12: `max_jobs`: `none` must be a number");
    daemon.wait_log("the configuration stays as it was");
    assert_eq!(lines(&prefix, "system"), 2);
    assert_eq!(daemon.stop(), Some(0));
}
