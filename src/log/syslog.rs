//! The traditional log: a datagram to /dev/log for each message, as syslog(3)
//! writes it (RFC 3164 without the host name, local time).

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use jiff::Zoned;

use super::outbox::{Sent, Sink};
use super::{LogSettings, Message, escape};

const SOCKET: &str = "/dev/log";
/// rsyslog 8 by default cuts a message at 8096 bytes, silently.
const MAX_PACKET: usize = 8000;

/// A connection to syslogd, made anew when it has been restarted.
pub(super) struct Syslog {
    ident: String,
    facility: u8,
    socket: Socket,
}

impl Syslog {
    pub(super) fn new(settings: &LogSettings) -> Self {
        let path = settings.socket.clone().unwrap_or_else(|| SOCKET.into());
        Self {
            ident: settings.ident.clone(),
            facility: settings.facility,
            socket: Socket::new(path, settings.patient),
        }
    }
}

impl Sink for Syslog {
    fn format(&self, message: &Message) -> Vec<u8> {
        let priority = self.facility << 3 | message.severity();
        let time = Zoned::now().strftime("%b %e %H:%M:%S").to_string();
        let mut packet = format!(
            "<{priority}>{time} {}[{}]: ",
            self.ident,
            std::process::id()
        );
        let room = MAX_PACKET.saturating_sub(packet.len());
        packet.push_str(&escape::line(&message.text, room));
        packet.into_bytes()
    }

    fn send(&mut self, packet: &[u8]) -> Sent {
        match self.socket.send(|socket| socket.send(packet)) {
            Ok(_) => Sent::Done,
            Err(error) if is_too_long(&error) => Sent::Never,
            Err(_) => Sent::Later,
        }
    }
}

/// A datagram socket by its path, whose listener may go and come back.
pub(super) struct Socket {
    path: PathBuf,
    patient: bool,
    connection: Option<UnixDatagram>,
}

impl Socket {
    /// `patient`: sending waits while the listener's queue is full.
    pub(super) fn new(path: PathBuf, patient: bool) -> Self {
        Self {
            path,
            patient,
            connection: None,
        }
    }

    /// Sends once; where that finds the listener gone, connects anew and sends
    /// again. Errors: `WouldBlock` where its queue is full, or what connect(2) says.
    pub(super) fn send(
        &mut self,
        mut send: impl FnMut(&UnixDatagram) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if let Some(connection) = &self.connection {
            match send(connection) {
                Err(error) if is_gone(&error) => self.connection = None,
                result => return result,
            }
        }
        let connection = connect(&self.path)?;
        connection.set_nonblocking(!self.patient)?;
        send(self.connection.insert(connection))
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?; // close-on-exec
    socket.connect(path)?;
    Ok(socket)
}

/// The queue being full or the packet being too long is no reason to reconnect.
fn is_gone(error: &io::Error) -> bool {
    error.kind() != ErrorKind::WouldBlock && !is_too_long(error)
}

/// More than a datagram, or than this socket's buffer, holds.
pub(super) fn is_too_long(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::ENOBUFS))
}
