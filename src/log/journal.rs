//! journald's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): fields, not
//! text, so that `journalctl INCRON_TABLE=web` finds what a table did.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::outbox::{Sent, Sink};
use super::syslog::{Socket, is_too_long};
use super::{LogSettings, Message, escape};
use crate::sys::memory;

const SOCKET: &str = "/run/systemd/journal/socket";
const MAX_MESSAGE: usize = 64 << 10;
/// journald drops fields whose names are longer.
const MAX_NAME: usize = 64;

pub(super) struct Journal {
    ident: String,
    facility: u8,
    socket: Socket,
}

impl Journal {
    pub(super) fn new(settings: &LogSettings) -> Self {
        let path = settings.socket.clone().unwrap_or_else(|| SOCKET.into());
        Self {
            ident: settings.ident.clone(),
            facility: settings.facility,
            socket: Socket::new(path, settings.patient),
        }
    }
}

impl Sink for Journal {
    fn format(&self, message: &Message) -> Vec<u8> {
        let mut packet = Vec::with_capacity(message.text.len() + 256);
        add(&mut packet, "PRIORITY", &message.severity().to_string());
        add(&mut packet, "SYSLOG_FACILITY", &self.facility.to_string());
        add(&mut packet, "SYSLOG_IDENTIFIER", &self.ident);
        add(&mut packet, "SYSLOG_PID", &std::process::id().to_string());
        add(
            &mut packet,
            "MESSAGE",
            &escape::line(&message.text, MAX_MESSAGE),
        );
        for (name, value) in &message.fields {
            match value.as_str() {
                Some(text) => add(&mut packet, &field_name(name), text),
                None => add(&mut packet, &field_name(name), &value.to_string()),
            }
        }
        packet
    }

    fn send(&mut self, packet: &[u8]) -> Sent {
        match self.socket.send(|socket| send(socket, packet)) {
            Ok(_) => Sent::Done,
            Err(error) if is_too_long(&error) => Sent::Never,
            Err(_) => Sent::Later,
        }
    }
}

/// A packet that no datagram holds goes as a sealed file in memory.
fn send(socket: &UnixDatagram, packet: &[u8]) -> io::Result<usize> {
    match socket.send(packet) {
        Err(error) if is_too_long(&error) => {
            // Without such a file it stays too long: it must not hold up the others.
            let file = memory::sealed(packet).map_err(|_| error)?;
            let descriptors = [file.as_raw_fd()];
            let rights = [ControlMessage::ScmRights(&descriptors)];
            let flags = MsgFlags::MSG_NOSIGNAL; // it waits as `send` would
            let nothing = [IoSlice::new(&[])];
            Ok(sendmsg::<()>(
                socket.as_raw_fd(),
                &nothing,
                &rights,
                flags,
                None,
            )?)
        }
        result => result,
    }
}

/// `NAME=value` and a newline, or the form with a length for values with newlines.
fn add(packet: &mut Vec<u8>, name: &str, value: &str) {
    packet.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        packet.push(b'\n');
        packet.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        packet.push(b'=');
    }
    packet.extend_from_slice(value.as_bytes());
    packet.push(b'\n');
}

/// `table` is `INCRON_TABLE`: letters, digits and `_` only, no `_` in front.
fn field_name(key: &str) -> String {
    let upper = key.chars().map(|c| match c.to_ascii_uppercase() {
        c @ ('A'..='Z' | '0'..='9') => c,
        _ => '_',
    });
    let upper: String = upper.collect();
    let name = upper.strip_prefix("INCRON_").unwrap_or(&upper);
    let mut name = format!("INCRON_{name}");
    name.truncate(MAX_NAME); // ASCII
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_as_journald_wants_them() {
        let mut packet = Vec::new();
        add(&mut packet, "A", "b=c");
        add(&mut packet, "D", "e\nf");
        assert_eq!(packet, b"A=b=c\nD\n\x03\0\0\0\0\0\0\0e\nf\n");
        assert_eq!(field_name("table"), "INCRON_TABLE");
        assert_eq!(field_name("incron_old-path\n="), "INCRON_OLD_PATH__");
        assert_eq!(field_name(&"x".repeat(100)).len(), MAX_NAME);
    }
}
