//! Sockets and the descriptors that travel over them.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, accept4,
    getsockopt, recvmsg, sendmsg, sockopt,
};

use super::own_fd;

/// The most descriptors the kernel puts into one packet (`SCM_MAX_FD`). With
/// room for all of them nothing is cut off, so none can be lost track of.
const MAX_FDS: usize = 253;

/// The end of a packet channel that our parent left open as descriptor `raw`.
/// From here on it is closed by an exec. An error when it is no such thing.
pub fn adopt_channel(raw: RawFd) -> io::Result<OwnedFd> {
    if raw <= 2 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let fd = own_fd(raw);
    if getsockopt(&fd, sockopt::SockType)? != SockType::SeqPacket {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    fcntl(fd.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(fd)
}

/// Sends one packet without waiting; `WouldBlock` when the other end is behind.
pub fn send_packet(
    socket: BorrowedFd<'_>,
    packet: &[u8],
    attached: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let raw = attached.map(|fd| [fd.as_raw_fd()]);
    let control = raw.as_ref().map(|fds| ControlMessage::ScmRights(fds));
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    let parts = [IoSlice::new(packet)];
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &parts, control.as_slice(), flags, None)?;
    Ok(())
}

/// Receives one packet without waiting: its length, the descriptors that came
/// with it, and whether it was longer than `buffer`. Length 0 is the end.
pub fn receive_packet(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>, bool)> {
    let mut space = cmsg_space!([RawFd; MAX_FDS]);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            fds.extend(raw.into_iter().map(own_fd));
        }
    }
    Ok((
        message.bytes,
        fds,
        message.flags.contains(MsgFlags::MSG_TRUNC),
    ))
}

/// The same without descriptors: those that came are dropped by the kernel. The
/// difference matters, because to close a descriptor of a file system of the
/// sender's own making may take for ever, and for the kernel it does not.
pub fn receive_text(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
    let mut parts = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, None, MsgFlags::MSG_DONTWAIT)?;
    let cut = message
        .flags
        .intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
    Ok((message.bytes, cut))
}

/// Accepts a connection, not blocking, closed by an exec. None: nobody waits.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    match accept4(listener.as_raw_fd(), flags) {
        Ok(raw) => Ok(Some(own_fd(raw))),
        // A client that has gone again is nobody, too.
        Err(Errno::EAGAIN | Errno::ECONNABORTED | Errno::EINTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
