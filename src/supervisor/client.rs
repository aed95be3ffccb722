//! One connection to the control socket: a request comes in, an answer goes out,
//! neither ever waited for.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use crate::control::{Answer, MAX_REQUEST, Request};
use crate::time::Moment;

/// Read from one client before the others have their turn, in bytes.
const TURN: usize = 64 * 1024;

/// Somebody who is connected.
#[derive(Debug)]
pub struct Client {
    /// The connection, not blocking.
    pub stream: UnixStream,
    /// By `SO_PEERCRED`.
    pub uid: u32,
    input: Vec<u8>,
    /// So many bytes of it are known to hold no newline.
    seen: usize,
    /// What is left of the answer.
    pub output: Vec<u8>,
    /// It will send no more.
    ended: bool,
    /// What it is about.
    pub state: State,
    /// Then it is shown out.
    pub deadline: Moment,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A request is on its way.
    Asking,
    /// The loop works on it.
    Waiting,
    /// The answer is on its way; true: that was the last.
    Answering(bool),
}

impl Client {
    /// Just let in.
    pub fn new(stream: UnixStream, uid: u32, deadline: Moment) -> Self {
        Self {
            stream,
            uid,
            input: Vec::new(),
            seen: 0,
            output: Vec::new(),
            ended: false,
            state: State::Asking,
            deadline,
        }
    }

    /// Whether it has said that no more comes.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// A turn's worth. An error: it is gone.
    pub fn read(&mut self) -> io::Result<()> {
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
    pub fn request(&mut self) -> Option<Result<Request, Answer>> {
        let unseen = self.input.get(self.seen..).unwrap_or_default();
        let end = unseen.iter().position(|&b| b == b'\n');
        let end = end.map(|end| end + self.seen);
        // A client that sends byte by byte must not cost us its square.
        self.seen = if end.is_some() { 0 } else { self.input.len() };
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
    pub fn write(&mut self) -> io::Result<bool> {
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

/// An answer as it goes over the socket.
pub fn line(answer: &Answer) -> Vec<u8> {
    // An answer is strings and numbers: it cannot fail to be JSON.
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    line
}
