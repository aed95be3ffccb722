//! The server's end of the control socket: who is connected, and what they
//! have sent so far. Anyone may connect, so everything is bounded: connections,
//! bytes, time. No client ever makes another wait.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};

use super::client::{Client, State, line, refused};
use super::poll::{Interest, Poll, Token};
use crate::control::{Answer, Request};
use crate::time::Moment;

/// From connection, or the last answer, to a whole request; and from there to
/// the last byte of its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections of all users but root.
const MAX_CLIENTS: usize = 64;
/// Connections of one user but root.
const MAX_PER_USER: usize = 8;
/// Connections, root's included.
const MAX_ALL: usize = 512;
/// When no descriptor is left for a connection, the next try is after this.
const RECOVERY: Duration = Duration::from_secs(1);

/// The socket and everyone connected to it.
#[derive(Debug)]
pub struct Clients {
    listener: UnixListener,
    path: PathBuf,
    clients: BTreeMap<u64, Client>,
    next_id: u64,
    /// Whole requests, to be answered by the loop.
    pub requests: Vec<Asked>,
    refused: u64,
    /// Nobody is let in until then: there was no descriptor left.
    full_until: Option<Moment>,
}

/// A request, who asks, and where the answer goes.
#[derive(Debug)]
pub struct Asked {
    /// The connection.
    pub client: u64,
    /// By `SO_PEERCRED`.
    pub uid: u32,
    /// What.
    pub request: Request,
}

impl Clients {
    /// Listens at `path`; `mode` is that of the socket. Call with the lock held:
    /// a socket that is there is stale then, unless somebody answers.
    pub fn listen(path: &Path, mode: u32) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            let made = std::fs::DirBuilder::new().mode(0o755).create(dir);
            made.or_else(|e| {
                if e.kind() == io::ErrorKind::AlreadyExists {
                    Ok(())
                } else {
                    Err(e)
                }
            })?;
        }
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::other("another program answers there"));
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            clients: BTreeMap::new(),
            next_id: 1,
            requests: Vec::new(),
            refused: 0,
            full_until: None,
        })
    }

    /// Readable when somebody connects.
    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// When somebody has had time enough.
    pub fn deadline(&self) -> Option<Moment> {
        let clients = self.clients.values().map(|client| client.deadline);
        clients.chain(self.full_until).min()
    }

    /// Lets in who waits, as far as there is room.
    pub fn accept(&mut self, poll: &Poll, now: Moment) {
        // Bounded: those who come all the time do not keep the loop here.
        for _ in 0..MAX_CLIENTS {
            let stream = match crate::sys::accept(self.listener.as_fd()) {
                Ok(Some(fd)) => UnixStream::from(fd),
                Ok(None) => return,
                Err(error) => {
                    log::error!("cannot accept a connection: {error}");
                    self.full_until = Some(now + RECOVERY);
                    self.listen_for(Interest::Gone, poll);
                    return;
                }
            };
            if let Err(error) = self.admit(stream, poll, now) {
                log::error!("cannot serve a connection: {error}");
            }
        }
    }

    fn admit(&mut self, mut stream: UnixStream, poll: &Poll, now: Moment) -> io::Result<()> {
        let uid = getsockopt(&stream, sockopt::PeerCredentials)?.uid();
        let of_users = self
            .clients
            .values()
            .filter(|client| client.uid != 0)
            .count();
        let of_uid = self
            .clients
            .values()
            .filter(|client| client.uid == uid)
            .count();
        let full = self.clients.len() >= MAX_ALL
            || uid != 0 && (of_users >= MAX_CLIENTS || of_uid >= MAX_PER_USER);
        if full {
            self.refused += 1;
            // Once for the first and then by powers of two: a flood of
            // connections shall not be a flood of log lines.
            if self.refused.is_power_of_two() {
                log::warn!(
                    "connections refused so far: {}, the last of uid {uid}",
                    self.refused
                );
            }
            let answer = refused("busy", "too many connections to incrond; try again");
            let _ = stream.write(&line(&answer));
            return Ok(());
        }
        let id = self.next_id;
        self.next_id += 1;
        poll.add(stream.as_fd(), Token::Client(id))?;
        self.clients
            .insert(id, Client::new(stream, uid, now + PATIENCE));
        Ok(())
    }

    /// A client has sent something, takes more, or is gone.
    pub fn ready(&mut self, id: u64, poll: &Poll, now: Moment) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let goes_on = match client.state {
            State::Asking => client.read(),
            // Only its going wakes us here.
            State::Waiting => Err(io::ErrorKind::ConnectionAborted.into()),
            State::Answering(_) => Ok(()),
        };
        if goes_on.is_err() {
            self.clients.remove(&id);
            return;
        }
        self.proceed(id, poll, now);
    }

    /// Sends the answer to a request.
    pub fn answer(&mut self, id: u64, answer: &Answer, poll: &Poll, now: Moment) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        client.output = line(answer);
        client.state = State::Answering(false);
        self.proceed(id, poll, now);
    }

    fn listen_for(&self, interest: Interest, poll: &Poll) {
        if let Err(error) = poll.modify(self.listener.as_fd(), Token::Listener, interest) {
            log::error!("cannot wait for connections: {error}");
        }
    }

    /// Ends the connections whose time is over.
    pub fn expire(&mut self, poll: &Poll, now: Moment) {
        if self.full_until.is_some_and(|until| until <= now) {
            self.full_until = None;
            self.listen_for(Interest::Read, poll);
        }
        self.clients.retain(|_, client| client.deadline > now);
    }

    /// As far as it goes without waiting: one request in, one answer out.
    fn proceed(&mut self, id: u64, poll: &Poll, now: Moment) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let mut keep = true;
        if client.state == State::Asking {
            match client.request() {
                Some(Ok(request)) => {
                    client.state = State::Waiting;
                    client.deadline = now + PATIENCE;
                    self.requests.push(Asked {
                        client: id,
                        uid: client.uid,
                        request,
                    });
                }
                Some(Err(answer)) => {
                    client.output = line(&answer);
                    client.state = State::Answering(true);
                }
                None => keep = !client.has_ended(),
            }
        }
        if let State::Answering(last) = client.state {
            match client.write() {
                Ok(true) if last => keep = false,
                Ok(true) => {
                    client.state = State::Asking;
                    client.deadline = now + PATIENCE;
                }
                Ok(false) => {}
                Err(_) => keep = false,
            }
        }
        let interest = match client.state {
            State::Asking => Interest::Read,
            State::Waiting => Interest::Gone,
            State::Answering(_) => Interest::Write,
        };
        keep &= poll
            .modify(client.stream.as_fd(), Token::Client(id), interest)
            .is_ok();
        if !keep {
            self.clients.remove(&id);
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
