//! One loop that joins watch, schedule and run for one owner.
//!
//! A worker is a process of its own, already its owner when it starts, so the
//! kernel decides what it may watch and run. It is told its tables by the
//! supervisor over `channel`; in the foreground (`incrond run TABLE`) it reads
//! one table itself.
//!
//! The line that decides whether an event runs a command is in
//! `Filters::wanting` (filters.rs); when it runs is `schedule`'s, how is `run`'s.

mod account;
mod catchup;
mod channel;
mod engine;
mod environment;
mod events;
mod filters;
mod foreground;
mod job;
mod lines;
mod orders;
pub mod protocol;
mod providers;
mod runs;
mod saved;
mod show;
mod status;
mod stop;
mod streams;
mod view;
mod whose;

use std::os::fd::OwnedFd;
use std::process::ExitCode;

pub use environment::usual_shell;
pub use foreground::{ForegroundOptions, foreground, read_table};
pub use providers::{about as about_provider, find as find_provider};
pub use stop::KILLING;

use crate::exit::Exit;
use crate::open_files;
use channel::{Channel, Incoming};
use engine::{Engine, Flow};
use protocol::{Settings, ToWorker};
use view::LogView;

/// The worker process: re-executed by the supervisor, already its owner.
/// `channel` is its end of the SOCK_SEQPACKET pair of `protocol`.
pub fn main(channel: OwnedFd) -> ExitCode {
    match serve(Channel::new(channel)) {
        Ok(()) => Exit::Success.into(),
        Err(error) => {
            log::error!("worker stopped: {}", open_files::named(error));
            Exit::Failure.into()
        }
    }
}

fn serve(mut channel: Channel) -> std::io::Result<()> {
    let settings = hello(&mut channel)?;
    let _ = crate::supervisor::logging::start(&settings.log); // the only logger here
    let view = Box::new(LogView::new(&settings));
    let mut engine = Engine::new(settings, view)?;
    engine.attach(channel)?;
    while engine.turn()? == Flow::Continue {}
    log::logger().flush();
    Ok(())
}

/// The first packet, waited for: a worker without settings can do nothing.
fn hello(channel: &mut Channel) -> std::io::Result<Settings> {
    channel.wait()?;
    match channel.receive()? {
        Incoming::Packet(ToWorker::Hello(settings), _) => Ok(settings),
        _ => Err(std::io::Error::other("the first packet was not `hello`")),
    }
}
