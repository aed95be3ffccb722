//! From the command line to the action, and back to an exit code. Prefixes of
//! messages and exit codes are set here and nowhere else.

use std::os::fd::RawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::clients::Clients;
use super::daemon::{Daemon, block_signals};
use super::daemonize::{Side, Starter, detach};
use super::lock::{Lock, terminate_holder};
use super::{check, cli, logging};
use crate::config::{Config, ConfigError};
use crate::exit::Exit;
use crate::open_files::named;
use crate::worker::ForegroundOptions;

const RUN_HELP: &str = "\
incrond: `incrond run` serves one table in the foreground, as you; name it:

    incrond run my.table

A table is a text file; each line is a path, events and a command:

    /tmp/inbox  IN_CLOSE_WRITE  echo got $@/$#

See incrontab(5).";

/// incrond.
pub fn main() -> ExitCode {
    if let Some((channel, cwd)) = plain_worker() {
        return worker(channel, Some(&cwd));
    }
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        // Help and version are such "errors", for standard output and code 0.
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match invocation.action {
        cli::Action::About => {
            println!("{}", cli::ABOUT);
            return Exit::Success.into();
        }
        #[cfg(feature = "pam")]
        cli::Action::Worker {
            channel,
            ref cwd,
            session: Some(ref session),
        } => return super::session::main(channel, cwd.as_deref(), session),
        cli::Action::Worker {
            channel, ref cwd, ..
        } => return worker(channel, cwd.as_deref()),
        cli::Action::Run { table: None, .. } => {
            eprintln!("{RUN_HELP}");
            return Exit::Usage.into();
        }
        _ => {}
    }
    // The daemon leaves this directory and reads the file again later.
    let file = invocation
        .config
        .map(|file| std::path::absolute(&file).unwrap_or(file));
    let config = match read_config(file.as_deref(), invocation.personal) {
        Ok(config) => config,
        Err(error) => {
            for line in error.to_string().lines() {
                eprintln!("incrond: {line}");
            }
            return Exit::Config.into();
        }
    };
    match invocation.action {
        cli::Action::Run {
            table: Some(table),
            json,
        } => run(&table, json, &config),
        cli::Action::Kill => kill(&config).into(),
        cli::Action::Check(files) => check::check(&config, &files).into(),
        cli::Action::CheckRun(table) => check::check_run(&config, &table).into(),
        _ => {
            let foreground = invocation.action == cli::Action::Serve { foreground: true };
            serve(config, file, foreground).into()
        }
    }
}

fn read_config(file: Option<&Path>, personal: bool) -> Result<Config, ConfigError> {
    let (config, warnings) = match personal {
        true => Config::load_personal(file)?,
        false => Config::load(file)?,
    };
    for warning in warnings {
        eprintln!("incrond: warning: {warning}");
    }
    Ok(config)
}

fn run(table: &Path, json: bool, config: &Config) -> ExitCode {
    let options = ForegroundOptions {
        json,
        dialect: config.dialect,
        max_jobs: config.max_jobs,
        provider_dir: config.provider_dir.clone(),
    };
    crate::worker::foreground(table, options)
}

/// `--worker FD --worker-cwd DIR`, just as the supervisor writes it: the parser of
/// command lines is memory that each of many workers need not touch.
fn plain_worker() -> Option<(RawFd, PathBuf)> {
    let mut words = std::env::args_os().skip(1);
    let (first, channel) = (words.next()?, words.next()?);
    let (second, cwd) = (words.next()?, words.next()?);
    let plain = first == "--worker" && second == "--worker-cwd" && words.next().is_none();
    let channel = channel.to_str()?.parse().ok()?;
    plain.then(|| (channel, cwd.into()))
}

