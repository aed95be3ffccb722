//! What becomes of the news: the threads that find containers tell it here, and one
//! form of output (`provide`, `list`) makes lines of it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::container::Container;

/// A form of output.
pub trait Form: Send {
    /// A container runs; or more is known of one that was told before.
    fn added(&mut self, container: &Container);
    /// The container with this key runs no more.
    fn removed(&mut self, key: &str);
    /// All that ran at the start has been told.
    fn ready(&mut self);
}

/// Shared by the threads.
pub struct Teller {
    form: Mutex<Box<dyn Form>>,
    /// Stores at which nobody has looked yet.
    beginning: Mutex<usize>,
    begun: Condvar,
}

impl Teller {
    /// Tells by `form`.
    pub fn new(form: Box<dyn Form>) -> Teller {
        Teller {
            form: Mutex::new(form),
            beginning: Mutex::new(0),
            begun: Condvar::new(),
        }
    }

    /// The output, for as long as the guard lives.
    pub fn form(&self) -> MutexGuard<'_, Box<dyn Form>> {
        self.form.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread is to look at one more store.
    pub fn begins(&self) {
        *self.count() += 1;
    }

    /// It has looked.
    pub fn has_begun(&self) {
        let mut count = self.count();
        *count = count.saturating_sub(1);
        self.begun.notify_all();
    }

    /// Waits until all were looked at, or for `limit`: a home on a server that does not
    /// answer holds up its own containers only. True if all were.
    pub fn wait(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut count = self.count();
        while *count > 0 {
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return false;
            }
            let waited = self.begun.wait_timeout(count, rest);
            count = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn count(&self) -> MutexGuard<'_, usize> {
        self.beginning
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
