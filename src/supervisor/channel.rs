//! The supervisor's end of the packet channel to a worker. What arrives here
//! is a user's to choose: bounded, typed, and counted when it is neither.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::sys::{receive_packet, receive_text, send_packet};
use crate::worker::protocol::{FromWorker, MAX_PACKET, ToWorker};

/// Threads that are closing descriptors of users.
static CLOSING: AtomicUsize = AtomicUsize::new(0);
/// No more at once.
const MAX_CLOSING: usize = 16;

/// One end of a SOCK_SEQPACKET pair.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

/// What there was to receive.
#[derive(Debug)]
pub enum Received {
    /// A packet, and what came with it.
    Packet(FromWorker, Attached),
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

    /// Receives a packet without waiting. Descriptors are taken only where one
    /// is due: whatever a user sends has to be got rid of again.
    pub fn receive(&self, descriptor: bool) -> Received {
        let mut buffer = vec![0u8; MAX_PACKET];
        // While too many of them cannot even be closed, no more are taken.
        let descriptor = descriptor && CLOSING.load(Ordering::Relaxed) < MAX_CLOSING;
        let received = match descriptor {
            true => receive_packet(self.fd(), &mut buffer),
            false => {
                receive_text(self.fd(), &mut buffer).map(|(length, cut)| (length, vec![], cut))
            }
        };
        let (length, fds, cut) = match received {
            Ok(received) => received,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Received::Nothing,
                    io::ErrorKind::ConnectionReset => Received::Closed,
                    _ => Received::Malformed,
                };
            }
        };
        let attached = Attached(fds);
        // An empty packet and the end look alike; a worker never sends the former.
        if length == 0 {
            return Received::Closed;
        }
        match buffer.get(..length).map(serde_json::from_slice) {
            Some(Ok(packet)) if !cut => Received::Packet(packet, attached),
            _ => Received::Malformed,
        }
    }
}

/// Descriptors that came with a packet. To close one may block for as long as
/// its sender likes (a file system in user space), so a thread does it, unless
/// it turns out to be a file in memory.
#[derive(Debug)]
pub struct Attached(Vec<OwnedFd>);

impl Attached {
    /// The one descriptor, if it is one, and of a file in memory.
    pub fn memory(mut self) -> Option<OwnedFd> {
        // Only files in memory have seals (fcntl(2)).
        let is_memory = |fd: &OwnedFd| fcntl(fd.as_fd(), FcntlArg::F_GET_SEALS).is_ok();
        match self.0.as_slice() {
            [fd] if is_memory(fd) => self.0.pop(),
            _ => None,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if self.0.is_empty() {
            return;
        }
        let fds: Vec<RawFd> = self.0.drain(..).map(OwnedFd::into_raw_fd).collect();
        CLOSING.fetch_add(1, Ordering::Relaxed);
        let thread = std::thread::Builder::new().name("close".into());
        let started = thread.spawn(move || {
            for fd in fds {
                let _ = nix::unistd::close(fd);
            }
            CLOSING.fetch_sub(1, Ordering::Relaxed);
        });
        // Where users' processes have left no room for a thread, they stay open,
        // and count: better than to end here, or to wait for a user.
        if let Err(error) = started {
            log::error!("no thread to close what a worker sent: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};

    #[test]
    fn hostile_packets_are_only_counted() {
        let (ours, theirs) = Channel::pair().unwrap();
        assert!(matches!(ours.receive(false), Received::Nothing));
        let null = std::fs::File::open("/dev/null").unwrap();
        let ready = b"{\"op\":\"ready\"}";
        let large = vec![b' '; MAX_PACKET + 1];
        for packet in [&b"{"[..], b"{\"op\":\"rm\"}", b"\0\xff", &large, ready] {
            for descriptor in [false, true] {
                send_packet(theirs.as_fd(), packet, Some(null.as_fd())).unwrap();
                match ours.receive(descriptor) {
                    Received::Malformed => {}
                    Received::Packet(_, attached) => assert!(attached.memory().is_none()),
                    other => panic!("{other:?}"),
                }
            }
        }
        send_packet(theirs.as_fd(), ready, None).unwrap();
        let Received::Packet(FromWorker::Ready, attached) = ours.receive(true) else {
            panic!()
        };
        assert!(attached.is_empty());
        drop(theirs);
        assert!(matches!(ours.receive(false), Received::Closed));
    }

    #[test]
    fn a_file_in_memory_is_taken_where_it_is_due() {
        let (ours, theirs) = Channel::pair().unwrap();
        let memory = memfd_create(c"t", MFdFlags::MFD_CLOEXEC).unwrap();
        let saved = b"{\"op\":\"saved\",\"events\":1}";
        send_packet(theirs.as_fd(), saved, Some(memory.as_fd())).unwrap();
        let Received::Packet(_, attached) = ours.receive(true) else {
            panic!()
        };
        assert!(attached.memory().is_some());
        send_packet(theirs.as_fd(), saved, Some(memory.as_fd())).unwrap();
        assert!(matches!(ours.receive(false), Received::Malformed));
    }
}
