//! `incronctl`: what incrond watches and runs, and what became of every event.
//!
//! The program asks over the control socket, where the kernel says who asks:
//! root sees all workers, a user the own. What a user's worker says of itself is
//! that user's to choose, so it is bounded, and shown with its control characters
//! made visible.

mod cli;
mod daemon;
mod error;
mod json;
mod line;
mod text;
mod workers;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use cli::{Action, LineName, Which};
use daemon::Daemon;
use error::Error;

use crate::config::Config;
use crate::control::{Answer, Request};
use crate::exit::Exit;
use crate::incrontab;

/// The program.
pub fn main() -> ExitCode {
    let (action, which) = match cli::parse(env::args_os()) {
        Ok(asked) => asked,
        Err(usage) => {
            let _ = usage.print(); // help and version to standard output
            let exit = if usage.use_stderr() {
                Exit::Usage
            } else {
                Exit::Success
            };
            return exit.into();
        }
    };
    let exit = run(action, &which).unwrap_or_else(|error| {
        say(&format!("incronctl: {error}"));
        error.exit()
    });
    exit.into()
}

/// A line to standard error; that it is closed is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn run(action: Action, which: &Which) -> Result<Exit, Error> {
    match action {
        Action::About => print(&format!(
            "incronctl {}\n{}\n",
            env!("CARGO_PKG_VERSION"),
            cli::ABOUT
        )),
        Action::Status { json, line } => status(&config(which)?, json, line.as_ref()),
        Action::Simulate { table, events } => {
            Ok(incrontab::simulate(&table, &events, &config(which)?)?)
        }
        Action::Reload { user } => reload(&config(which)?, user),
    }
}

fn config(which: &Which) -> Result<Config, Error> {
    let named = which.config.as_deref();
    // Warnings about unknown keys are the daemon's to log, not every user's to read.
    let (config, _warnings) = match which.personal {
        true => Config::load_personal(named)?,
        false => Config::load(named)?,
    };
    Ok(config)
}

/// Writes to standard output; a reader that has seen enough is no error.
fn print(text: &str) -> Result<Exit, Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(Exit::Success),
    }
}

fn status(config: &Config, json: bool, line: Option<&LineName>) -> Result<Exit, Error> {
    let report = Daemon::connect(config)?.report(line)?;
    let shown = match line {
        _ if json => json::report(&report),
        Some(_) => line::report(&report),
        None => workers::report(&report),
    };
    print(&shown)?;
    let mut exit = Exit::Success;
    for told in &report.workers {
        if let Some(why) = &told.incomplete {
            let owner = text::visible(&told.worker.owner);
            let why = text::visible(why);
            say(&format!("incronctl: lines of {owner} are missing: {why}"));
            exit = Exit::Failure;
        }
    }
    Ok(exit)
}

fn reload(config: &Config, user: Option<String>) -> Result<Exit, Error> {
    let user = match user {
        Some(user) => user,
        None => caller()?,
    };
    let request = Request::Reload { user: user.clone() };
    match Daemon::connect(config)?.ask(&request)? {
        Answer::NoTable => Err(Error::NoTable(user)),
        Answer::Done { lines, errors } => print(&loaded(&user, lines, errors)),
        _ => Err(Error::Unexpected),
    }
}

/// What became of a table that was read again.
fn loaded(user: &str, lines: Option<u32>, errors: Option<u32>) -> String {
    match (lines, errors) {
        (Some(lines), Some(0) | None) => format!("table of {user}: {lines} lines are served\n"),
        (Some(lines), Some(errors)) => format!(
            "table of {user}: {lines} lines are served, {errors} have errors; see incrond's log\n"
        ),
        (None, _) => format!("table of {user}: it is still being read\n"),
    }
}

fn caller() -> Result<String, Error> {
    let uid = nix::unistd::getuid();
    match nix::unistd::User::from_uid(uid) {
        Ok(Some(user)) => Ok(user.name),
        _ => Err(Error::Nameless(uid.as_raw())),
    }
}
