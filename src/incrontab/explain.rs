//! `-T`: what a table does, without a daemon; and with `--simulate`, what it
//! would run for recorded events.

use std::time::Duration;

use super::check;
use super::cli::Source;
use super::error::Error;
use super::scratch::read_bounded;
use crate::config::Config;
use crate::schedule::simulate::{Course, Model, parse_changes, simulate};
use crate::table::{self, Context, Line};
use crate::worker::{about_provider, usual_shell};

/// A recording is no larger, in bytes.
const MAX_EVENTS: usize = 64 * 1024 * 1024;
/// How long a simulated command takes; it succeeds.
const TAKES: Duration = Duration::from_millis(100);

/// A table in words.
#[derive(Debug)]
pub struct Explained {
    /// What its good lines do, for standard output.
    pub text: String,
    /// Errors and warnings, for standard error; empty for none.
    pub complaints: String,
    /// Lines that cannot be served.
    pub errors: usize,
}

/// Explains `text`, or what it does when `events` happen.
///
/// # Errors
/// The events cannot be read or understood.
pub fn explain(
    text: &[u8],
    context: &Context,
    events: Option<&Source>,
    config: &Config,
) -> Result<Explained, Error> {
    let checked = check::check(text, context);
    let (table, diagnostics) = table::parse(text, context);
    let text = match events {
        None => {
            let provider = |name: &str| about_provider(&config.provider_dir, name);
            let shell = usual_shell(context.system);
            table::explain(&table, &diagnostics, shell, &provider)
        }
        Some(source) => {
            let what = check::name(source);
            let bytes = check::open(source)
                .and_then(|from| read_bounded(from, MAX_EVENTS))
                .map_err(|error| Error::File {
                    path: what.clone().into(),
                    error,
                })?
                .ok_or_else(|| Error::Events {
                    what: what.clone(),
                    why: "too large".into(),
                })?;
            let changes = parse_changes(&bytes).map_err(|e| Error::Events {
                what,
                why: e.to_string(),
            })?;
            let mut course = |_: &Line, _| Course {
                takes: TAKES,
                success: true,
            };
            let max_jobs = config.max_jobs as usize;
            simulate(
                &table,
                &changes,
                &mut Model {
                    max_jobs,
                    course: &mut course,
                },
            )
        }
    };
    Ok(Explained {
        text,
        complaints: checked.rendered,
        errors: checked.errors,
    })
}
