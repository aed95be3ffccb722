//! The command line of incrontab: options in, one typed [`Action`] out.
//!
//! incron's old incrontab took every combination of operations and silently
//! chose one (`-e -r` removed the table), and ignored options it did not know.
//! Here at most one operation is chosen, or nothing is done.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser};

/// What `--about` prints after the name and version.
pub const ABOUT: &str = "Lists, edits, checks, installs and removes the table of a user: \
the lines that say which command incrond runs when which file changes.";

/// Every option; [`Cli::action`] says what they ask for together.
#[derive(Debug, Parser)]
#[command(name = "incrontab", version, about = ABOUT, disable_version_flag = true,
    override_usage = "incrontab [-u USER] [-f CONF] -l | -e | -r [-i] | -d | FILE | -\n       \
    incrontab [-f CONF] -T FILE [--simulate EVENTS]\n       incrontab -t",
    after_help = "Without -u, the table is the caller's own. See incrontab(1) and incrontab(5).")]
pub struct Cli {
    /// Print the table
    #[arg(short, long)]
    list: bool,
    /// Edit the table with $VISUAL, $EDITOR, the configured editor, or vi
    #[arg(short, long)]
    edit: bool,
    /// Remove the table
    #[arg(short, long)]
    remove: bool,
    /// Ask before removing (with -r)
    #[arg(short, long)]
    interactive: bool,
    /// Print the event names of incron, on one line
    #[arg(short, long)]
    types: bool,
    /// Have incrond read the table again
    #[arg(short = 'd', long)]
    reload: bool,
    /// Check and explain a table; needs no daemon and installs nothing
    #[arg(short = 'T', long, value_name = "FILE")]
    check: Option<OsString>,
    /// With -T: play these events and show what would be run when
    #[arg(long, value_name = "EVENTS")]
    simulate: Option<OsString>,
    /// Whose table (others' tables: root only)
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Configuration file
    #[arg(short = 'f', long, value_name = "CONF")]
    config: Option<PathBuf>,
    /// Print what this program is
    #[arg(short = '?', long)]
    about: bool,
    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
    /// Install this table; "-" is standard input
    #[arg(value_name = "FILE")]
    file: Option<OsString>,
}

/// Where a table is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `-`
    Stdin,
    /// A file, opened with the caller's own rights.
    File(PathBuf),
}

impl Source {
    /// "-", or a file.
    pub fn new(word: OsString) -> Self {
        if word == "-" {
            Self::Stdin
        } else {
            Self::File(word.into())
        }
    }
}

/// The one thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // named as the options
pub enum Action {
    About,
    Types,
    List,
    Edit,
    Remove {
        ask: bool,
    },
    Reload,
    Install(Source),
    Check {
        table: Source,
        simulate: Option<Source>,
    },
}

/// A command line understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The one thing to do.
    pub action: Action,
    /// `-u`
    pub user: Option<String>,
    /// `-f`
    pub config: Option<PathBuf>,
}

impl Cli {
    /// Parses a command line, program name included.
    ///
    /// # Errors
    /// clap's: a usage error (exit code 2), or the text of `--help` and
    /// `--version`, which go to standard output (exit code 0).
    pub fn parse_args<I, T>(args: I) -> Result<Invocation, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        let cli = Self::try_parse_from(args)?;
        let action = cli.action()?;
        Ok(Invocation {
            action,
            user: cli.user,
            config: cli.config,
        })
    }

    fn action(&self) -> Result<Action, clap::Error> {
        if self.about {
            return Ok(Action::About);
        }
        if self.interactive && !self.remove {
            return Err(usage(
                "-i asks before -r removes a table; it means nothing without -r",
            ));
        }
        if self.simulate.is_some() && self.check.is_none() {
            return Err(usage(
                "--simulate needs the table: -T FILE --simulate EVENTS",
            ));
        }
        if self.simulate.is_some() && self.check == self.simulate {
            return Err(usage("the table and the events cannot be the same file"));
        }
        let mut chosen = self.operations();
        let Some((_, action)) = chosen.pop() else {
            return match &self.file {
                Some(file) => Ok(Action::Install(Source::new(file.clone()))),
                None => Err(usage(
                    "invalid arguments - specify operation or source file",
                )),
            };
        };
        if let Some((first, _)) = chosen.first() {
            let last = self.operations().last().map_or("", |(name, _)| name);
            return Err(usage(&format!(
                "invalid arguments - {first} and {last} cannot be combined: choose one operation"
            )));
        }
        if self.file.is_some() {
            return Err(usage(
                "invalid arguments - operation and source file cannot be combined",
            ));
        }
        Ok(action)
    }

    /// The operations that were named, FILE apart.
    fn operations(&self) -> Vec<(&'static str, Action)> {
        let mut chosen = Vec::new();
        let mut choose = |on: bool, name, action| {
            if on {
                chosen.push((name, action));
            }
        };
        choose(self.list, "-l", Action::List);
        choose(self.edit, "-e", Action::Edit);
        choose(
            self.remove,
            "-r",
            Action::Remove {
                ask: self.interactive,
            },
        );
        choose(self.types, "-t", Action::Types);
        choose(self.reload, "-d", Action::Reload);
        if let Some(file) = &self.check {
            let table = Source::new(file.clone());
            let simulate = self.simulate.clone().map(Source::new);
            choose(true, "-T", Action::Check { table, simulate });
        }
        chosen
    }
}

