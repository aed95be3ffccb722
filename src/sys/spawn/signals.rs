//! Signal masks and dispositions by bare system calls: libc's own functions leave
//! out the signals that it keeps to itself (32 and 33), and this process may have
//! inherited those ignored too.

use std::ptr;

use libc::{c_int, c_long};

/// The signals that are ignored, which execve would keep, or handled: a signal to
/// the whole group that came just before the execve must not run our handler.
/// std's own handlers of memory faults are left out: only the child's own fault
/// could call them.
pub(super) fn changed() -> Vec<c_int> {
    let mut action = KernelAction::default();
    (1..=64)
        .filter(|&number| {
            let result = sigaction(number, ptr::null(), &mut action);
            let faults = [libc::SIGSEGV, libc::SIGBUS].contains(&number);
            let default = action[0] == libc::SIG_DFL || (faults && action[0] != libc::SIG_IGN);
            result == 0 && !default
        })
        .collect()
}

/// Gives `number` its default disposition. Negative: errno is set.
pub(super) fn reset_to_default(number: c_int) -> c_long {
    sigaction(number, &KernelAction::default(), ptr::null_mut())
}

/// Room for the kernel's struct sigaction, whose first word is the handler; all
/// zeroes is the default action with no flags and an empty mask.
type KernelAction = [usize; 8];

fn sigaction(number: c_int, new: *const KernelAction, old: *mut KernelAction) -> c_long {
    // SAFETY: both arrays are at least as large as the kernel's struct, or null; `new` is only
    // ever the default action, so no code is installed. 8 is the size of the kernel's sigset_t.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, number, new, old, 8) }
}

/// Sets the mask of this thread and returns the old one.
pub(super) fn set_mask(mask: u64) -> u64 {
    let mut old = 0u64;
    // SAFETY: both sets are 8 bytes, the size of the kernel's sigset_t.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut old,
            8,
        )
    };
    old
}
