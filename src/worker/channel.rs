//! The worker's end of the packet channel to its supervisor.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg,
};

use super::protocol::{FromWorker, MAX_PACKET, ToWorker};

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
    buffer: Vec<u8>,
}

impl Channel {
    /// Takes over an end of the pair.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, buffer: vec![0; MAX_PACKET] }
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
    pub fn receive(&mut self) -> io::Result<Incoming> {
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
        let (length, fd) = {
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
            let raw = self.socket.as_raw_fd();
            match recvmsg::<UnixAddr>(raw, &mut parts, Some(&mut space), flags) {
                Ok(message) => (message.bytes, first_fd(&message)?),
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Incoming::Nothing),
                Err(Errno::ECONNRESET) => return Ok(Incoming::Closed),
                Err(error) => return Err(error.into()),
            }
        };
        if length == 0 {
            return Ok(Incoming::Closed);
        }
        let packet = serde_json::from_slice(&self.buffer[..length])?;
        Ok(Incoming::Packet(packet, fd))
    }

    /// Sends one packet, waiting while the supervisor is behind.
    pub fn send(&self, packet: &FromWorker, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let text = serde_json::to_vec(packet)?;
        let raw = fd.map(|fd| [fd.as_raw_fd()]);
        let control = raw.as_ref().map(|fds| ControlMessage::ScmRights(fds));
        loop {
            let parts = [IoSlice::new(&text)];
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            let socket = self.socket.as_raw_fd();
            match sendmsg::<UnixAddr>(socket, &parts, control.as_slice(), flags, None) {
                Ok(_) => return Ok(()),
                Err(Errno::EAGAIN) => self.poll(PollFlags::POLLOUT)?,
                Err(Errno::EINTR) => {}
                // The supervisor is gone; the loop learns it when it receives.
                Err(Errno::EPIPE | Errno::ECONNRESET) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn first_fd(
    message: &nix::sys::socket::RecvMsg<'_, '_, UnixAddr>,
) -> io::Result<Option<OwnedFd>> {
    let mut first = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            for fd in fds {
                first = first.or(Some(crate::sys::own_fd(fd)));
            }
        }
    }
    Ok(first)
}
