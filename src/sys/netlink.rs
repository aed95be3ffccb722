//! The kernel's process events: the proc connector, a multicast group of
//! `NETLINK_CONNECTOR` (linux/cn_proc.h). What the messages mean is read by
//! `watch::actor`; here is the socket alone.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, NetlinkAddr, bind, recv, recvfrom, sendto, setsockopt, sockopt};

use super::own_fd;

/// `CN_IDX_PROC`, and its multicast group.
const GROUP: u32 = 1;

/// A socket in the group of process events: not blocking, closed by an exec, with
/// room for `buffer` bytes of messages. Nothing comes before the kernel was asked.
///
/// # Errors
/// `EPROTONOSUPPORT`: another network namespace than the machine's own;
/// `EPERM`: without `CAP_NET_ADMIN`.
pub fn process_events(buffer: usize) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no memory is passed.
    let raw = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_CONNECTOR) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    let socket = own_fd(raw);
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUP))?;
    // Refused, the usual room has to do: what it cannot hold is counted as lost.
    let forced = setsockopt(&socket, sockopt::RcvBufForce, &buffer);
    forced.or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &buffer))?;
    Ok(socket)
}

/// Sends one message to the kernel.
pub fn tell_kernel(socket: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), message, &kernel, MsgFlags::empty())?;
    Ok(())
}

/// One message of the kernel, of the length returned; None: there is no more.
/// What other processes send is passed over.
///
/// # Errors
/// `ENOBUFS`: messages were lost.
pub fn hear_kernel(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match recvfrom::<NetlinkAddr>(socket.as_raw_fd(), buffer) {
            Ok((length, Some(from))) if from.pid() == 0 => return Ok(Some(length)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The message that waits longest, which is left there; None: nothing waits. Whoever sent
/// it: it is only to be known that there is one.
pub fn peek_kernel(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<usize> {
    recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_PEEK).ok()
}
