//! Every way in which an editing session can go, without a terminal.

use std::fs;

use super::*;
use crate::incrontab::tables::Loaded;
use crate::table::Dialect;

const OLD: &[u8] = b"/old IN_CREATE true\n";
const GOOD: &[u8] = b"# mine\n/new IN_CREATE true\n";

/// A daemon made of a variable.
#[derive(Default)]
struct Fake {
    table: Option<Vec<u8>>,
    /// What others do, one after the other, just before a change arrives.
    meanwhile: Vec<Vec<u8>>,
    version: u32,
    refuses: bool,
}

impl Fake {
    fn change(&mut self, over: Option<&Version>) -> Result<(), Error> {
        if self.refuses {
            return Err(Error::Refused("disk full".into()));
        }
        if !self.meanwhile.is_empty() {
            self.table = Some(self.meanwhile.remove(0));
            self.version += 1;
        }
        match over {
            Some(over) if over.0 != self.version.to_string() => Err(Error::Changed),
            _ => Ok(()),
        }
    }
}

impl Tables for Fake {
    fn get(&mut self) -> Result<Found, Error> {
        Ok(Found {
            text: self.table.clone(),
            version: Version(self.version.to_string()),
        })
    }

    fn install(&mut self, table: &[u8], over: Option<&Version>) -> Result<Loaded, Error> {
        self.change(over)?;
        self.table = Some(table.to_vec());
        Ok(Loaded::default())
    }

    fn remove(&mut self, over: Option<&Version>) -> Result<bool, Error> {
        self.change(over)?;
        Ok(self.table.take().is_some())
    }

    fn reload(&mut self) -> Result<Option<Loaded>, Error> {
        Ok(None)
    }
}

/// A session whose editor writes `texts` one after the other.
struct Play {
    result: Result<Outcome, Error>,
    said: String,
    sessions: usize,
    /// Directories that were not removed.
    left: Vec<std::path::PathBuf>,
    /// They go when this goes.
    _base: tempfile::TempDir,
}

fn play(tables: &mut Fake, texts: &[&[u8]], answers: &str) -> Play {
    play_with(tables, answers, &mut |round, file| {
        let text = texts.get(round).or(texts.last()).expect("a text");
        fs::write(file, text).expect("writes");
        Ok(None)
    })
}

type Edit<'a> = &'a mut dyn FnMut(usize, &Path) -> Result<Option<String>, Error>;

fn play_with(tables: &mut Fake, answers: &str, edit: Edit) -> Play {
    let base = tempfile::tempdir().expect("tempdir");
    let context = Context {
        origin: "table of alice".into(),
        name: "alice".into(),
        dialect: Dialect::default(),
        system: false,
    };
    let (mut out, mut input) = (Vec::new(), answers.as_bytes());
    let mut sessions = 0;
    let result = Session {
        tables,
        edit: &mut |file| {
            sessions += 1;
            edit(sessions - 1, file)
        },
        prompt: Prompt {
            out: &mut out,
            input: &mut input,
        },
        context: &context,
    }
    .run(Some(base.path().into()));
    let left = fs::read_dir(base.path())
        .expect("dir")
        .map(|e| e.expect("entry").path())
        .collect();
    Play {
        result,
        said: String::from_utf8(out).expect("text"),
        sessions,
        left,
        _base: base,
    }
}

fn with_old() -> Fake {
    Fake {
        table: Some(OLD.to_vec()),
        ..Fake::default()
    }
}

#[test]
fn a_new_text_is_installed_byte_for_byte_and_nothing_is_left() {
    let mut fake = with_old();
    let played = play(&mut fake, &[GOOD], "");
    assert_eq!(played.result.expect("ends well"), Outcome::Updated);
    assert_eq!(fake.table.as_deref(), Some(GOOD));
    assert!(played.left.is_empty());
}

#[test]
fn the_same_text_is_no_change() {
    let mut fake = with_old();
    fake.refuses = true; // must not even be asked
    let played = play(&mut fake, &[OLD], "");
    assert_eq!(played.result.expect("ends well"), Outcome::Unchanged);
}

#[test]
fn who_has_no_table_begins_with_comments_and_saving_them_installs_nothing() {
    let mut fake = Fake::default();
    let played = play_with(&mut fake, "", &mut |_, file| {
        assert_eq!(fs::read(file).expect("reads"), NEW_TABLE);
        Ok(None)
    });
    assert_eq!(played.result.expect("ends well"), Outcome::Unchanged);
    assert_eq!(fake.table, None);
}

