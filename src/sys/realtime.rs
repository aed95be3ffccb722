//! Work that must not wait for its turn: a thread's real-time priority, and a lock
//! whose holder is lent the priority of whoever waits for it.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The calling thread, to the scheduler.
const THIS: Pid = Pid::from_raw(0);

/// Puts the calling thread before all ordinary ones: `SCHED_FIFO` at the lowest
/// real-time priority. What it forks is ordinary again.
///
/// # Errors
/// `EPERM`: without `CAP_SYS_NICE`, or in a cgroup that has no real-time share.
pub fn run_first() -> io::Result<()> {
    let param = libc::sched_param { sched_priority: 1 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: `param` outlives the call; 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, policy, &param) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The numbers of the processors that the calling thread may use; 0 alone where that is
/// not known.
pub fn processors() -> Vec<u32> {
    let Ok(allowed) = sched_getaffinity(THIS) else {
        return vec![0];
    };
    let is_allowed = |cpu: &usize| allowed.is_set(*cpu).unwrap_or(false);
    let cpus = (0..CpuSet::count()).filter(is_allowed);
    cpus.filter_map(|cpu| u32::try_from(cpu).ok()).collect()
}

/// Keeps the calling thread on this processor; where that is refused, it stays free.
pub fn stay_on(cpu: u32) {
    let mut one = CpuSet::new();
    let cpu = usize::try_from(cpu).unwrap_or(usize::MAX);
    let _ = one.set(cpu).and_then(|()| sched_setaffinity(THIS, &one));
}

/// A mutex with priority inheritance (`PTHREAD_PRIO_INHERIT`), which std's lacks: an
/// ordinary thread that holds it cannot keep a real-time thread waiting behind
/// every other process of the machine.
pub struct Mutex<T> {
    /// Boxed: a pthread mutex must not move.
    raw: Box<UnsafeCell<libc::pthread_mutex_t>>,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only reached through a guard, which one thread has at a time.
unsafe impl<T: Send> Send for Mutex<T> {}
// SAFETY: as above; the lock itself may be used from any thread.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// Unlocked.
    ///
    /// # Errors
    /// `ENOTSUP`: a kernel without such locks.
    pub fn new(value: T) -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: initialises what it is given.
        check(unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) })?;
        let inherit = libc::PTHREAD_PRIO_INHERIT;
        // SAFETY: the attributes were initialised above.
        check(unsafe { libc::pthread_mutexattr_setprotocol(attributes.as_mut_ptr(), inherit) })?;
        let raw = Box::new(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
        // SAFETY: the box keeps its address; the attributes were initialised above.
        check(unsafe { libc::pthread_mutex_init(raw.get(), attributes.as_ptr()) })?;
        let value = UnsafeCell::new(value);
        Ok(Self { raw, value })
    }

    /// Waits for it.
    pub fn lock(&self) -> Guard<'_, T> {
        // SAFETY: initialised in `new`, never moved. It fails only for a thread that
        // holds it already, and no thread takes it twice (checked below).
        let error = unsafe { libc::pthread_mutex_lock(self.raw.get()) };
        assert_eq!(error, 0, "a lock is taken twice by one thread");
        Guard(self)
    }
}

impl<T> Mutex<T> {
    /// Takes it if nobody has it.
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        // SAFETY: initialised in `new`, never moved.
        let error = unsafe { libc::pthread_mutex_trylock(self.raw.get()) };
        (error == 0).then_some(Guard(self))
    }
}

impl<T> Drop for Mutex<T> {
    fn drop(&mut self) {
        // SAFETY: nobody holds it: a guard would borrow `self`.
        unsafe { libc::pthread_mutex_destroy(self.raw.get()) };
    }
}

/// The right to the value, until it is dropped.
pub struct Guard<'a, T>(&'a Mutex<T>);

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this thread holds the lock as long as the guard lives.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this thread holds the lock, and the guard is borrowed mutably.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: this thread locked it when it made the guard.
        unsafe { libc::pthread_mutex_unlock(self.0.raw.get()) };
    }
}

/// pthread functions return their error.
fn check(error: libc::c_int) -> io::Result<()> {
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::Mutex;
    use std::sync::Arc;

    #[test]
    fn one_thread_at_a_time() {
        let sum = Arc::new(Mutex::new(0u64).unwrap());
        let adds = |sum: Arc<Mutex<u64>>| move || (0..100_000).for_each(|_| *sum.lock() += 1);
        let threads = [0; 4].map(|_| std::thread::spawn(adds(Arc::clone(&sum))));
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(*sum.lock(), 400_000);
    }
}
