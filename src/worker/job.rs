//! From a line and its events to one command, ready to be executed.

use std::rc::Rc;

use super::environment;
use super::lines::Served;
use super::protocol::Settings;
use crate::event::Event;
use crate::run::Job;
use crate::table::Stdin;

/// The command of `served` for `events`, which are in the order of their time.
pub fn build(served: &Served, events: &[Rc<Event>], settings: &Settings) -> Job {
    let options = &served.line.options;
    let shell = environment::shell(served, settings.system);
    let invocation = served.line.command.invocation_many(events, &shell);
    Job {
        argv: invocation.argv,
        base: Rc::clone(&served.env),
        env: environment::of_events(served, events),
        cwd: options.cwd.clone(),
        umask: options.umask,
        nice: options.nice,
        identity: served.identity.clone(),
        stdin: standard_input(served, events),
        output: options.output.clone(),
        timeout: options.timeout,
        kill_after: options.kill_after,
    }
}

/// What the command reads: nothing, or its events in the form that `stdin=` names.
fn standard_input(served: &Served, events: &[Rc<Event>]) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let options = &served.line.options;
    let form = match options.stdin {
        Stdin::None if options.batch.is_some() => Stdin::Json,
        form => form,
    };
    let mut text = Vec::new();
    for event in events {
        match form {
            Stdin::None => {}
            Stdin::Json => {
                text.extend_from_slice(served.json(event).as_bytes());
                text.push(b'\n');
            }
            Stdin::Paths | Stdin::Paths0 => {
                text.extend_from_slice(event.target().as_bytes());
                text.push(if form == Stdin::Paths { b'\n' } else { 0 });
            }
        }
    }
    text
}
