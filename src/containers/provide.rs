//! `provide`: containers that come and go, as lines for incrond (incron-provider(7)).

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};

use super::cli::ProvideArgs;
use super::container::Container;
use super::teller::{Form, Teller};
use super::{monitors, say};
use crate::exit::Exit;

/// Runs until nobody reads any more.
pub fn run(args: &ProvideArgs) -> ExitCode {
    let teller = Arc::new(Teller::new(Box::new(Lines)));
    let out = io::stdout();
    let ended = monitors::begin(&args.which, teller).and_then(|all| all.run(out.as_fd()));
    match ended {
        Ok(()) => Exit::Success.into(),
        Err(error) => {
            say(&format!("cannot go on: {error}"));
            Exit::Failure.into()
        }
    }
}

/// One JSON object a line.
struct Lines;

impl Form for Lines {
    fn added(&mut self, container: &Container) {
        line(&container.added());
    }

    fn removed(&mut self, key: &str) {
        line(&json!({ "remove": key }));
    }

    fn ready(&mut self) {
        line(&json!({ "ready": true }));
    }
}

/// Prints a line at once. That nobody reads is the end, and for all threads.
pub fn line(value: &Value) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{value}").and_then(|()| out.flush()).is_err() {
        std::process::exit(Exit::Success as i32);
    }
}
