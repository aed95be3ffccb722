//! The supervisor's end of the packet channel to a worker. What arrives here
//! is a user's to choose: bounded, typed, and counted when it is neither.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::sys::{receive_packet, send_packet};
use crate::worker::protocol::{FromWorker, MAX_PACKET, ToWorker};

/// One end of a SOCK_SEQPACKET pair.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

/// What there was to receive.
#[derive(Debug)]
pub enum Received {
    /// A packet, and the descriptor that came with it.
    Packet(FromWorker, Option<OwnedFd>),
    /// Something that is no packet of the protocol.
    Malformed,
    /// Nothing for now.
    Nothing,
    /// The other end is closed.
    Closed,
}

impl Channel {
    /// A channel, and the end that the worker inherits.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Self { socket: ours }, theirs))
    }

    /// To be polled.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends a packet without waiting; `WouldBlock` when the worker is behind.
    pub fn send(&self, packet: &ToWorker, attached: Option<BorrowedFd<'_>>) -> io::Result<()> {
        send_packet(self.fd(), &serde_json::to_vec(packet)?, attached)
    }

    /// Receives a packet without waiting.
    pub fn receive(&self) -> Received {
        let mut buffer = vec![0u8; MAX_PACKET];
        let (length, mut fds, cut) = match receive_packet(self.fd(), &mut buffer) {
            Ok(received) => received,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Received::Nothing,
                    io::ErrorKind::ConnectionReset => Received::Closed,
                    _ => Received::Malformed,
                };
            }
        };
        // An empty packet and the end look alike; a worker never sends the former.
        if length == 0 {
            return Received::Closed;
        }
        let packet = buffer.get(..length).map(serde_json::from_slice);
        match packet {
            Some(Ok(packet)) if !cut && fds.len() <= 1 => Received::Packet(packet, fds.pop()),
            _ => Received::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_packets_are_only_counted() {
        let (ours, theirs) = Channel::pair().unwrap();
        assert!(matches!(ours.receive(), Received::Nothing));
        let null = std::fs::File::open("/dev/null").unwrap();
        for packet in [
            &b"{"[..],
            b"{\"op\":\"rm\"}",
            b"\0\xff",
            &vec![b' '; MAX_PACKET + 1],
        ] {
            send_packet(theirs.as_fd(), packet, Some(null.as_fd())).unwrap();
            assert!(matches!(ours.receive(), Received::Malformed));
        }
        send_packet(theirs.as_fd(), b"{\"op\":\"ready\"}", None).unwrap();
        assert!(matches!(
            ours.receive(),
            Received::Packet(FromWorker::Ready, None)
        ));
        drop(theirs);
        assert!(matches!(ours.receive(), Received::Closed));
    }
}