fn usage(message: &str) -> clap::Error {
    Cli::command().error(ErrorKind::ArgumentConflict, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Invocation, ErrorKind> {
        let args = std::iter::once("incrontab").chain(words.iter().copied());
        Cli::parse_args(args).map_err(|e| e.kind())
    }

    fn action(words: &[&str]) -> Action {
        parse(words).expect("parses").action
    }

    #[test]
    fn old_and_new_spellings_mean_the_same() {
        for (words, wanted) in [
            (&["-l"][..], Action::List),
            (&["--list"], Action::List),
            (&["-e"], Action::Edit),
            (&["--edit"], Action::Edit),
            (&["-r"], Action::Remove { ask: false }),
            (&["--remove"], Action::Remove { ask: false }),
            (&["-ri"], Action::Remove { ask: true }),
            (&["-t"], Action::Types),
            (&["--types"], Action::Types),
            (&["-d"], Action::Reload),
            (&["--reload"], Action::Reload),
            (&["-?"], Action::About),
            (&["--about"], Action::About),
            (&["-"], Action::Install(Source::Stdin)),
            (&["./t"], Action::Install(Source::File("./t".into()))),
            (
                &["-T", "t"],
                Action::Check {
                    table: Source::File("t".into()),
                    simulate: None,
                },
            ),
        ] {
            assert_eq!(action(words), wanted, "{words:?}");
        }
    }

    #[test]
    fn user_and_config_glued_or_apart() {
        for words in [
            &["-u", "alice", "-f", "/c", "-l"][..],
            &["-ualice", "-f/c", "-l"],
            &["--user=alice", "--config=/c", "--list"],
            &["-l", "--user", "alice", "--config", "/c"],
        ] {
            let got = parse(words).expect("parses");
            assert_eq!(got.user.as_deref(), Some("alice"), "{words:?}");
            assert_eq!(got.config, Some("/c".into()), "{words:?}");
        }
    }

    #[test]
    fn conflicting_operations_are_refused() {
        let words = ["-l", "-e", "-r", "-t", "-d"];
        for a in words {
            for b in words.iter().filter(|b| **b != a) {
                assert_eq!(parse(&[a, b]), Err(ErrorKind::ArgumentConflict), "{a} {b}");
            }
            assert_eq!(
                parse(&[a, "file"]),
                Err(ErrorKind::ArgumentConflict),
                "{a} file"
            );
            assert_eq!(
                parse(&[a, "-T", "file"]),
                Err(ErrorKind::ArgumentConflict),
                "{a} -T"
            );
        }
        assert_eq!(parse(&["-i", "-l"]), Err(ErrorKind::ArgumentConflict));
        assert_eq!(
            parse(&["--simulate", "x", "-l"]),
            Err(ErrorKind::ArgumentConflict)
        );
        assert_eq!(
            parse(&["-T", "-", "--simulate", "-"]),
            Err(ErrorKind::ArgumentConflict)
        );
        assert_eq!(parse(&[]), Err(ErrorKind::ArgumentConflict));
        assert_eq!(parse(&["-x"]), Err(ErrorKind::UnknownArgument));
    }

    #[test]
    fn the_declaration_is_sound() {
        Cli::command().debug_assert();
    }
}
