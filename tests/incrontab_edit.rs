//! `incrontab -e` on a real terminal, with real editors.

mod incrontab_support;

use std::fs;
use std::path::Path;

use incrontab_support::{World, me, script};
use rexpect::session::{PtySession, spawn_command};

const OLD: &[u8] = b"#  mine,\tas I   like it \n/old IN_CREATE true\n";
/// A limit for a machine that is very busy; nothing is timed by it.
const PATIENCE: Option<u64> = Some(180_000);

/// `incrontab -e` on a pseudo-terminal.
fn edit(world: &World, editor: &str) -> PtySession {
    let mut command = world.command(&["-e"]);
    command
        .env("EDITOR", editor)
        .env("TERM", "vt100")
        .env("HOME", world.dir.path());
    spawn_command(command, PATIENCE).expect("starts")
}

/// The rest of what it says, and its exit code.
fn end(mut session: PtySession) -> (String, i32) {
    let rest = session.exp_eof().expect("ends");
    let status = session.process().wait().expect("status");
    match status {
        nix::sys::wait::WaitStatus::Exited(_, code) => (rest, code),
        other => panic!("{other:?}: {rest}"),
    }
}

/// The first of these programs that is here.
fn one_of(programs: &[&'static str]) -> Option<&'static str> {
    let here = |program: &&&str| {
        ["/usr/bin", "/bin"]
            .iter()
            .any(|dir| Path::new(dir).join(program).exists())
    };
    let found = programs.iter().find(here).copied();
    if found.is_none() {
        eprintln!("skipped: none of {programs:?} is here");
    }
    found
}

/// vim without the tester's own settings.
fn vim() -> Option<String> {
    one_of(&["vim", "vim.tiny"]).map(|program| format!("{program} -u NONE -i NONE"))
}

#[test]
fn vim_adds_a_line_and_the_rest_stays_byte_for_byte() {
    let Some(vim) = vim() else { return };
    let world = World::new(Some(OLD));
    let mut session = edit(&world, &vim);
    session.exp_string("table.incron").expect("opens");
    session
        .send("Go/new IN_CLOSE_WRITE echo $@/$#\x1b:wq\r")
        .expect("types");
    session.flush().expect("types");
    session.exp_string("table updated").expect("installs");
    assert_eq!(end(session).1, 0);
    let wanted = [OLD, b"/new IN_CLOSE_WRITE echo $@/$#\n"].concat();
    assert_eq!(world.table().unwrap(), wanted);
    assert!(world.left_over().is_empty());
}

#[test]
fn nano_writes_a_first_table_below_the_comments() {
    if one_of(&["nano"]).is_none() {
        return;
    }
    let world = World::new(None);
    let mut session = edit(&world, "nano --ignorercfiles");
    session.exp_string("table.incron").expect("opens");
    // To the end, the text, save, Enter for the name, leave.
    session
        .send("\x1b/\x0b/new IN_CREATE true\r\x0f\r\x18")
        .expect("types");
    session.flush().expect("types");
    session.exp_string("table updated").expect("installs");
    assert_eq!(end(session).1, 0);
    let table = String::from_utf8(world.table().unwrap()).unwrap();
    assert!(table.starts_with("# Commands that incrond runs"), "{table}");
    assert!(table.contains("/new IN_CREATE true"), "{table}");
}

#[test]
fn leaving_without_saving_changes_nothing() {
    let Some(vim) = vim() else { return };
    for table in [Some(OLD), None] {
        let world = World::new(table);
        let mut session = edit(&world, &vim);
        session.exp_string("table.incron").expect("opens");
        session.send("Goxyz\x1b:q!\r").expect("types");
        session.flush().expect("types");
        session.exp_string("table unchanged").expect("says so");
        assert_eq!(end(session).1, 0);
        assert_eq!(world.table().as_deref(), table);
        assert!(world.left_over().is_empty());
    }
}

#[test]
fn an_editor_that_says_it_failed_keeps_the_text() {
    let Some(vim) = vim() else { return };
    let world = World::new(Some(OLD));
    let mut session = edit(&world, &vim);
    session.exp_string("table.incron").expect("opens");
    session.send("Go# precious\x1b:w\r:cq\r").expect("types");
    session.flush().expect("types");
    session
        .exp_string("ended with status 1")
        .expect("complains");
    let (rest, code) = end(session);
    assert_eq!(code, 1);
    assert_eq!(world.table().as_deref(), Some(OLD));
    assert_kept(&world, &rest, &[OLD, b"# precious\n"].concat());
}

/// The text stands where the last message says.
fn assert_kept(world: &World, said: &str, text: &[u8]) {
    let file = said
        .split("Your text is kept in ")
        .nth(1)
        .unwrap_or_default();
    let file = file.lines().next().unwrap_or_default().trim();
    assert_eq!(fs::read(file).unwrap_or_default(), text, "{said}");
    assert_eq!(world.left_over().len(), 1);
}

#[test]
fn an_editor_that_is_killed_keeps_the_text() {
    let world = World::new(Some(OLD));
    let editor = world.path("killed");
    script(&editor, "#!/bin/sh\necho '# new' > \"$1\"\nkill -9 $$\n");
    let mut session = edit(&world, editor.to_str().unwrap());
    session
        .exp_string("was killed by SIGKILL")
        .expect("complains");
    let (rest, code) = end(session);
    assert_eq!(code, 1);
    assert_eq!(world.table().as_deref(), Some(OLD));
    assert_kept(&world, &rest, b"# new\n");
}

#[test]
fn an_emptied_file_is_asked_about() {
    for (answer, code, left) in [("n", 0, Some(OLD)), ("y", 0, None)] {
        let world = World::new(Some(OLD));
        let mut session = edit(&world, "truncate -s 0");
        session.exp_string("Remove the table? [y/N]").expect("asks");
        session.send_line(answer).expect("answers");
        assert_eq!(end(session).1, code);
        assert_eq!(world.table().as_deref(), left);
    }
}

#[test]
fn the_interrupt_key_is_the_editors_affair() {
    let world = World::new(Some(OLD));
    let editor = world.path("stubborn");
    script(
        &editor,
        "#!/bin/sh\ntrap 'echo caught' INT\necho waiting\n\
         until read -r line; do :; done\necho \"# $line\" > \"$1\"\n",
    );
    let mut session = edit(&world, editor.to_str().unwrap());
    session.exp_string("waiting").expect("starts");
    session.send_control('c').expect("interrupts");
    session.exp_string("caught").expect("gets it");
    session.send_line("after all").expect("types");
    session.exp_string("table updated").expect("goes on");
    assert_eq!(end(session).1, 0);
    assert_eq!(world.table().unwrap(), b"# after all\n");
}

#[test]
fn errors_are_shown_where_they_are_and_edited_again() {
    let world = World::new(Some(OLD));
    let editor = world.path("twice");
    // First a mistake, then its correction.
    script(
        &editor,
        "#!/bin/sh\nif grep -q IN_CREAT' ' \"$1\"; then sed -i 's/IN_CREAT /IN_CREATE /' \"$1\"\n\
         else echo '/new IN_CREAT true' >> \"$1\"; fi\n",
    );
    let mut session = edit(&world, editor.to_str().unwrap());
    let origin = format!("table of {}:3:6", me());
    session.exp_string(&origin).expect("says where");
    session.exp_string("Edit again? [Y/n]").expect("asks");
    session.send_line("").expect("answers");
    session.exp_string("table updated").expect("installs");
    assert_eq!(end(session).1, 0);
    assert_eq!(
        world.table().unwrap(),
        [OLD, b"/new IN_CREATE true\n"].concat()
    );
}

#[test]
fn a_text_with_errors_that_is_given_up_is_kept() {
    let world = World::new(Some(OLD));
    let mut session = edit(&world, "sed -i s/IN_CREATE/IN_KREATE/");
    session.exp_string("Edit again? [Y/n]").expect("asks");
    session.send_line("n").expect("answers");
    let (rest, code) = end(session);
    assert_eq!(code, 1);
    assert_eq!(world.table().as_deref(), Some(OLD));
    let text = String::from_utf8(OLD.to_vec())
        .unwrap()
        .replace("IN_CREATE", "IN_KREATE");
    assert_kept(&world, &rest, text.as_bytes());
}

#[test]
fn visual_comes_before_editor_and_arguments_are_words() {
    let world = World::new(Some(OLD));
    let program = world.path("my editor");
    script(
        &program,
        "#!/bin/sh\nprintf '# %s|' \"$1\" \"$2\" > \"$3\"\n",
    );
    let mut command = world.command(&["-e"]);
    command
        .env("EDITOR", "/nonexistent")
        .env("VISUAL", format!("'{}' 'a b' \"c d\"", program.display()));
    let session = spawn_command(command, PATIENCE).expect("starts");
    assert_eq!(end(session).1, 0);
    assert_eq!(world.table().unwrap(), b"# a b|# c d|");
}

#[test]
fn a_text_saved_in_the_same_second_is_a_change() {
    // incron compared times in seconds, and threw such edits away.
    let world = World::new(Some(b"# a\n"));
    let session = edit(&world, "sed -i s/a/b/");
    assert_eq!(end(session).1, 0);
    assert_eq!(world.table().unwrap(), b"# b\n");
}

#[test]
fn a_change_meanwhile_is_asked_about() {
    for (answer, wanted) in [("n", &b"# theirs\n"[..]), ("y", b"# ours\n")] {
        let world = World::new(Some(OLD));
        let editor = world.path("slow");
        script(
            &editor,
            "#!/bin/sh\necho waiting\nread -r line\necho '# ours' > \"$1\"\n",
        );
        let mut session = edit(&world, editor.to_str().unwrap());
        session.exp_string("waiting").expect("starts");
        world.state.lock().unwrap().table = Some(b"# theirs\n".to_vec());
        session.send_line("").expect("goes on");
        session
            .exp_string("Overwrite that change? [y/N]")
            .expect("asks");
        session.send_line(answer).expect("answers");
        let (rest, code) = end(session);
        assert_eq!(code, i32::from(answer == "n"));
        assert_eq!(world.table().unwrap(), wanted);
        if answer == "n" {
            assert_kept(&world, &rest, b"# ours\n");
        }
    }
}

#[test]
fn a_table_on_a_terminal_cannot_drive_it() {
    let world = World::new(Some(b"# \x1b]0;owned\x07\n"));
    let session = spawn_command(world.command(&["-l"]), PATIENCE).expect("starts");
    let (out, code) = end(session);
    assert_eq!((out.as_str(), code), ("# \\x1b]0;owned\\x07\r\n", 0));
}

#[test]
fn removing_asks_with_i_on_a_terminal() {
    let world = World::new(Some(OLD));
    let mut session = spawn_command(world.command(&["-ri"]), PATIENCE).expect("starts");
    let question = format!("Really remove the table of user '{}'? [y/N]", me());
    session.exp_string(&question).expect("asks");
    session.send_line("y").expect("answers");
    assert_eq!(end(session).1, 0);
    assert_eq!(world.table(), None);
}
