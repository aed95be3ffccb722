//! Tables that work on incron 0.5.12 work here, and mean the same.
//!
//! Every test of this file runs on our daemon and, where it is installed, on
//! Debian's; what is expected is written once. Where incron is broken (a mkdir
//! under recursion, blanks in paths, any hostile name) the promise is tested in
//! the other files, on ours alone.

mod common;

use std::fs;
use std::path::Path;

use common::{Daemon, INCROND, PEER, Prefix, is_root, touch};

/// Runs a test on each daemon there is: `table` in the system directory (`@H`
/// is a hook that writes its arguments to `out/hook`), then `act`, then `hook`
/// must have these lines (`@W` as in the table), in any order where `sorted`.
struct Case<'a> {
    table: &'a str,
    /// Made before the daemon starts.
    before: fn(&Path),
    act: fn(&Path),
    expect: &'a [&'a str],
}

impl Case<'_> {
    fn run(&self) {
        self.run_on(&programs());
    }

    fn run_on(&self, programs: &[&str]) {
        for program in programs {
            eprintln!("on {program}");
            let prefix = Prefix::new();
            (self.before)(&prefix.watched());
            let hook = prefix.hook("hook");
            prefix.table("t", &self.table.replace("@H", hook.to_str().unwrap()));
            let daemon = prefix.spawn(program);
            daemon.wait_serving(program, &prefix.watched());
            (self.act)(&prefix.watched());
            self.check(&prefix, &daemon, program);
        }
    }

    fn check(&self, prefix: &Prefix, daemon: &Daemon<'_>, program: &str) {
        let mut got = prefix.lines("hook", self.expect.len());
        let mut want: Vec<String> = self.expect.iter().map(|line| prefix.fill(line)).collect();
        got.sort();
        want.sort();
        assert_eq!(got, want, "on {program}");
        let _ = daemon;
    }
}

fn programs() -> Vec<&'static str> {
    if !is_root() {
        eprintln!("left out: both daemons need root here");
        return vec![];
    }
    if !Path::new(PEER).exists() {
        eprintln!("left out: Debian's incron is not installed");
        return vec![INCROND];
    }
    vec![INCROND, PEER]
}

fn nothing(_: &Path) {}

#[test]
fn all_four_wildcards() {
    Case {
        table: "@W IN_CREATE,recursive=false @H $@ $# $% $&",
        before: nothing,
        act: |w| touch(w.join("a")),
        expect: &["<@W><a><IN_CREATE><256>"],
    }
    .run();
}

#[test]
fn directories_are_told_by_isdir() {
    Case {
        table: "@W IN_CREATE,recursive=false @H $# $% $&",
        before: nothing,
        act: |w| fs::create_dir(w.join("d")).unwrap(),
        expect: &["<d><IN_CREATE,IN_ISDIR><1073742080>"],
    }
    .run();
}

#[test]
fn decimal_masks() {
    Case {
        table: "@W 768 @H $# $%",
        before: nothing,
        act: |w| {
            touch(w.join("a"));
            fs::remove_file(w.join("a")).unwrap();
        },
        expect: &["<a><IN_CREATE>", "<a><IN_DELETE>"],
    }
    .run();
}

#[test]
fn tabs_separate_fields() {
    Case {
        table: "@W\tIN_CREATE\t@H\t$#",
        before: nothing,
        act: |w| touch(w.join("a")),
        expect: &["<a>"],
    }
    .run();
}

/// Not on Debian's incron: its build takes a comment for the path `#`, and walks
/// the whole file system for it.
#[test]
fn comments_and_blank_lines() {
    Case {
        table: "# @W IN_CREATE @H comment\n\n@W IN_CREATE @H $#\n",
        before: nothing,
        act: |w| touch(w.join("a")),
        expect: &["<a>"],
    }
    .run_on(&[INCROND]);
}

#[test]
fn the_last_line_needs_no_newline_and_options_combine() {
    Case {
        table: "@W IN_MOVED_FROM,IN_MOVED_TO,dotdirs=true,recursive=false @H $# $%",
        before: |w| touch(w.join("old")),
        act: |w| fs::rename(w.join("old"), w.join("new")).unwrap(),
        expect: &["<old><IN_MOVED_FROM>", "<new><IN_MOVED_TO>"],
    }
    .run();
}

#[test]
fn groups_of_events() {
    Case {
        table: "@W IN_MOVE,IN_CLOSE,recursive=false @H $# $%",
        before: |w| touch(w.join("f")),
        act: |w| {
            fs::read(w.join("f")).unwrap();
            touch(w.join("f"));
            fs::rename(w.join("f"), w.join("g")).unwrap();
        },
        expect: &[
            "<f><IN_CLOSE_NOWRITE>",
            "<f><IN_CLOSE_WRITE>",
            "<f><IN_MOVED_FROM>",
            "<g><IN_MOVED_TO>",
        ],
    }
    .run();
}