#[test]
fn an_empty_file_removes_only_when_asked() {
    for (answers, wanted) in [
        ("", Outcome::Unchanged),
        ("\n", Outcome::Unchanged),
        ("y\n", Outcome::Removed),
    ] {
        let mut fake = with_old();
        let played = play(&mut fake, &[b""], answers);
        assert_eq!(played.result.expect("ends well"), wanted, "{answers:?}");
        assert_eq!(fake.table.is_some(), wanted == Outcome::Unchanged);
        assert!(played.left.is_empty());
    }
}

#[test]
fn an_editor_that_fails_installs_nothing_and_loses_nothing() {
    let mut fake = with_old();
    let played = play_with(&mut fake, "y\n", &mut |_, file| {
        fs::write(file, GOOD).expect("writes");
        Ok(Some("editor \"vi\" was killed by SIGKILL".into()))
    });
    let error = played.result.expect_err("fails").to_string();
    assert!(
        error.contains("killed by SIGKILL") && error.contains("is kept in"),
        "{error}"
    );
    assert_eq!(fake.table.as_deref(), Some(OLD));
    assert_eq!(
        fs::read(played.left[0].join("table.incron")).expect("kept"),
        GOOD
    );
    assert_eq!(played.left.len(), 1);
}

#[test]
fn an_editor_that_fails_without_a_change_leaves_nothing() {
    let mut fake = with_old();
    let played = play_with(&mut fake, "", &mut |_, _| {
        Ok(Some("ended with status 1".into()))
    });
    assert!(
        !played
            .result
            .expect_err("fails")
            .to_string()
            .contains("kept")
    );
    assert!(played.left.is_empty());
}

#[test]
fn a_change_by_someone_else_is_not_overwritten_unasked() {
    let other = b"/other IN_CREATE true\n".to_vec();
    let mut fake = with_old();
    fake.meanwhile = vec![other.clone()];
    let played = play(&mut fake, &[GOOD], "\n");
    let error = played.result.expect_err("refused").to_string();
    assert!(
        error.contains("someone else") && error.contains("kept in"),
        "{error}"
    );
    assert_eq!(fake.table, Some(other.clone()));

    let mut fake = with_old();
    fake.meanwhile = vec![other.clone()];
    let played = play(&mut fake, &[GOOD], "y\n");
    assert_eq!(played.result.expect("overwrites"), Outcome::Updated);
    assert_eq!(fake.table.as_deref(), Some(GOOD));

    // The answer holds for the change it was about, and for no later one.
    let mut fake = with_old();
    let third = b"/third IN_CREATE true\n".to_vec();
    fake.meanwhile = vec![other.clone(), third.clone()];
    let played = play(&mut fake, &[GOOD], "y\nn\n");
    assert!(played.result.is_err());
    assert_eq!(fake.table, Some(third));

    // Nor is it removed; written again as it was, it is no change.
    let mut fake = with_old();
    fake.meanwhile = vec![other.clone()];
    assert!(play(&mut fake, &[b""], "y\nn\n").result.is_err());
    assert_eq!(fake.table, Some(other));
    let mut fake = with_old();
    fake.meanwhile = vec![OLD.to_vec()];
    let played = play(&mut fake, &[GOOD], "");
    assert_eq!(played.result.expect("is the same"), Outcome::Updated);
}

#[test]
fn a_refusal_by_the_daemon_keeps_the_text() {
    let mut fake = with_old();
    fake.refuses = true;
    let played = play(&mut fake, &[GOOD], "");
    let error = played.result.expect_err("refused").to_string();
    assert!(
        error.contains("disk full") && error.contains("kept in"),
        "{error}"
    );
    assert_eq!(played.left.len(), 1);
}

#[test]
fn a_file_that_is_gone_is_not_said_to_be_kept() {
    let mut fake = with_old();
    let played = play_with(&mut fake, "n\n", &mut |_, file| {
        fs::remove_file(file).expect("removes");
        Ok(None)
    });
    assert!(
        !played
            .result
            .expect_err("gives up")
            .to_string()
            .contains("kept")
    );
    assert!(played.left.is_empty());
    assert_eq!(fake.table.as_deref(), Some(OLD));
}

#[test]
fn a_file_that_no_table_can_be_is_edited_again() {
    let mut fake = with_old();
    let played = play_with(&mut fake, "\n", &mut |round, file| {
        let _ = fs::remove_file(file);
        if round == 1 {
            fs::write(file, GOOD).expect("writes");
        }
        Ok(None)
    });
    assert_eq!(played.result.expect("second try"), Outcome::Updated);
    assert_eq!(played.sessions, 2);
    assert!(played.said.contains("cannot be used"), "{}", played.said);
}
