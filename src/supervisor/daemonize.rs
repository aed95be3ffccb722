//! Going to the background, the way init scripts expect it: the starter gets
//! its prompt back when the daemon holds its lock, or hears why it does not.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use crate::exit::Exit;
use crate::sys::{Forked, fork_single_threaded};

/// The starter waits at the other end of this.
#[derive(Debug)]
pub struct Starter {
    pipe: Option<File>,
}

/// Which process this has become.
pub enum Side {
    /// The old one: end with this.
    Starter(Exit),
    /// The new one: go on, and tell the starter how it went.
    Daemon(Starter),
}

/// Forks twice, with a session of its own in between, so that the daemon can
/// never get a controlling terminal. Call before any thread is started.
pub fn detach() -> io::Result<Side> {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    if let Forked::Parent(_) = fork_single_threaded()? {
        drop(write);
        return Ok(Side::Starter(wait(read)));
    }
    drop(read);
    setsid()?;
    if let Forked::Parent(_) = fork_single_threaded()? {
        std::process::exit(0);
    }
    Ok(Side::Daemon(Starter {
        pipe: Some(File::from(write)),
    }))
}

/// The daemon writes one exit code; dying before is a failure, too.
fn wait(pipe: OwnedFd) -> Exit {
    let mut code = [0u8; 1];
    match File::from(pipe).read_exact(&mut code) {
        Ok(()) if code == [0] => Exit::Success,
        Ok(()) if code == [Exit::Config as u8] => Exit::Config,
        _ => Exit::Failure,
    }
}

impl Starter {
    /// For a daemon in the foreground: nobody waits.
    pub fn nobody() -> Self {
        Self { pipe: None }
    }

    /// The lock is held: lets the starter go and leaves its terminal and its
    /// directory.
    pub fn release(self) -> io::Result<()> {
        let Some(mut pipe) = self.pipe else {
            return Ok(());
        };
        std::env::set_current_dir("/")?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        // A starter that did not wait is no reason to give up.
        let _ = pipe.write_all(&[Exit::Success as u8]);
        Ok(())
    }

    /// It did not work; the reason has been printed.
    pub fn fail(self, exit: Exit) {
        if let Some(mut pipe) = self.pipe {
            let _ = pipe.write_all(&[exit as u8]);
        }
    }
}
