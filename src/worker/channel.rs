//! The worker's end of the packet channel to its supervisor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::protocol::{FromWorker, MAX_PACKET, ToWorker};
use crate::sys::{receive_packet, send_packet};

/// A packet, or why there is none.
pub enum Incoming {
    /// A packet and the descriptor that came with it.
    Packet(ToWorker, Option<OwnedFd>),
    /// Nothing for now.
    Nothing,
    /// The supervisor is gone.
    Closed,
}

/// One end of a SOCK_SEQPACKET pair.
pub struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// Takes over an end of the pair.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// To be polled for reading.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Blocks until there is something to receive.
    pub fn wait(&self) -> io::Result<()> {
        self.poll(PollFlags::POLLIN)
    }

    fn poll(&self, flags: PollFlags) -> io::Result<()> {
        loop {
            match poll(&mut [PollFd::new(self.fd(), flags)], PollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Receives without blocking. An unknown packet is an error: supervisor and
    /// worker are one binary.
    pub fn receive(&self) -> io::Result<Incoming> {
        // Not kept: an idle worker should not hold 64 KiB for this.
        let mut buffer = vec![0; MAX_PACKET];
        match receive_packet(self.socket.as_fd(), &mut buffer) {
            Ok((0, ..)) => Ok(Incoming::Closed),
            Ok((length, fds, _)) => {
                let packet = serde_json::from_slice(&buffer[..length])?;
                Ok(Incoming::Packet(packet, fds.into_iter().next()))
            }
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EAGAIN | Errno::EINTR) => Ok(Incoming::Nothing),
                Some(Errno::ECONNRESET) => Ok(Incoming::Closed),
                _ => Err(error),
            },
        }
    }

    /// Sends one packet, waiting while the supervisor is behind.
    pub fn send(&self, packet: &FromWorker, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let text = serde_json::to_vec(packet)?;
        loop {
            let Err(error) = send_packet(self.fd(), &text, fd) else {
                return Ok(());
            };
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EAGAIN) => self.poll(PollFlags::POLLOUT)?,
                Some(Errno::EINTR) => {}
                // The supervisor is gone; the loop learns it when it receives.
                Some(Errno::EPIPE | Errno::ECONNRESET) => return Ok(()),
                _ => return Err(error),
            }
        }
    }
}
