//! Tables of the shapes that people publish do what their authors meant.
//!
//! The shapes are those of HOWTOs, forum answers and configuration management,
//! in our words. Each runs on our daemon and, where incron 0.5.12 is not broken
//! for it, on Debian's, with one expectation for both.

mod story;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use story::common::figures::wait_figures;
use story::common::{Daemon, INCROND, PEER, is_root};
use story::{Story, have, put, sh, sorted};

/// On which daemons a shape is tried.
#[derive(Clone, Copy, PartialEq)]
enum On {
    Both,
    /// Why Debian's is left out stands at the test.
    Ours,
}

/// Serves `table` (`@W` watched, `@O` output, `@P` prefix) on each daemon in turn.
fn shape(on: On, table: &str, before: impl Fn(&Story), act: impl Fn(&Story, &Daemon<'_>)) {
    if !is_root() {
        return eprintln!("left out: system tables need root here");
    }
    let mut programs = vec![INCROND];
    if on == On::Both && Path::new(PEER).exists() {
        programs.push(PEER);
    }
    for program in programs {
        eprintln!("on {program}");
        let story = Story::new();
        before(&story);
        story.prefix.table("t", &story.fill(table));
        let daemon = story.spawn(program);
        daemon.wait_serving(program, &story.prefix.watched());
        act(&story, &daemon);
    }
}

fn watched(story: &Story, name: &str) -> std::path::PathBuf {
    story.prefix.watched().join(name)
}

fn nothing(_: &Story) {}

/// Waits until a file has this text.
fn has(story: &Story, name: &str, text: &str) {
    let path = story.path(name);
    story.prefix.wait(&format!("{name} to be {text:?}"), || {
        fs::read(&path).is_ok_and(|bytes| bytes == text.as_bytes())
    });
}

#[test]
fn rsync_of_what_was_uploaded() {
    if !have("rsync") {
        return;
    }
    shape(
        On::Both,
        "@W IN_CLOSE_WRITE,IN_MOVED_TO rsync -a $@/$# @O/copy/",
        nothing,
        |s, _| {
            put(watched(s, "in place"), "one");
            has(s, "out/copy/in place", "one");
            put(s.path("run/new"), "two");
            fs::rename(s.path("run/new"), watched(s, "renamed")).unwrap();
            has(s, "out/copy/renamed", "two");
        },
    );
}

#[test]
fn rsync_of_the_whole_directory_to_another_host() {
    if !have("rsync") {
        return;
    }
    shape(
        On::Both,
        "@W IN_CLOSE_WRITE,IN_DELETE,IN_MOVE rsync -az --delete -e ssh @W/ backup:@O/copy/ >/dev/null 2>&1",
        |s| {
            s.ssh();
            put(s.path("out/copy/stale"), "");
        },
        |s, _| {
            put(watched(s, "a"), "one");
            has(s, "out/copy/a", "one");
            s.prefix
                .wait("the stale one's end", || !s.path("out/copy/stale").exists());
        },
    );
}

#[test]
fn nginx_is_reloaded_when_its_test_passes() {
    shape(
        On::Both,
        "@W IN_CLOSE_WRITE,IN_MOVED_TO,IN_DELETE nginx -t && nginx -s reload",
        |s| {
            s.stand_in(
                "nginx",
                "[ \"$1\" = -t ] || exit 0\n\
                 grep -qs broken @P/watched/site; good=$?\n\
                 echo verdict >> @P/out/verdicts; [ $good -ne 0 ]",
            )
        },
        |s, _| {
            put(watched(s, "site"), "broken");
            s.prefix.lines("verdicts", 1);
            put(watched(s, "site"), "good");
            assert_eq!(s.prefix.lines("nginx", 3), ["<-t>", "<-t>", "<-s><reload>"]);
        },
    );
}

#[test]
fn a_service_is_restarted_when_one_file_changes() {
    shape(
        On::Both,
        "@W/app.conf IN_CLOSE_WRITE /usr/bin/env service app restart\n@W IN_DELETE,recursive=false true",
        |s| {
            s.stand_in("service", "");
            put(watched(s, "app.conf"), "");
        },
        |s, _| {
            put(watched(s, "app.conf"), "new");
            assert_eq!(s.prefix.lines("service", 1), ["<app><restart>"]);
        },
    );
}

fn git_repository(story: &Story) {
    let w = story.prefix.watched();
    sh(&format!(
        "cd {} && git init -q && git config user.name t && git config user.email t@example.org",
        w.display()
    ));
}

#[test]
fn a_commit_for_each_save_with_an_empty_message() {
    if !have("git") {
        return;
    }
    shape(
        On::Both,
        "@W IN_CLOSE_WRITE cd @W && git add -A && git commit -q --allow-empty-message -m ''",
        git_repository,
        |s, _| {
            let git = format!("git -C {}", s.prefix.watched().display());
            let commits = format!("{git} rev-list --count HEAD 2>/dev/null || echo 0");
            for (i, text) in ["one", "two"].iter().enumerate() {
                put(watched(s, "page"), text);
                // The lock goes after the commit is there; the next add wants it.
                s.prefix.wait("the commit", || {
                    sh(&commits).trim() == (i + 1).to_string()
                        && !watched(s, ".git/index.lock").exists()
                });
            }
            assert_eq!(sh(&format!("{git} log -1 --format=%s")).trim(), "");
            assert_eq!(sh(&format!("{git} show HEAD:page")), "two");
        },
    );
}

#[test]
fn path_and_name_glued_after_a_trailing_slash() {
    shape(
        On::Both,
        "@W/ IN_CLOSE_WRITE cp $@$# @O/copy",
        nothing,
        |s, _| {
            put(watched(s, "a"), "one");
            has(s, "out/copy", "one");
        },
    );
}

#[test]
fn a_trailing_slash_and_one_between_is_a_path_all_the_same() {
    shape(
        On::Both,
        "@W/ IN_CLOSE_WRITE cat $@/$# > @O/new && mv @O/new @O/copy",
        nothing,
        |s, _| {
            put(watched(s, "a"), "one");
            has(s, "out/copy", "one");
        },
    );
}

#[test]
fn names_with_blanks_unquoted() {
    shape(
        On::Both,
        "@W IN_CLOSE_WRITE cp $@/$# @O/",
        nothing,
        |s, _| {
            put(watched(s, "a b"), "one");
            has(s, "out/a b", "one");
        },
    );
}

#[test]
fn plain_names_in_double_and_single_quotes() {
    shape(
        On::Both,
        "@W IN_CLOSE_WRITE cp \"$@/$#\" '@O/copy of $#'",
        nothing,
        |s, _| {
            put(watched(s, "a"), "one");
            has(s, "out/copy of a", "one");
        },
    );
}

/// 0.5.12 escapes a blank by a backslash, which quotes then keep.
#[test]
fn hostile_names_in_every_kind_of_quotes() {
    shape(
        On::Ours,
        "@W IN_CLOSE_WRITE cp $@/$# @O/bare-$# && cp \"$@/$#\" \"@O/double-$#\" && cp '$@/$#' '@O/single-$#'",
        nothing,
        |s, _| {
            for name in [
                "a b",
                "it's",
                "\"quoted\"",
                "$(touch pwned)",
                "`x`;y",
                "-n",
                "new\nline",
                "\\",
            ] {
                put(watched(s, name), name);
                for form in ["bare", "double", "single"] {
                    has(s, &format!("out/{form}-{name}"), name);
                }
            }
        },
    );
}

#[test]
fn a_pipe_to_logger() {
    shape(
        On::Both,
        "@W IN_CREATE,IN_DELETE echo \"$% $@/$#\" | logger -t incron -p local0.info",
        |s| s.stand_in("logger", "cat >> @P/out/logged"),
        |s, _| {
            put(watched(s, "a"), "");
            assert_eq!(s.prefix.lines("logged", 1), [s.fill("IN_CREATE @W/a")]);
            fs::remove_file(watched(s, "a")).unwrap();
            assert_eq!(s.prefix.lines("logged", 2)[1], s.fill("IN_DELETE @W/a"));
            assert_eq!(
                s.prefix.lines("logger", 2),
                ["<-t><incron><-p><local0.info>"; 2]
            );
        },
    );
}

#[test]
fn a_mail_by_a_pipe() {
    shape(
        On::Both,
        "@W IN_CLOSE_WRITE echo \"File $# was changed in $@\" | mail -s \"incron: $#\" root@localhost",
        |s| s.stand_in("mail", "cat > @P/run/body; mv @P/run/body @P/out/body"),
        |s, _| {
            put(watched(s, "report"), "");
            has(s, "out/body", &s.fill("File report was changed in @W\n"));
            assert_eq!(
                s.prefix.lines("mail", 1),
                ["<-s><incron: report><root@localhost>"]
            );
        },
    );
}

#[test]
fn redirections_with_the_shells_own_substitutions() {
    shape(
        On::Both,
        "@W IN_CREATE echo \"$$(date +\\%Y) $#\" >> @O/log-$$(date +\\%Y).txt 2>&1",
        nothing,
        |s, _| {
            put(watched(s, "a"), "");
            let year = || sh("date +%Y").trim().to_owned();
            let name = |y: &str| format!("log-{y}.txt");
            let (before, mut line) = (year(), String::new());
            s.prefix.wait("the dated log", || {
                // The test may run as one year ends.
                line = s.prefix.out(&name(&before)) + &s.prefix.out(&name(&year()));
                line.ends_with(" a\n")
            });
            assert!(
                line.starts_with(&before) || line.starts_with(&year()),
                "{line}"
            );
        },
    );
}

#[test]
fn a_copy_with_the_time_in_its_name() {
    shape(
        On::Both,
        "@W IN_CLOSE_WRITE cp -p $@/$# @O/$#.$$(date +%s)",
        nothing,
        |s, _| {
            put(watched(s, "db.sql"), "dump");
            s.prefix.wait("the dated copy", || {
                fs::read_dir(s.path("out")).unwrap().flatten().any(|entry| {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    let stamp = name.strip_prefix("db.sql.").unwrap_or("x").to_owned();
                    stamp.parse::<u64>().is_ok() && fs::read(entry.path()).unwrap() == b"dump"
                })
            });
        },
    );
}

#[test]
fn bash_minus_c() {
    shape(
        On::Both,
        "@W IN_CREATE /bin/bash -c \"echo $@/$# >> @O/seen\"",
        nothing,
        |s, _| {
            put(watched(s, "a"), "");
            assert_eq!(s.prefix.lines("seen", 1), [s.fill("@W/a")]);
        },
    );
}

/// 0.5.12 would run the name as code here.
#[test]
fn bash_minus_c_and_a_hostile_name() {
    shape(
        On::Ours,
        "@W IN_CREATE /bin/bash -c \"echo $# >> @O/seen\"",
        nothing,
        |s, _| {
            put(watched(s, "$(echo no) ; echo no"), "");
            assert_eq!(s.prefix.lines("seen", 1), ["$(echo no) ; echo no"]);
        },
    );
}

#[test]
fn a_script_with_quoted_arguments() {
    shape(
        On::Both,
        "@W IN_CREATE,IN_MOVED_TO /bin/sh @P/handler \"$@\" \"$#\" \"$%\"",
        |s| {
            s.script(
                "handler",
                &s.fill("printf '%s|' \"$@\" >> @O/seen; echo >> @O/seen\n"),
            );
        },
        |s, _| {
            put(watched(s, "a"), "");
            assert_eq!(s.prefix.lines("seen", 1), [s.fill("@W|a|IN_CREATE|")]);
        },
    );
}

#[test]
fn sudo_minus_u() {
    if !have("sudo") {
        return;
    }
    shape(
        On::Both,
        "@W IN_CLOSE_WRITE sudo -u nobody cp $@/$# @O/copy",
        nothing,
        |s, _| {
            put(watched(s, "a"), "one");
            has(s, "out/copy", "one");
            assert_eq!(fs::metadata(s.path("out/copy")).unwrap().uid(), 65534);
        },
    );
}

/// On 0.5.12 IN_NO_LOOP does nothing, and this line runs for ever.
#[test]
fn a_chmod_that_would_cause_itself() {
    shape(
        On::Ours,
        "@W IN_CREATE,IN_ATTRIB,IN_NO_LOOP chmod 640 $@/$#; chown nobody $@/$#; echo $# >> @O/seen",
        nothing,
        |s, _| {
            for (name, run) in ["a", "b", "c"].into_iter().zip(1..) {
                put(watched(s, name), "");
                // Not only its process: what comes before the worker knows, comes meanwhile.
                wait_figures(&s.prefix, "t:1", &[("runs", run), ("running", 0)]);
                let meta = fs::metadata(watched(s, name)).unwrap();
                assert_eq!(
                    (meta.permissions().mode() & 0o777, meta.uid()),
                    (0o640, 65534)
                );
            }
            // Each made two IN_ATTRIB; the next run would have come before the next file's.
            assert_eq!(s.prefix.lines("seen", 3), ["a", "b", "c"]);
        },
    );
}

#[test]
fn a_chown_of_new_files_in_a_shared_directory() {
    shape(
        On::Both,
        "@W IN_CREATE,IN_MOVED_TO chown nobody:nogroup $@/$# && chmod 664 $@/$#",
        nothing,
        |s, _| {
            put(watched(s, "new file"), "");
            s.prefix.wait("its owner and mode", || {
                let meta = fs::metadata(watched(s, "new file")).unwrap();
                (meta.permissions().mode() & 0o777, meta.uid()) == (0o664, 65534)
            });
        },
    );
}

#[test]
fn all_events() {
    shape(
        On::Both,
        "@W IN_ALL_EVENTS echo $% $# >> @O/seen",
        |s| put(watched(s, "f"), ""),
        |s, _| {
            fs::write(watched(s, "f"), "x").unwrap();
            fs::rename(watched(s, "f"), watched(s, "g")).unwrap();
            fs::remove_file(watched(s, "g")).unwrap();
            // Opening truncates, writing writes: the kernel merges what is equal and unread.
            let want = [
                "IN_CLOSE_WRITE f",
                "IN_DELETE g",
                "IN_MOVED_FROM f",
                "IN_MOVED_TO g",
                "IN_OPEN f",
            ];
            s.prefix.wait("every kind of event", || {
                let seen = s.prefix.out("seen");
                want.iter().all(|line| seen.lines().any(|got| got == *line))
            });
            let mut got = sorted(s.prefix.lines("seen", 6));
            got.dedup();
            let all = sorted(
                want.iter()
                    .copied()
                    .chain(["IN_MODIFY f"])
                    .map(str::to_owned)
                    .collect(),
            );
            assert_eq!(got, all);
        },
    );
}

#[test]
fn every_wildcard_in_one_line_of_a_log() {
    shape(
        On::Both,
        "@W IN_CREATE echo \"$$ $@ $# $% $&\" >> @O/seen",
        nothing,
        |s, _| {
            put(watched(s, "a"), "");
            assert_eq!(s.prefix.lines("seen", 1), [s.fill("$ @W a IN_CREATE 256")]);
        },
    );
}

#[test]
fn a_loop_of_the_shell_and_a_condition() {
    shape(
        On::Both,
        "@W IN_CLOSE_WRITE case $# in *.csv) for i in 1 2; do echo $$i $# >> @O/seen; done;; esac; if [ -s $@/$# ]; then echo full >> @O/seen; fi",
        nothing,
        |s, _| {
            put(watched(s, "a.txt"), "");
            put(watched(s, "a.csv"), "x");
            assert_eq!(s.prefix.lines("seen", 3), ["1 a.csv", "2 a.csv", "full"]);
        },
    );
}

#[test]
fn an_archive_is_unpacked_where_it_arrives() {
    shape(
        On::Both,
        "@W IN_CLOSE_WRITE,IN_MOVED_TO tar -xzf $@/$# -C @O && rm -f $@/$#",
        |s| put(s.path("run/content"), "one"),
        |s, _| {
            sh(&s.fill("tar -C @P/run -czf @W/a.tar.gz content"));
            has(s, "out/content", "one");
            s.prefix
                .wait("the archive's end", || !watched(s, "a.tar.gz").exists());
        },
    );
}

#[test]
fn two_commands_one_in_the_background() {
    shape(
        On::Both,
        "@W IN_CREATE (echo one >> @O/seen) & wait; echo two >> @O/seen",
        nothing,
        |s, _| {
            put(watched(s, "a"), "");
            assert_eq!(s.prefix.lines("seen", 2), ["one", "two"]);
        },
    );
}

/// The shape of 0.5.10 (EPEL, Ubuntu up to 18.04): no shell, blanks alone divide.
/// Debian's is 0.5.12 and has no such switch.
#[test]
fn tables_for_incron_0_5_10() {
    shape(
        On::Ours,
        "INCRON_DIALECT=0.5.10\n@W IN_CLOSE_WRITE,IN_NO_LOOP @P/bin/handler $@/$# \"$%\" $$HOME > /dev/null | x\n",
        |s| {
            s.stand_in("handler", "");
            fs::create_dir(watched(s, "sub")).unwrap();
        },
        |s, daemon| {
            put(watched(s, "sub/unseen"), "");
            s.at_once(daemon, || put(watched(s, "a b"), ""));
            let got = s.prefix.lines("handler", 1);
            let want = s.fill("<@W/a b><\"IN_CLOSE_WRITE\"><$HOME><>></dev/null><|><x>");
            assert_eq!(got[0], want, "quotes and operators are ordinary characters");
        },
    );
}

#[test]
fn a_recursive_line_serves_existing_subdirectories() {
    shape(
        On::Both,
        "@W IN_CLOSE_WRITE,recursive=true,dotdirs=false echo $@/$# >> @O/seen",
        |s| fs::create_dir_all(watched(s, "a/b")).unwrap(),
        |s, daemon| {
            daemon.wait_watching(&watched(s, "a/b"));
            put(watched(s, "a/b/c"), "");
            assert_eq!(s.prefix.lines("seen", 1), [s.fill("@W/a/b/c")]);
        },
    );
}
