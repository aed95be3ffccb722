//! The command line of incronctl: words in, one typed [`Action`] out.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};

/// What `--about` prints after the name and version.
pub const ABOUT: &str = "Asks incrond what it watches and runs, and what became of every event.";

#[derive(Debug, Parser)]
#[command(name = "incronctl", version, about = ABOUT, disable_version_flag = true,
    disable_help_subcommand = true,
    after_help = "See incronctl(8).")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    which: Which,
    /// Print what this program is
    #[arg(short = '?', long)]
    about: bool,
    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
}

/// Which incrond is meant.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Which {
    /// Configuration file; it says where incrond listens
    #[arg(short = 'f', long, value_name = "CONF", global = true)]
    pub config: Option<PathBuf>,
    /// The incrond that the caller runs with --user
    #[arg(long = "user", global = true)]
    pub personal: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Show workers and lines: root all of them, a user the own
    Status {
        /// Print everything as one JSON object
        #[arg(long)]
        json: bool,
        /// Show one line, with every figure
        #[arg(long, value_name = "TABLE:N", value_parser = line)]
        line: Option<LineName>,
    },
    /// Show what a table would run for a list of events; nothing is run
    Simulate {
        /// The table; "-" is standard input
        table: OsString,
        /// The events, as described in incrontab(1); "-" is standard input
        events: OsString,
    },
    /// Have incrond read a user's table again
    Reload {
        /// Whose (others' tables: root only)
        user: Option<String>,
    },
}

/// A line, as `status` shows it: its table, and its number there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineName {
    /// The table's name.
    pub table: String,
    /// From 1.
    pub number: u32,
}

/// The one thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // named as the words of the command line
pub enum Action {
    About,
    Status { json: bool, line: Option<LineName> },
    Simulate { table: OsString, events: OsString },
    Reload { user: Option<String> },
}

/// Parses a command line, program name included.
///
/// # Errors
/// clap's: a usage error (exit code 2), or the text of `--help` and `--version`,
/// which go to standard output (exit code 0).
pub fn parse<I, T>(args: I) -> Result<(Action, Which), clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let cli = Cli::try_parse_from(args)?;
    let action = match cli.command {
        _ if cli.about => Action::About,
        Some(Command::Status { json, line }) => Action::Status { json, line },
        Some(Command::Simulate { table, events }) if table == events => {
            return Err(usage("the table and the events cannot be the same file"));
        }
        Some(Command::Simulate { table, events }) => Action::Simulate { table, events },
        Some(Command::Reload { user }) => Action::Reload { user },
        None => return Err(usage("what is to be done? status, simulate or reload")),
    };
    Ok((action, cli.which))
}

fn usage(message: &str) -> clap::Error {
    Cli::command().error(ErrorKind::MissingSubcommand, message)
}

fn line(text: &str) -> Result<LineName, String> {
    let wanted = "a table and a line's number are wanted, as in www:3";
    let (table, number) = text.rsplit_once(':').ok_or(wanted)?;
    match number.parse() {
        Ok(number) if number > 0 && !table.is_empty() => Ok(LineName {
            table: table.to_owned(),
            number,
        }),
        _ => Err(wanted.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Action, Which), i32> {
        parse(line.split(' ')).map_err(|error| error.exit_code())
    }

    #[test]
    fn what_is_asked_for() {
        let status = Action::Status {
            json: true,
            line: Some(LineName {
                table: "a:b".into(),
                number: 3,
            }),
        };
        let asked = read("incronctl status --json --line a:b:3").unwrap();
        assert_eq!(asked.0, status);
        for line in [
            "incronctl -f /x --user reload al",
            "incronctl reload --user al -f /x",
        ] {
            let (action, which) = read(line).unwrap();
            let user = Some("al".to_owned());
            assert_eq!(action, Action::Reload { user }, "{line}");
            assert_eq!((which.config, which.personal), (Some("/x".into()), true));
        }
        assert_eq!(read("incronctl -?").unwrap().0, Action::About);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "incronctl",
            "incronctl stop",
            "incronctl status x",
            "incronctl status --line www",
            "incronctl status --line www:0",
            "incronctl status --line :1",
            "incronctl simulate t",
            "incronctl simulate - -",
        ] {
            assert_eq!(read(line).unwrap_err(), 2, "{line}");
        }
        for line in ["incronctl -h", "incronctl -V", "incronctl status --help"] {
            assert_eq!(read(line).unwrap_err(), 0, "{line}");
        }
    }

    #[test]
    fn the_declaration_is_sound() {
        Cli::command().debug_assert();
    }
}
