//! The containers of one user, in a thread of its own: what it reads of that user
//! it reads with the user's rights, and where it hangs it holds up nobody else.

mod known;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::{Uid, User, getuid};

use super::cli::Engine;
use super::container::Container;
use super::describe::Asked;
use super::finder::Finder;
use super::process::Pid;
use super::rights::{self, Range};
use super::say;
use super::store::Store;
use super::teller::Teller;

/// Watches for one user's stores; root has no bound but the kernel's.
const USER_WATCHES: usize = 8192;
/// Stores of one user.
const USER_STORES: usize = 64;
/// A container whose labels are not all there is looked at again after 5 ms, and then
/// after twice as long each time; in all for five seconds.
const FIRST: Duration = Duration::from_millis(5);
const TRIES: u32 = 10;
/// What is not yet clear to be one is not watched meanwhile: no pause is longer than
/// this, and the five seconds are so many looks.
const LONGEST: Duration = Duration::from_millis(40);
const LOOKS: u32 = 130;

const FINDER: u64 = 0;
const ORDERS: u64 = 1;

/// What holds for all keepers.
#[derive(Debug)]
pub struct Settings {
    /// Upper layers may be watched.
    pub layers: bool,
    /// None: all of them.
    pub engines: Vec<Engine>,
    /// What of those that do not run.
    pub asked: Asked,
}

/// One more store.
#[derive(Debug)]
pub struct Order {
    /// Where it is.
    pub store: Store,
    /// Users of its containers.
    pub users: Vec<Range>,
}

/// The way to a keeper.
pub struct Handle {
    teller: Arc<Teller>,
    orders: Sender<Order>,
    wake: Arc<EventFd>,
    stores: usize,
    bound: usize,
}

struct Keeper {
    uid: u32,
    settings: Arc<Settings>,
    teller: Arc<Teller>,
    finder: Finder,
    epoll: Epoll,
    /// By the file with the process's number.
    running: HashMap<PathBuf, Running>,
    /// The file of each number that epoll knows.
    tokens: HashMap<u64, PathBuf>,
    next: u64,
    again: Vec<Again>,
    /// Those that do not run, by containers.json and key.
    asleep: HashMap<PathBuf, HashMap<String, Container>>,
    bases: Vec<Store>,
}

struct Running {
    pid: Pid,
    pidfd: OwnedFd,
    token: u64,
    container: Container,
}

/// A file to be looked at once more.
struct Again {
    file: PathBuf,
    at: Instant,
    tries: u32,
}

impl Handle {
    /// Gives the keeper a further store; false where the user has too many.
    pub fn add(&mut self, order: Order) -> bool {
        if self.stores >= self.bound {
            return false;
        }
        self.stores += 1;
        self.teller.begins();
        match self.orders.send(order) {
            Ok(()) => drop(self.wake.write(1)),
            Err(_) => self.teller.has_begun(), // the thread said why it ended
        }
        true
    }
}

/// Starts the keeper of the stores of user `uid`, with `first` to begin with.
///
/// # Errors
/// `EMFILE` and `EAGAIN`: the limits of inotify instances, open files, threads.
pub fn start(
    uid: u32,
    first: Order,
    settings: Arc<Settings>,
    teller: Arc<Teller>,
) -> io::Result<Handle> {
    let root = uid == 0;
    let finder = Finder::new(if root { usize::MAX } else { USER_WATCHES })?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let wake = Arc::new(EventFd::from_flags(
        EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
    )?);
    epoll.add(finder.fd(), EpollEvent::new(EpollFlags::EPOLLIN, FINDER))?;
    epoll.add(wake.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, ORDERS))?;
    let keeper = Keeper {
        uid,
        settings,
        teller,
        finder,
        epoll,
        running: HashMap::new(),
        tokens: HashMap::new(),
        next: ORDERS + 1,
        again: Vec::new(),
        asleep: HashMap::new(),
        bases: Vec::new(),
    };
    let (orders, received) = channel();
    let mut handle = Handle {
        teller: keeper.teller.clone(),
        orders,
        wake: wake.clone(),
        stores: 0,
        bound: if root { usize::MAX } else { USER_STORES },
    };
    let thread = std::thread::Builder::new().stack_size(256 << 10);
    thread.spawn(move || keeper.run(&received, &wake))?;
    handle.add(first);
    Ok(handle)
}