/// The worker process, already its owner. Its directory is entered only here:
/// a home on a server that hangs then hangs its owner's worker, not the daemon.
fn worker(channel: RawFd, cwd: Option<&Path>) -> ExitCode {
    // /proc/self/exe made it "exe"; ps and pgrep shall find it.
    let _ = nix::sys::prctl::set_name(c"incrond");
    let entered = cwd.is_some_and(|dir| std::env::set_current_dir(dir).is_ok());
    if !entered && let Err(error) = std::env::set_current_dir("/") {
        eprintln!("incrond: cannot enter /: {error}");
    }
    match crate::sys::adopt_channel(channel) {
        Ok(channel) => crate::worker::main(channel),
        Err(_) => {
            eprintln!("incrond: --worker is for incrond itself");
            Exit::Usage.into()
        }
    }
}

/// incron's messages, where incron wrote them.
fn kill(config: &Config) -> Exit {
    eprintln!("attempting to terminate a running instance of incrond...");
    match terminate_holder(&config.lock_file()) {
        Ok(true) => {
            eprintln!("the instance notified, going down");
            Exit::Success
        }
        Ok(false) => {
            eprintln!("error - incrond probably not running");
            Exit::Failure
        }
        Err(error) => {
            eprintln!(
                "incrond: cannot use {}: {error}",
                config.lock_file().display()
            );
            Exit::Failure
        }
    }
}

fn serve(config: Config, file: Option<PathBuf>, foreground: bool) -> Exit {
    let starter = match foreground {
        true => Starter::nobody(),
        false => match detach() {
            Ok(Side::Daemon(starter)) => starter,
            Ok(Side::Starter(exit)) => return exit,
            Err(error) => return complain(&format!("cannot go to the background: {error}")),
        },
    };
    if let Err(error) = block_signals() {
        eprintln!("incrond: cannot block signals: {error}");
    }
    if let Err(error) = logging::start(&logging::choice(&config)) {
        eprintln!("incrond: {error}");
    }
    match daemon(config, file, starter) {
        Ok(exit) => exit,
        Err((starter, message)) => {
            log::error!("{message}");
            let exit = complain(&message);
            if let Some(starter) = starter {
                starter.fail(exit);
            }
            exit
        }
    }
}

fn complain(message: &str) -> Exit {
    eprintln!("incrond: {message}");
    Exit::Failure
}

/// The starter is given back when it has not been told yet how it went.
fn daemon(
    config: Config,
    file: Option<PathBuf>,
    starter: Starter,
) -> Result<Exit, (Option<Starter>, String)> {
    let (held, mut daemon) = match prepare(config, file) {
        Ok(prepared) => prepared,
        Err(message) => return Err((Some(starter), message)),
    };
    starter
        .release()
        .map_err(|error| (None, format!("cannot leave the terminal: {error}")))?;
    log::info!("starting service (version {})", env!("CARGO_PKG_VERSION"));
    let exit = daemon
        .run()
        .map_err(|error| (None, format!("stopped by an error: {}", named(error))));
    // In this order: until the socket is gone, nobody else may make one.
    drop(daemon);
    drop(held);
    exit
}

fn prepare(config: Config, file: Option<PathBuf>) -> Result<(Lock, Daemon), String> {
    if config.personal {
        private_dir(&config.lockfile_dir)?;
        private_dir(&config.state_dir)?;
    }
    let lock = Lock::take(&config.lock_file()).map_err(|error| error.to_string())?;
    let socket = &config.control_socket;
    let mode = if config.personal { 0o600 } else { 0o666 };
    let clients = Clients::listen(socket, mode)
        .map_err(|error| format!("cannot listen at {}: {}", socket.display(), named(error)))?;
    let daemon = Daemon::new(config, file, clients)
        .map_err(|error| format!("cannot start: {}", named(error)))?;
    Ok((lock, daemon))
}

fn private_dir(dir: &Path) -> Result<(), String> {
    let mut builder = std::fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(dir);
    made.map_err(|error| format!("cannot make {}: {error}", dir.display()))
}
