//! `incrontab`: the table of a user, listed, edited, checked, installed, removed.
//!
//! The program has no rights beyond its caller's. It hands the table to the
//! daemon over the control socket, where the kernel says who asks; root may
//! also write the spool itself while no daemon runs.

mod ask;
mod check;
mod cli;
mod edit;
mod editor;
mod error;
mod explain;
mod scratch;
mod show;
mod spool;
mod tables;
mod user;

use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use ask::{Default, Prompt};
use cli::{Action, Cli, Invocation, Source};
use edit::{Outcome, Session};
use editor::Editor;
pub(crate) use error::Error;
use tables::{Loaded, Machine, Tables};
use user::Subject;

use crate::config::Config;
use crate::exit::Exit;

/// The words of `incrontab -t`, as incron 0.5.12 prints them: scripts compare
/// the whole line. incrontab(5) has the newer words.
const TYPES: &str = "IN_ACCESS,IN_MODIFY,IN_ATTRIB,IN_CLOSE_WRITE,IN_CLOSE_NOWRITE,IN_OPEN,\
IN_MOVED_FROM,IN_MOVED_TO,IN_CREATE,IN_DELETE,IN_DELETE_SELF,IN_CLOSE,IN_MOVE,IN_ONESHOT,\
IN_ALL_EVENTS,IN_DONT_FOLLOW,IN_ONLYDIR,IN_MOVE_SELF";

/// The program.
pub fn main() -> ExitCode {
    let result = user::drop_set_id().and_then(|()| match Cli::parse_args(env::args_os()) {
        Ok(invocation) => run(&invocation),
        Err(usage) => {
            let _ = usage.print(); // help and version to standard output
            Ok(if usage.use_stderr() {
                Exit::Usage
            } else {
                Exit::Success
            })
        }
    });
    let exit = result.unwrap_or_else(|error| {
        say(&format!("incrontab: {error}"));
        error.exit()
    });
    exit.into()
}

/// A line to standard error; that it is closed is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn run(invocation: &Invocation) -> Result<Exit, Error> {
    match &invocation.action {
        Action::About => print(&format!(
            "incrontab {}\n{}\n",
            env!("CARGO_PKG_VERSION"),
            cli::ABOUT
        )),
        Action::Types => print(&format!("{TYPES}\n")),
        Action::Check { table, simulate } => explain(
            table,
            simulate.as_ref(),
            invocation.user.as_deref(),
            &load_config(invocation)?,
        ),
        action => {
            let config = load_config(invocation)?;
            let subject = Subject::find(invocation.user.as_deref())?;
            let mut tables = Machine {
                config: &config,
                subject: &subject,
            };
            manage(action, &config, &subject.owner, &mut tables)
        }
    }
}

fn load_config(invocation: &Invocation) -> Result<Config, Error> {
    let loaded = Config::load(invocation.config.as_deref());
    // Warnings about unknown keys are the daemon's to log, not every user's to read.
    loaded
        .map(|(config, _warnings)| config)
        .map_err(|e| Error::Config(e.to_string()))
}

fn manage(
    action: &Action,
    config: &Config,
    owner: &str,
    tables: &mut dyn Tables,
) -> Result<Exit, Error> {
    match action {
        Action::List => list(tables, owner),
        Action::Edit => edit(tables, config, owner),
        Action::Remove { ask } => remove(tables, owner, *ask),
        Action::Reload => reload(tables, owner),
        Action::Install(source) => install(tables, source, config, owner),
        Action::About | Action::Types | Action::Check { .. } => Ok(Exit::Success), // done in run
    }
}

fn print(text: &str) -> Result<Exit, Error> {
    put(text.as_bytes())
}

/// Writes to standard output; a reader that has seen enough is no error.
fn put(bytes: &[u8]) -> Result<Exit, Error> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(e)),
        _ => Ok(Exit::Success),
    }
}

fn list(tables: &mut dyn Tables, owner: &str) -> Result<Exit, Error> {
    match tables.get()?.text {
        None => say(&format!("no table for {owner}")),
        Some(table) if io::stdout().is_terminal() => return print(&show::for_terminal(&table)),
        Some(table) => return put(&table),
    }
    Ok(Exit::Success)
}