impl Keeper {
    fn run(mut self, orders: &Receiver<Order>, wake: &EventFd) {
        if let Err(error) = self.become_owner() {
            say(&format!(
                "containers of user {} are not found: {error}",
                self.uid
            ));
            return orders.iter().for_each(|_| self.teller.has_begun());
        }
        while self.turn(orders, wake).is_ok() {}
    }

    /// Root's stores are trusted; a user's are read with no more than the user's rights.
    fn become_owner(&self) -> io::Result<()> {
        if self.uid == 0 || !getuid().is_root() {
            return Ok(());
        }
        let uid = Uid::from_raw(self.uid);
        let gid = User::from_uid(uid)?.map(|user| user.gid);
        let gid = gid.ok_or_else(|| io::Error::other("it is not in the user database"))?;
        rights::become_user(uid, gid)
    }

    fn turn(&mut self, orders: &Receiver<Order>, wake: &EventFd) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); 32];
        let count = match self.epoll.wait(&mut events, self.timeout()) {
            Err(nix::Error::EINTR) => 0,
            count => count?,
        };
        let tokens: Vec<u64> = events.iter().take(count).map(EpollEvent::data).collect();
        // Ends first: a container that starts again is removed before it is added.
        for token in &tokens {
            if let Some(file) = self.tokens.remove(token) {
                self.ended(&file);
            }
        }
        if tokens.contains(&FINDER) {
            let files = self.finder.read();
            self.look(files);
        }
        if tokens.contains(&ORDERS) {
            self.obey(orders, wake);
        }
        self.look_again();
        Ok(())
    }

    fn timeout(&self) -> EpollTimeout {
        let Some(next) = self.again.iter().map(|again| again.at).min() else {
            return EpollTimeout::NONE;
        };
        let rest = next.saturating_duration_since(Instant::now());
        let rounded = u16::try_from(rest.as_millis().saturating_add(1));
        EpollTimeout::from(rounded.unwrap_or(u16::MAX))
    }

    fn obey(&mut self, orders: &Receiver<Order>, wake: &EventFd) {
        let _ = wake.read();
        while let Ok(Order { store, users }) = orders.try_recv() {
            rights::add_users(&users);
            let files = self.finder.add(store.pattern());
            self.bases.push(store);
            self.look(files);
            self.teller.has_begun();
        }
    }

    fn look(&mut self, files: Vec<PathBuf>) {
        if let Some(error) = self.finder.trouble() {
            let uid = self.uid;
            say(&format!(
                "some containers of user {uid} are not found: {error} while watching their \
                 directories; see fs.inotify.max_user_watches"
            ));
        }
        if !files.is_empty() {
            // What was not complete is looked at whenever its store changes.
            let poor = self
                .running
                .iter()
                .filter(|(_, one)| !one.container.complete);
            let poor: Vec<PathBuf> = poor.map(|(file, _)| file.clone()).collect();
            poor.into_iter().for_each(|file| self.check(&file, TRIES));
        }
        files.into_iter().for_each(|file| self.check(&file, 0));
    }

    fn look_again(&mut self) {
        let now = Instant::now();
        let (due, later) = self.again.drain(..).partition(|again| again.at <= now);
        self.again = later;
        let due: Vec<Again> = due;
        due.into_iter()
            .for_each(|again| self.check(&again.file, again.tries));
    }

    fn later(&mut self, file: &Path, tries: u32, pause: Duration) {
        self.again.retain(|again| again.file != file); // a file written again and again
        self.again.push(Again {
            file: file.to_owned(),
            at: Instant::now() + pause,
            tries: tries + 1,
        });
    }
}

/// Before the look after so many.
fn pause(tries: u32) -> Duration {
    FIRST * 2u32.pow(tries.min(TRIES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unclear_is_looked_at_for_five_seconds_and_often() {
        let pauses = (0..LOOKS).map(|tries| pause(tries).min(LONGEST));
        let all: Duration = pauses.sum();
        assert!(
            all.abs_diff(Duration::from_secs(5)) < Duration::from_millis(200),
            "{all:?}"
        );
        let slow: Duration = (0..TRIES).map(pause).sum();
        assert!(
            slow.abs_diff(Duration::from_secs(5)) < Duration::from_millis(200),
            "{slow:?}"
        );
    }
}
