//! `@homes` with real accounts: made, moved and removed while it is served. Needs root.

mod provider_kit;

use std::fs;
use std::process::Command;

use provider_kit::Set;
use provider_kit::story::common::is_root;
use provider_kit::story::sh;

/// An account of the test's own, removed with it.
struct Account(String);

impl Account {
    fn new(home: &std::path::Path, shell: &str) -> Self {
        let name = format!("incron-h{}", std::process::id());
        let home = home.display();
        sh(&format!(
            "useradd --no-create-home --home-dir {home} --shell {shell} {name}"
        ));
        Self(name)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = Command::new("userdel").arg(&self.0).output();
    }
}

#[test]
fn homes_are_those_of_the_accounts_there_are() {
    if !is_root() {
        eprintln!("left out: not root");
        return;
    }
    let set = Set::new();
    let homes = env!("CARGO_BIN_EXE_incron-homes");
    sh(&format!(
        "cp {homes} {}",
        set.story.path("providers/homes").display()
    ));
    set.story.prefix.table(
        "t",
        "@homes/.ssh IN_CLOSE_WRITE echo $INCRON_LABEL_USER $INCRON_LABEL_UID $# >> @O/seen\n",
    );
    let _daemon = set.story.start();
    let before = set.provider("homes")["members"].as_u64().unwrap();
    assert!(before >= 1, "root has a home");
    let (old, new) = (set.story.dir("old"), set.story.dir("new"));
    let account = Account::new(&old, "/bin/sh");
    let name = &account.0;
    let uid = sh(&format!("id -u {name}"));
    set.wait_members("homes", before + 1);
    // `.ssh` comes later than the account.
    fs::create_dir(old.join(".ssh")).unwrap();
    set.story.prefix.wait("a key", || {
        fs::write(old.join(".ssh/key"), "").unwrap();
        !set.story.prefix.out("seen").is_empty()
    });
    let line = format!("{name} {} key", uid.trim());
    assert_eq!(set.story.prefix.lines("seen", 1)[0], line);
    // The account moves.
    fs::create_dir(new.join(".ssh")).unwrap();
    sh(&format!("usermod --home {} {name}", new.display()));
    let line = format!("{name} {} moved", uid.trim());
    set.story.prefix.wait("the new home", || {
        fs::write(new.join(".ssh/moved"), "").unwrap();
        set.story.prefix.out("seen").contains(&line)
    });
    assert_eq!(set.provider("homes")["members"], before + 1);
    // Nobody logs in with this shell.
    sh(&format!("usermod --shell /usr/sbin/nologin {name}"));
    set.wait_members("homes", before);
    sh(&format!("usermod --shell /bin/sh {name}"));
    set.wait_members("homes", before + 1);
    drop(account);
    set.wait_members("homes", before);
    assert_eq!(set.provider("homes")["restarts"], 0);
}
