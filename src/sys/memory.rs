//! Files in memory that nobody can change (memfd_create(2), fcntl(2) seals).

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// The same file under a number above 2, where a child's copy to 0, 1 or 2
/// cannot overwrite it; std never duplicates to a number below 3.
pub(crate) fn above_stdio(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        Ok(fd)
    } else {
        fd.as_fd().try_clone_to_owned()
    }
}

/// A file in memory, holding `bytes`, at its start, that nobody can change.
pub(crate) fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(above_stdio(create()?)?);
    file.write_all(bytes)?;
    file.rewind()?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals | SealFlag::F_SEAL_SEAL))?;
    Ok(file.into())
}

/// Not executable, as vm.memfd_noexec=2 wants it; before Linux 6.3 that flag is
/// unknown.
fn create() -> nix::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let noexec = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    match memfd_create(c"incron", flags | noexec) {
        Err(Errno::EINVAL) => memfd_create(c"incron", flags),
        result => result,
    }
}