#[test]
fn a_trailing_slash_stays_for_path_and_name_glued() {
    Case {
        table: "@W/ IN_CREATE @H $@$#",
        before: nothing,
        act: |w| touch(w.join("a")),
        expect: &["<@W/a>"],
    }
    .run();
}

#[test]
fn existing_subdirectories_are_watched_and_named_by_path() {
    Case {
        table: "@W IN_CREATE @H $@ $#",
        before: |w| fs::create_dir_all(w.join("x/y")).unwrap(),
        act: |w| touch(w.join("x/y/f")),
        expect: &["<@W/x/y><f>"],
    }
    .run();
}

#[test]
fn recursion_can_be_turned_off() {
    Case {
        table: "@W IN_CREATE,recursive=false @H $@ $#",
        before: |w| fs::create_dir_all(w.join("x")).unwrap(),
        act: |w| {
            touch(w.join("x/f"));
            touch(w.join("g"));
        },
        expect: &["<@W><g>"],
    }
    .run();
}

#[test]
fn dot_directories_are_not_entered_but_dot_files_count() {
    Case {
        table: "@W IN_CREATE @H $#",
        before: |w| fs::create_dir_all(w.join(".git")).unwrap(),
        act: |w| {
            touch(w.join(".git/f"));
            touch(w.join(".profile"));
        },
        expect: &["<.profile>"],
    }
    .run();
}

#[test]
fn dot_directories_are_entered_on_request() {
    Case {
        table: "@W IN_CREATE,dotdirs=true @H $#",
        before: |w| fs::create_dir_all(w.join(".git")).unwrap(),
        act: |w| touch(w.join(".git/f")),
        expect: &["<f>"],
    }
    .run();
}

#[test]
fn shell_syntax_works() {
    Case {
        table: "@W IN_CREATE test -n $# && echo \"$#\" | tr a-z A-Z | xargs @H one; @H two",
        before: nothing,
        act: |w| touch(w.join("abc")),
        expect: &["<one><ABC>", "<two>"],
    }
    .run();
}

#[test]
fn redirections_and_empty_quotes() {
    Case {
        table: "@W IN_CREATE @H -m '' $# 2>/dev/null",
        before: nothing,
        act: |w| touch(w.join("a")),
        expect: &["<-m><><a>"],
    }
    .run();
}

#[test]
fn doubled_dollars_reach_the_shell_as_one() {
    Case {
        table: "@W IN_CREATE X=hello; @H $$(echo sub) $$X $#",
        before: nothing,
        act: |w| touch(w.join("a")),
        expect: &["<sub><hello><a>"],
    }
    .run();
}

#[test]
fn a_line_may_watch_a_file() {
    Case {
        table: "@W IN_CREATE @H dir $#\n@W/f IN_CLOSE_WRITE @H $@ x$#x $%",
        before: |w| touch(w.join("f")),
        act: |w| fs::write(w.join("f"), "x").unwrap(),
        expect: &["<@W/f><xx><IN_CLOSE_WRITE>"],
    }
    .run();
}

#[test]
fn oneshot_runs_once() {
    Case {
        table: "@W IN_CREATE,IN_ONESHOT,recursive=false @H $#",
        before: nothing,
        act: |w| {
            touch(w.join("a"));
            touch(w.join("b"));
        },
        expect: &["<a>"],
    }
    .run();
}

#[test]
fn onlydir_and_dont_follow() {
    Case {
        table: "@W IN_CREATE,IN_ONLYDIR,recursive=false @H $#",
        before: nothing,
        act: |w| touch(w.join("a")),
        expect: &["<a>"],
    }
    .run();
}

#[test]
fn attribute_changes_and_deletions() {
    Case {
        table: "@W IN_ATTRIB,IN_DELETE,recursive=false @H $# $%",
        before: |w| touch(w.join("f")),
        act: |w| {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(w.join("f"), fs::Permissions::from_mode(0o600)).unwrap();
            fs::remove_file(w.join("f")).unwrap();
        },
        expect: &["<f><IN_ATTRIB>", "<f><IN_DELETE>"],
    }
    .run();
}

#[test]
fn a_table_written_in_place_and_removed_takes_effect() {
    for program in programs() {
        let prefix = Prefix::new();
        let hook = prefix.hook("hook");
        let hook = hook.to_str().unwrap();
        prefix.table("t", &format!("@W IN_CREATE,recursive=false {hook} one $#"));
        let daemon = prefix.spawn(program);
        daemon.wait_serving(program, &prefix.watched());
        touch(prefix.watched().join("a"));
        assert_eq!(prefix.lines("hook", 1), ["<one><a>"]);

        let other = prefix.path("other");
        fs::create_dir(&other).unwrap();
        let text = format!(
            "{} IN_CREATE,recursive=false {hook} two $#",
            other.display()
        );
        fs::write(prefix.path("tables/t"), text).unwrap();
        daemon.wait_watching(&other);
        touch(other.join("b"));
        assert_eq!(
            prefix.lines("hook", 2),
            ["<one><a>", "<two><b>"],
            "on {program}"
        );
    }
}
