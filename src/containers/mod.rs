//! `incron-containers`: the container monitor, as a helper of ordinary tables.
//!
//! `provide` feeds the paths of running containers into incrond (`@containers`),
//! `list` shows them to a person, `log` writes what changes in them. The daemon itself
//! knows nothing of containers.

mod binaries;
mod changed;
mod cli;
mod container;
mod describe;
mod files;
mod finder;
mod keeper;
mod list;
mod log;
mod looks;
mod monitors;
mod pattern;
mod places;
mod probe;
mod process;
mod provide;
mod rights;
mod store;
mod teller;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use cli::Command;

use crate::exit::Exit;

/// The program.
pub fn main() -> ExitCode {
    let command = match cli::parse(env::args_os()) {
        Ok(command) => command,
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
    match command {
        Command::Provide(args) => provide::run(&args),
        Command::List(args) => list::run(&args),
        Command::Log(args) => log::run(args),
    }
}

/// A line to standard error; that it is closed is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "incron-containers: {text}");
}
