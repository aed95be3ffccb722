//! The kernel's process events: the proc connector, a multicast group of
//! `NETLINK_CONNECTOR` (linux/cn_proc.h). What the messages mean is read by
//! `watch::actor`; here is the socket alone.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, NetlinkAddr, bind, recv, recvfrom, sendto, setsockopt, sockopt};

use super::own_fd;

/// `CN_IDX_PROC`, and its multicast group.
const GROUP: u32 = 1;
/// Messages taken by one call.
const MANY: usize = 16;
/// Every message of the connector fits: 76 bytes.
pub const MAX: usize = 128;

/// A socket in the group of process events: not blocking, closed by an exec, with
/// room for `buffer` bytes of those messages that pass the `filter`. Nothing comes
/// before the kernel was asked.
///
/// # Errors
/// `EPROTONOSUPPORT`: another network namespace than the machine's own;
/// `EPERM`: without `CAP_NET_ADMIN`.
pub fn process_events(filter: &[libc::sock_filter], buffer: usize) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no memory is passed.
    let raw = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_CONNECTOR) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    let socket = own_fd(raw);
    attach(&socket, filter)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUP))?;
    // Refused, the usual room has to do: what it cannot hold is counted as lost.
    let forced = setsockopt(&socket, sockopt::RcvBufForce, &buffer);
    forced.or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &buffer))?;
    Ok(socket)
}

/// Only messages that this program of classic BPF accepts are queued from now on.
fn attach(socket: &OwnedFd, filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(io::Error::other)?,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies `len` instructions, which are there, and writes none.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
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

/// As many messages of the kernel as one call brings, each given to `each`. False:
/// there is no more.
///
/// # Errors
/// `ENOBUFS`: messages were lost.
pub fn hear_many(socket: BorrowedFd<'_>, mut each: impl FnMut(&[u8])) -> io::Result<bool> {
    let mut buffers = [[0u8; MAX]; MANY];
    // SAFETY: integers and pointers, for which zero is a value.
    let mut senders: [libc::sockaddr_nl; MANY] = unsafe { zeroed() };
    let mut parts = buffers.each_mut().map(|buffer| libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: MAX,
    });
    // SAFETY: integers and pointers, for which zero is a value.
    let mut headers: [libc::mmsghdr; MANY] = unsafe { zeroed() };
    for ((header, part), sender) in headers.iter_mut().zip(&mut parts).zip(&mut senders) {
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_name = (&raw mut *sender).cast();
        header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    }
    let (fd, flags) = (socket.as_raw_fd(), libc::MSG_DONTWAIT);
    let most = MANY as libc::c_uint;
    let none = std::ptr::null_mut();
    // SAFETY: each header names a buffer and an address of its own, of the lengths
    // given, which outlive the call.
    let count = unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), most, flags, none) };
    let count = match Errno::result(count) {
        Ok(count) => usize::try_from(count).unwrap_or(0),
        Err(Errno::EAGAIN) => return Ok(false),
        Err(Errno::EINTR) => return Ok(true),
        Err(error) => return Err(error.into()),
    };
    for ((header, sender), buffer) in headers.iter().zip(&senders).zip(&buffers).take(count) {
        if sender.nl_pid == 0 {
            let length = header.msg_len as usize;
            each(buffer.get(..length).unwrap_or_default());
        }
    }
    Ok(count == MANY)
}
