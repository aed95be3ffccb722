//! `-e`: a person edits the table until it is good, or gives up.
//!
//! Whatever happens, what the person typed is not lost: when it is not
//! installed, it stays where it was edited, and the last message says where.
//! Change is told by content, never by time stamps, and a table that someone
//! else changed meanwhile is not overwritten unasked.

use std::path::Path;
use std::process::ExitStatus;

use super::ask::{Default, Prompt};
use super::check;
use super::editor::Editor;
use super::error::Error;
use super::scratch::{Left, Scratch};
use super::tables::{Found, Tables, Version};
use crate::table::Context;

/// What someone without a table begins with; as it is a comment, saving it
/// unchanged installs nothing.
pub const NEW_TABLE: &[u8] = b"\
# Commands that incrond runs when files change, one a line:
#   PATH  EVENTS  COMMAND
# for example
#   /srv/inbox  IN_CLOSE_WRITE,IN_MOVED_TO  /usr/local/bin/process $@/$#
# where $@ is the watched path and $# the name of the file. See incrontab(5).
";

/// How a session ends well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was to be done.
    Unchanged,
    /// The new text is the table.
    Updated,
    /// There is no table any more.
    Removed,
}

/// One `incrontab -e`.
pub struct Session<'a> {
    /// Where the table comes from and goes to.
    pub tables: &'a mut dyn Tables,
    /// Runs the editor; a parameter for the tests.
    pub edit: &'a mut dyn FnMut(&Path) -> Result<Option<String>, Error>,
    /// Whom to ask.
    pub prompt: Prompt<'a>,
    /// For the parser.
    pub context: &'a Context,
}

/// What to do with the text that the editor left.
enum Verdict {
    Again,
    Done(Outcome),
}

/// Runs the editor: None, or what is wrong with how it ended.
///
/// # Errors
/// It cannot be started.
pub fn with(editor: &Editor, file: &Path) -> Result<Option<String>, Error> {
    editor
        .run(file)
        .map(|status: ExitStatus| editor.complaint(status))
}

impl Session<'_> {
    /// Edits until the table is installed, unchanged, removed, or given up.
    ///
    /// # Errors
    /// The table was not changed; the message says why, and where the text is.
    pub fn run(mut self, tmpdir: Option<std::ffi::OsString>) -> Result<Outcome, Error> {
        let before = self.tables.get()?;
        let start = before.text.clone().unwrap_or_else(|| NEW_TABLE.to_vec());
        let mut scratch = Scratch::new(tmpdir, &start)?;
        let result = self.rounds(&scratch, &before, &start);
        let Err(error) = result else { return result };
        match scratch.read() {
            Left::Text(text) if text == start || text.is_empty() => Err(error),
            // Whatever it is now, it may hold what was typed; unless it is gone.
            Left::Unfit(_) if scratch.file().symlink_metadata().is_err() => Err(error),
            _ => {
                scratch.keep();
                let file = scratch.file().display();
                Err(Error::NotInstalled(format!(
                    "{error}\nYour text is kept in {file}"
                )))
            }
        }
    }

    fn rounds(
        &mut self,
        scratch: &Scratch,
        before: &Found,
        start: &[u8],
    ) -> Result<Outcome, Error> {
        loop {
            if let Some(complaint) = (self.edit)(scratch.file())? {
                return Err(Error::GivenUp(complaint));
            }
            let verdict = match scratch.read() {
                Left::Unfit(why) => {
                    self.again(&format!("the edited file cannot be used: {why}"))?
                }
                Left::Text(text) if text == start => Verdict::Done(Outcome::Unchanged),
                Left::Text(text) if text.is_empty() => self.emptied(before)?,
                Left::Text(text) => self.judge(&text, before)?,
            };
            if let Verdict::Done(outcome) = verdict {
                return Ok(outcome);
            }
        }
    }

    /// An empty file is more often an accident than a wish.
    fn emptied(&mut self, before: &Found) -> Result<Verdict, Error> {
        if before.text.is_none() {
            return Ok(Verdict::Done(Outcome::Unchanged));
        }
        if !self
            .prompt
            .yes("The edited table is empty. Remove the table?", Default::No)
        {
            return Ok(Verdict::Done(Outcome::Unchanged));
        }
        self.replace(before, |tables, version| tables.remove(Some(version)))?;
        Ok(Verdict::Done(Outcome::Removed))
    }

    fn judge(&mut self, text: &[u8], before: &Found) -> Result<Verdict, Error> {
        let checked = check::check(text, self.context);
        if !checked.rendered.is_empty() {
            self.prompt.say(checked.rendered.trim_end());
        }
        if checked.errors > 0 {
            return self.again("it has errors");
        }
        let loaded = self.replace(before, |tables, version| {
            tables.install(text, Some(version))
        })?;
        if let Some(warning) = loaded.warning() {
            self.prompt.say(&warning);
        }
        Ok(Verdict::Done(Outcome::Updated))
    }

    fn again(&mut self, reason: &str) -> Result<Verdict, Error> {
        self.prompt
            .say(&format!("The table is not installed: {reason}."));
        if self.prompt.yes("Edit again?", Default::Yes) {
            return Ok(Verdict::Again);
        }
        Err(Error::GivenUp(reason.to_owned()))
    }

    /// Makes `change` to the table that the session began with. Where another
    /// text has taken its place, only if that is wished, and over just that one.
    fn replace<T>(
        &mut self,
        before: &Found,
        mut change: impl FnMut(&mut dyn Tables, &Version) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut seen = before.clone();
        loop {
            match change(self.tables, &seen.version) {
                Err(Error::Changed) => {}
                done => return done,
            }
            let now = self.tables.get()?;
            if now.text != seen.text && !self.overwrites() {
                return Err(Error::GivenUp("someone else changed it meanwhile".into()));
            }
            seen = now;
        }
    }

    fn overwrites(&mut self) -> bool {
        self.prompt
            .say("The table was changed by someone else while you edited it.");
        self.prompt.yes("Overwrite that change?", Default::No)
    }
}

#[cfg(test)]
mod tests;
