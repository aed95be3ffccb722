//! Which editor, and one session of it.
//!
//! `$VISUAL` and `$EDITOR` may hold arguments, quoted as in a shell; no shell
//! is run. While the editor has the terminal, the signals of its keys are its
//! own affair.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::error::Error;

/// An editor's words: program and arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Editor {
    words: Vec<OsString>,
    /// As it was configured, for messages.
    text: String,
}

impl Editor {
    /// `$VISUAL`, `$EDITOR`, the key `editor`, /usr/bin/editor, vi: the first there is.
    ///
    /// # Errors
    /// The one chosen cannot be split into words.
    pub fn choose(configured: Option<&str>) -> Result<Self, Error> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        let wanted = set("VISUAL").or_else(|| set("EDITOR")).or_else(|| {
            configured
                .filter(|text| !text.is_empty())
                .map(OsString::from)
        });
        match wanted {
            Some(text) => Self::new(&text),
            None if Path::new("/usr/bin/editor").exists() => Self::new("/usr/bin/editor".as_ref()),
            None => Self::new("vi".as_ref()),
        }
    }

    fn new(command: &std::ffi::OsStr) -> Result<Self, Error> {
        let text = command.to_string_lossy().into_owned();
        // A value that is not UTF-8 cannot be split; it may still be a program's name.
        let words = match command.to_str() {
            Some(plain) => shell_words::split(plain)
                .map_err(|e| Error::Editor {
                    command: text.clone(),
                    reason: e.to_string(),
                })?
                .into_iter()
                .map(|word| OsString::from_vec(word.into_bytes()))
                .collect(),
            None => vec![command.to_owned()],
        };
        if words.first().is_none_or(|word| word.as_bytes().is_empty()) {
            return Err(Error::Editor {
                command: text,
                reason: "it names no program".into(),
            });
        }
        Ok(Self { words, text })
    }

    /// Runs it on `file` until it ends.
    ///
    /// # Errors
    /// It could not be started.
    pub fn run(&self, file: &Path) -> Result<ExitStatus, Error> {
        let (program, arguments) = self
            .words
            .split_first()
            .ok_or_else(|| self.failed("no program"))?;
        let child = Command::new(program)
            .args(arguments)
            .arg(file)
            .spawn()
            .map_err(|e| self.failed(&e.to_string()))?;
        wait(child).map_err(|e| self.failed(&e.to_string()))
    }

    fn failed(&self, reason: &str) -> Error {
        Error::Editor {
            command: self.text.clone(),
            reason: reason.into(),
        }
    }

    /// None for a good end; else what is wrong, for a person.
    pub fn complaint(&self, status: ExitStatus) -> Option<String> {
        if status.success() {
            return None;
        }
        Some(match status.signal().map(Signal::try_from) {
            Some(Ok(signal)) => format!("editor \"{}\" was killed by {signal}", self.text),
            Some(Err(_)) => format!("editor \"{}\" was killed by a signal", self.text),
            None => format!(
                "editor \"{}\" ended with status {}",
                self.text,
                status.code().unwrap_or_default()
            ),
        })
    }
}

/// Waits with the keyboard's signals blocked: ^C in the editor is the editor's.
/// They are blocked after the start, so that the editor does not inherit that,
/// and what came meanwhile is taken away before they are let in again.
fn wait(mut child: Child) -> io::Result<ExitStatus> {
    let mut keys = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
        keys.add(signal);
    }
    let before = keys.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)?;
    let status = child.wait();
    if let Ok(pending) = SignalFd::with_flags(&keys, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
    {
        while let Ok(Some(_)) = pending.read_signal() {}
    }
    before.thread_set_mask()?;
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn editor(text: &str) -> Editor {
        Editor::new(text.as_ref()).expect("splits")
    }

    #[test]
    fn arguments_are_split_as_in_a_shell() {
        assert_eq!(editor("code -w").words, ["code", "-w"]);
        assert_eq!(
            editor("'/opt/my editor' --x=\"a b\"").words,
            ["/opt/my editor", "--x=a b"]
        );
        assert!(matches!(
            Editor::new("vi 'x".as_ref()),
            Err(Error::Editor { .. })
        ));
        assert!(matches!(
            Editor::new("  ".as_ref()),
            Err(Error::Editor { .. })
        ));
        assert!(matches!(
            Editor::new("''".as_ref()),
            Err(Error::Editor { .. })
        ));
    }

    #[test]
    fn its_end_is_told() {
        let end = |text: &str| {
            let editor = editor(text);
            let status = editor.run(Path::new("/nonexistent")).expect("starts");
            editor.complaint(status)
        };
        assert_eq!(end("true"), None);
        assert!(
            end("sh -c 'exit 3'")
                .expect("complains")
                .ends_with("ended with status 3")
        );
        assert!(
            end("sh -c 'kill -9 $$'")
                .expect("complains")
                .ends_with("killed by SIGKILL")
        );
    }

    #[test]
    fn one_that_is_not_there_is_an_error() {
        let error = editor("/nonexistent/vi")
            .run(Path::new("/x"))
            .expect_err("not there");
        assert!(error.to_string().contains("\"/nonexistent/vi\""), "{error}");
    }
}