fn edit(tables: &mut dyn Tables, config: &Config, owner: &str) -> Result<Exit, Error> {
    let editor = Editor::choose(Some(&config.editor))?;
    let context = check::context(&Source::Stdin, owner, config);
    let context = crate::table::Context {
        origin: format!("table of {owner}"),
        ..context
    };
    let (mut out, mut input) = (io::stderr(), io::stdin().lock());
    let session = Session {
        tables,
        edit: &mut |file| edit::with(&editor, file),
        prompt: Prompt {
            out: &mut out,
            input: &mut input,
        },
        context: &context,
    };
    match session.run(env::var_os("TMPDIR"))? {
        Outcome::Unchanged => say("table unchanged"),
        Outcome::Updated => say("table updated"),
        Outcome::Removed => say(&format!("table for user '{owner}' successfully removed")),
    }
    Ok(Exit::Success)
}

fn remove(tables: &mut dyn Tables, owner: &str, ask: bool) -> Result<Exit, Error> {
    if ask {
        let (mut out, mut input) = (io::stderr(), io::stdin().lock());
        let mut prompt = Prompt {
            out: &mut out,
            input: &mut input,
        };
        if !prompt.yes(
            &format!("Really remove the table of user '{owner}'?"),
            Default::No,
        ) {
            say("table not removed");
            return Ok(Exit::Success);
        }
    }
    say(&format!("removing table for user '{owner}'"));
    if tables.remove(None)? {
        say(&format!("table for user '{owner}' successfully removed"));
    } else {
        say(&format!("table for user '{owner}' does not exist"));
    }
    Ok(Exit::Success)
}

fn reload(tables: &mut dyn Tables, owner: &str) -> Result<Exit, Error> {
    say(&format!("requesting table reload for user '{owner}'..."));
    match tables.reload()? {
        None => say(&format!("no table for {owner}")),
        Some(loaded) => {
            say("request done");
            mind(loaded);
        }
    }
    Ok(Exit::Success)
}

fn install(
    tables: &mut dyn Tables,
    source: &Source,
    config: &Config,
    owner: &str,
) -> Result<Exit, Error> {
    match source {
        Source::Stdin => say("copying table from stdin"),
        Source::File(path) => say(&format!("copying table from file '{}'", path.display())),
    }
    let table = check::read(source)?;
    let context = crate::table::Context {
        system: false,
        ..check::context(source, owner, config)
    };
    let checked = check::check(&table, &context);
    if !checked.rendered.is_empty() {
        say(checked.rendered.trim_end());
    }
    if checked.errors > 0 {
        let bad = Error::BadTable(checked.errors);
        return Err(Error::NotInstalled(bad.to_string()));
    }
    mind(tables.install(&table, None)?);
    Ok(Exit::Success)
}

fn mind(loaded: Loaded) {
    if let Some(warning) = loaded.warning() {
        say(&warning);
    }
}

fn explain(
    source: &Source,
    simulate: Option<&Source>,
    user: Option<&str>,
    config: &Config,
) -> Result<Exit, Error> {
    let owner = match user {
        Some(name) => name.to_owned(),
        None => Subject::find(None).map_or_else(|_| "nobody".into(), |subject| subject.owner),
    };
    let table = check::read(source)?;
    let context = check::context(source, &owner, config);
    show_explained(&explain::explain(&table, &context, simulate, config)?)
}

/// `-T TABLE --simulate EVENTS`, for `incronctl simulate`. "-" is standard input.
///
/// # Errors
/// The table or the events cannot be read, or have errors.
pub(crate) fn simulate(table: &OsStr, events: &OsStr, config: &Config) -> Result<Exit, Error> {
    let (table, events) = (Source::new(table.into()), Source::new(events.into()));
    explain(&table, Some(&events), None, config)
}

fn show_explained(explained: &explain::Explained) -> Result<Exit, Error> {
    print(&explained.text)?;
    if !explained.complaints.is_empty() {
        say(explained.complaints.trim_end());
    }
    match explained.errors {
        0 => Ok(Exit::Success),
        errors => Err(Error::BadTable(errors)),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn types_are_those_of_0_5_12() {
        assert_eq!(super::TYPES.split(',').count(), 18);
        assert!(!super::TYPES.contains(' '));
    }
}
