//! The server's end of the control socket: who is connected, and what they
//! have sent so far. Anyone may connect, so everything is bounded: connections,
//! bytes, time. No client ever makes another wait.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};

use super::poll::{Interest, Poll, Token};
use crate::control::{Answer, MAX_REQUEST, Request};
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
/// Read from one client before the others have their turn, in bytes.
const TURN: usize = 64 * 1024;

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

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    uid: u32,
    input: Vec<u8>,
    output: Vec<u8>,
    /// It will send no more.
    ended: bool,
    state: State,
    deadline: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A request is on its way.
    Asking,
    /// The loop works on it.
    Waiting,
    /// The answer is on its way; true: that was the last.
    Answering(bool),
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
        })
    }

    /// Readable when somebody connects.
    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// When somebody has had time enough.
    pub fn deadline(&self) -> Option<Moment> {
        self.clients.values().map(|client| client.deadline).min()
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
                    // Out of descriptors: make room, or this would spin.
                    self.clients.pop_first();
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
        let client = Client {
            stream,
            uid,
            input: Vec::new(),
            output: Vec::new(),
            ended: false,
            state: State::Asking,
            deadline: now + PATIENCE,
        };
        self.clients.insert(id, client);
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

    /// Ends the connections whose time is over.
    pub fn expire(&mut self, now: Moment) {
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
                None => keep = !client.ended,
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

impl Client {
    /// A turn's worth. An error: it is gone.
    fn read(&mut self) -> io::Result<()> {
        let mut chunk = [0u8; 8192];
        let mut taken = 0;
        while taken < TURN && self.input.len() <= MAX_REQUEST {
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(());
                }
                Ok(count) => {
                    taken += count;
                    self.input
                        .extend_from_slice(chunk.get(..count).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next whole request, or the answer to what is none. What follows it
    /// is not kept: one request, one answer.
    fn request(&mut self) -> Option<Result<Request, Answer>> {
        let end = self.input.iter().position(|&b| b == b'\n');
        if end.unwrap_or(self.input.len()) >= MAX_REQUEST {
            return Some(Err(refused("too_large", "the request is too large")));
        }
        let text = std::mem::take(&mut self.input);
        let Some(end) = end else {
            self.input = text;
            return None;
        };
        let parsed = text.get(..end).map(serde_json::from_slice::<Request>);
        match parsed {
            Some(Ok(request)) => Some(Ok(request)),
            Some(Err(error)) => Some(Err(refused("bad_request", &error.to_string()))),
            None => None,
        }
    }

    /// True: all of it is written.
    fn write(&mut self) -> io::Result<bool> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.shrink_to_fit();
        Ok(true)
    }
}

/// A refusal: the word for programs, and the line for a person.
pub fn refused(reason: &str, message: &str) -> Answer {
    Answer::Refused {
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

fn line(answer: &Answer) -> Vec<u8> {
    // An answer is strings and numbers: it cannot fail to be JSON.
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    line
}
