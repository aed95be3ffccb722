//! A real rsyslogd with a socket and a file of its own in a directory.

#![allow(dead_code)] // each test file uses a part of it

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::wait_for;

/// A running rsyslogd; killed with its owner.
pub struct Rsyslogd(Child);

impl Rsyslogd {
    /// Started, and its socket accepts.
    pub fn start(prefix: &Path) -> Option<Self> {
        let (socket, log) = (prefix.join("log.sock"), prefix.join("messages"));
        let conf = format!(
            "global(workDirectory=\"{0}\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{1}\" CreatePath=\"on\" RateLimit.Interval=\"0\" \
             IgnoreTimestamp=\"off\")\n\
             template(name=\"t\" type=\"string\" string=\"%pri% %timestamp% %syslogtag%%msg%\\n\")\n\
             *.* action(type=\"omfile\" file=\"{2}\" template=\"t\")\n",
            prefix.display(),
            socket.display(),
            log.display()
        );
        fs::write(prefix.join("conf"), conf).unwrap();
        let child = Command::new("/usr/sbin/rsyslogd")
            .args(["-n", "-iNONE", "-f"])
            .arg(prefix.join("conf"))
            .stdin(Stdio::null())
            .spawn()
            .ok()?;
        wait_for(prefix, || {
            let probe = std::os::unix::net::UnixDatagram::unbound().unwrap();
            probe.connect(&socket).is_ok()
        });
        Some(Self(child))
    }

    /// Without a chance to clean up: the socket stays, and refuses.
    pub fn kill(mut self) {
        kill(Pid::from_raw(self.0.id() as i32), Signal::SIGKILL).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Rsyslogd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
