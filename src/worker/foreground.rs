//! `incrond run TABLE`: one worker in the foreground as the calling user.
//!
//! It is how a newcomer starts: no installation, no root. Each event and each
//! run is shown as it happens; a change of the table takes effect at once.

use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::engine::{Engine, Flow, TABLE};
use super::protocol::{LogChoice, Settings, StreamFigures};
use super::show::{JsonView, TerminalView};
use super::view::View;
use crate::control::MAX_TABLE;
use crate::exit::Exit;
use crate::log::{Destination, LogSettings};
use crate::open_files;
use crate::run::mail::MAILER;
use crate::table::{Dialect, Mask, PathSpec};
use crate::watch::{Request, Source};

/// What the command line says.
#[derive(Clone, Debug)]
pub struct ForegroundOptions {
    /// Print JSON lines on standard output.
    pub json: bool,
    /// Dialect of lines before the first INCRON_DIALECT.
    pub dialect: Dialect,
    /// Commands at once.
    pub max_jobs: u32,
    /// Where the programs of providers are.
    pub provider_dir: PathBuf,
}

/// Serves `table` until SIGINT or SIGTERM.
///
/// Ends with 78 when the table cannot be read or no line of it can be served.
pub fn foreground(table: &Path, options: ForegroundOptions) -> ExitCode {
    match serve(table, &options) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("incrond: {}", open_files::named(error));
            Exit::Failure.into()
        }
    }
}

fn serve(table: &Path, options: &ForegroundOptions) -> io::Result<Exit> {
    // What belongs to no line: a mailer that cannot be run, a full queue.
    let mut log = LogSettings::new(Destination::Stderr);
    log.level = log::LevelFilter::Warn;
    let _ = crate::log::init(&log); // the only logger here
    let bytes = match read_table(table) {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!(
                "incrond: cannot read the table {}: {}",
                table.display(),
                open_files::named(error)
            );
            return Ok(Exit::Config);
        }
    };
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let view: Box<dyn View> = match options.json {
        true => Box::new(JsonView),
        false => Box::new(TerminalView::new(colour)),
    };
    let mut engine = Engine::new(settings(options), view)?;
    let name = table
        .file_name()
        .unwrap_or(table.as_os_str())
        .to_string_lossy()
        .into_owned();
    let (served, errors) = engine.load(name, table.display().to_string(), &bytes);
    if served == 0 {
        let what = if errors > 0 {
            "no line of it can be served"
        } else {
            "it has no lines"
        };
        eprintln!("incrond: {}: {what}", table.display());
        return Ok(Exit::Config);
    }
    engine.follow(table)?;
    engine.beginning = true;
    engine.tell_ready()?;
    while engine.turn()? == Flow::Continue {}
    engine.tell_figures();
    Ok(Exit::Success)
}

/// Reads at most a table's size, of a regular file or of a pipe that ends.
pub fn read_table(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::other("it is a directory, not a table"));
    }
    file.take(MAX_TABLE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn settings(options: &ForegroundOptions) -> Settings {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid())
        .ok()
        .flatten();
    Settings {
        owner: user.map_or_else(|| "nobody".into(), |user| user.name),
        system: false,
        dialect: options.dialect,
        max_jobs: options.max_jobs,
        stop_grace: 2,
        stop_kill: true,
        mailer: MAILER.into(),
        provider_dir: options.provider_dir.clone(),
        state: None,
        log: LogChoice::default(),
    }
}

impl Engine {
    /// What became of the events that had no run of their own: nobody can ask for it
    /// when this process is gone.
    fn tell_figures(&mut self) {
        for id in self.lines.ids_after(TABLE) {
            let Some(served) = self.lines.get(id) else {
                continue;
            };
            let counters = self.scheduler.counters(id);
            let stream = self.streams.figures(id).map(|(stream, ..)| stream);
            let of_stream = |count: fn(&StreamFigures) -> u64| stream.as_ref().map_or(0, count);
            let figures = [
                (counters.merged, "merged by path"),
                (counters.skipped, "dropped by busy=skip"),
                (counters.looped, "dropped by IN_NO_LOOP"),
                (of_stream(|s| s.merged), "merged by path for the stream"),
                (of_stream(|s| s.lost), "lost by the stream"),
            ];
            let told: Vec<String> = figures
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, what)| format!("{count} {what}"))
                .collect();
            if !told.is_empty() {
                let text = format!("{} events: {}", served.record.events, told.join(", "));
                self.view.notice(served, &text);
            }
        }
    }

    /// Reads `table` again whenever it changes.
    fn follow(&mut self, table: &Path) -> io::Result<()> {
        let path = std::path::absolute(table)?;
        let request = Request {
            line: TABLE,
            path: PathSpec {
                written: path.clone().into_os_string(),
                pattern: false,
            },
            mask: Mask::CLOSE_WRITE | Mask::MOVED_TO,
            recursive: false,
            depth: None,
            dotdirs: false,
            exclude: Vec::new(),
            poll: None,
            source: crate::table::Source::Auto,
            who: false,
        };
        let mut reports = Vec::new();
        self.source.add(request, &mut reports);
        self.followed = Some(path);
        self.take_reports(&mut reports);
        Ok(())
    }

    pub(super) fn reload_followed(&mut self) {
        let Some(path) = self.followed.clone() else {
            return;
        };
        let origin = path.display().to_string();
        match read_table(&path) {
            Ok(bytes) => {
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                self.load(name, origin, &bytes);
                self.beginning = true; // said at the end of the turn
            }
            Err(error) => self.view.unreadable(&origin, &error),
        }
    }
}
