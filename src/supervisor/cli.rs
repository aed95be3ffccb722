//! The command line of incrond: options become one typed action.
//!
//! incron's spellings work (`-n`, `-fFILE`, `--config=FILE`, `-?`); what it
//! ignored silently is an error here.

use std::os::fd::RawFd;
use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};

/// What `--about` prints.
pub const ABOUT: &str = "\
incrond runs commands when files change, as cron runs them when time passes.
Tables of the system stand in /etc/incron.d, those of users are edited with
incrontab(1). `incrond run TABLE` tries a table without installing anything.";

const AFTER_HELP: &str = "\
Exit codes: 0 success, 1 failure, 2 wrong usage, 78 wrong configuration or table.
See incrond(8), incron.conf(5), incrontab(5).";

/// Runs commands when files change, for every user of the machine
#[derive(Debug, Parser)]
#[command(name = "incrond", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Stay in the foreground
    #[arg(short = 'n', long)]
    foreground: bool,
    /// Read this configuration instead of /etc/incron.conf
    #[arg(short = 'f', long, value_name = "CONF", global = true)]
    config: Option<PathBuf>,
    /// End the running incrond
    #[arg(short, long, conflicts_with_all = ["foreground", "check"])]
    kill: bool,
    /// Check the configuration and all tables, or these; explain those named
    #[arg(long, value_name = "FILE", num_args = 0.., conflicts_with = "foreground")]
    check: Option<Vec<PathBuf>>,
    /// Serve only the calling user: tables in $XDG_CONFIG_HOME/incron/*.incron
    #[arg(long)]
    user: bool,
    /// Say what incrond is
    #[arg(short = '?', long)]
    about: bool,
    /// The worker's end of the channel to its supervisor
    #[arg(long, hide = true, value_name = "FD")]
    worker: Option<RawFd>,
    /// Where a worker stands
    #[arg(long, hide = true, value_name = "DIR", requires = "worker", action = ArgAction::Set)]
    worker_cwd: Option<PathBuf>,
    /// Open a PAM session before being a worker
    #[cfg(feature = "pam")]
    #[arg(long, hide = true, value_name = "JSON", requires = "worker")]
    session: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve one table in the foreground, as you, showing what happens
    Run {
        /// The table
        #[arg(value_name = "TABLE")]
        table: Option<PathBuf>,
        /// Show events and runs as JSON lines
        #[arg(long)]
        json: bool,
        /// Only check and explain the table
        #[arg(long, conflicts_with = "json")]
        check: bool,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Be the daemon.
    Serve {
        /// In the foreground.
        foreground: bool,
    },
    /// End the running daemon.
    Kill,
    /// Check these, or all there is.
    Check(Vec<PathBuf>),
    /// Check a table as `incrond run` would serve it.
    CheckRun(PathBuf),
    /// One table in the foreground.
    Run {
        /// Which; None: say how it is done.
        table: Option<PathBuf>,
        /// JSON lines instead of text.
        json: bool,
    },
    /// Print [`ABOUT`].
    About,
    /// Be a worker.
    Worker {
        /// The channel.
        channel: RawFd,
        /// The directory to stand in.
        cwd: Option<PathBuf>,
        /// As whom, in which session; the worker comes after that.
        #[cfg(feature = "pam")]
        session: Option<String>,
    },
}

/// A whole command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// What to do.
    pub action: Action,
    /// The configuration that was named.
    pub config: Option<PathBuf>,
    /// For the calling user only.
    pub personal: bool,
}

/// Parses a command line, the program's name included. The error prints itself
/// (help and version are such errors, too) and knows its exit code.
pub fn parse<I>(arguments: I) -> Result<Invocation, clap::Error>
where
    I: IntoIterator,
    I::Item: Into<std::ffi::OsString> + Clone,
{
    let arguments = Arguments::try_parse_from(arguments)?;
    let personal = arguments.user;
    let config = arguments.config.clone();
    Ok(Invocation {
        action: action(arguments),
        config,
        personal,
    })
}

fn action(arguments: Arguments) -> Action {
    if let Some(channel) = arguments.worker {
        return Action::Worker {
            channel,
            cwd: arguments.worker_cwd,
            #[cfg(feature = "pam")]
            session: arguments.session,
        };
    }
    match arguments.command {
        Some(Command::Run {
            table: Some(table),
            check: true,
            ..
        }) => Action::CheckRun(table),
        Some(Command::Run { table, json, .. }) => Action::Run { table, json },
        None if arguments.about => Action::About,
        None if arguments.kill => Action::Kill,
        None => match arguments.check {
            Some(files) => Action::Check(files),
            None => Action::Serve {
                foreground: arguments.foreground,
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Invocation {
        parse(line.split(' ')).unwrap()
    }

    #[test]
    fn the_old_spellings() {
        for line in [
            "incrond -n -f /x",
            "incrond -f/x -n",
            "incrond --foreground --config=/x",
        ] {
            let read = read(line);
            assert_eq!(read.action, Action::Serve { foreground: true }, "{line}");
            assert_eq!(read.config, Some("/x".into()), "{line}");
        }
        assert_eq!(read("incrond -k").action, Action::Kill);
        assert_eq!(read("incrond --kill").action, Action::Kill);
        assert_eq!(read("incrond -?").action, Action::About);
        assert_eq!(read("incrond --about").action, Action::About);
    }

    #[test]
    fn the_new_ones() {
        assert_eq!(read("incrond").action, Action::Serve { foreground: false });
        assert_eq!(read("incrond --check").action, Action::Check(vec![]));
        let two = Action::Check(vec!["a".into(), "b".into()]);
        assert_eq!(read("incrond --check a b").action, two);
        let run = Action::Run {
            table: Some("t".into()),
            json: true,
        };
        assert_eq!(read("incrond run t --json").action, run);
        assert_eq!(
            read("incrond run --check t").action,
            Action::CheckRun("t".into())
        );
        let with = read("incrond run t -f /x");
        assert_eq!(with.config, Some("/x".into()));
        assert!(read("incrond --user -n").personal);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "incrond -x",
            "incrond table",
            "incrond -n -k",
            "incrond --worker",
        ] {
            assert_eq!(parse(line.split(' ')).unwrap_err().exit_code(), 2, "{line}");
        }
        for line in [
            "incrond --help",
            "incrond -h",
            "incrond -V",
            "incrond --version",
        ] {
            let shown = parse(line.split(' ')).unwrap_err();
            assert_eq!(
                (shown.exit_code(), shown.use_stderr()),
                (0, false),
                "{line}"
            );
        }
    }
}
