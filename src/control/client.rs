//! The client's end of the control socket, as `incrontab` uses it: blocking,
//! one request at a time, with a deadline for each.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Answer, MAX_REQUEST, Request};

/// How long one request may take, answer included. The daemon itself answers
/// within 10 s.
const PATIENCE: Duration = Duration::from_secs(15);
/// No answer is longer: a table, or the figures of many workers.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens: no daemon runs (no socket, or a stale one).
    #[error("incrond does not run: {0}")]
    NotRunning(io::Error),
    /// The socket exists but may not be used, or fails.
    #[error("cannot talk to incrond: {0}")]
    Io(#[from] io::Error),
    /// The request is larger than [`MAX_REQUEST`].
    #[error("the request is too large for incrond")]
    TooLarge,
    /// No answer in time.
    #[error("incrond does not answer")]
    Timeout,
    /// The other side is no incrond of this version.
    #[error("incrond gave an answer that this version does not understand: {0}")]
    Malformed(serde_json::Error),
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects to the daemon at `socket`. [`ClientError::NotRunning`] when
    /// nobody listens there.
    pub fn connect(socket: &Path) -> Result<Self, ClientError> {
        match UnixStream::connect(socket) {
            Ok(stream) => Ok(Self { stream }),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ClientError::NotRunning(error)
                }
                _ => ClientError::Io(error),
            }),
        }
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, ClientError> {
        let mut line = serde_json::to_vec(request).map_err(ClientError::Malformed)?;
        line.push(b'\n');
        if line.len() > MAX_REQUEST {
            return Err(ClientError::TooLarge);
        }
        let deadline = Instant::now() + PATIENCE;
        self.stream.set_write_timeout(Some(PATIENCE))?;
        match self.stream.write_all(&line) {
            Ok(()) => {}
            // Refused before it was all read: the answer says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => return Err(in_time(error)),
        }
        let answer = self.read_line(deadline)?;
        serde_json::from_slice(&answer).map_err(ClientError::Malformed)
    }

    fn read_line(&mut self, deadline: Instant) -> Result<Vec<u8>, ClientError> {
        let mut line = Vec::new();
        let mut chunk = [0u8; 8192];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ClientError::Timeout);
            }
            self.stream.set_read_timeout(Some(left))?;
            let count = match self.stream.read(&mut chunk) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(in_time(error)),
            };
            let fresh = chunk.get(..count).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|&b| b == b'\n') {
                line.extend_from_slice(fresh.get(..end).unwrap_or_default());
                return Ok(line);
            }
            if count == 0 || line.len() + count > MAX_ANSWER {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            line.extend_from_slice(fresh);
        }
    }
}

fn in_time(error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Timeout,
        _ => ClientError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_question_and_its_answer() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            (&stream).write_all(b"{\"answer\":\"no_table\"}\n").unwrap();
            line
        });
        let mut client = Client::connect(&socket).unwrap();
        let answer = client
            .ask(&Request::Get {
                user: "alice".into(),
            })
            .unwrap();
        assert_eq!(answer, Answer::NoTable);
        assert_eq!(
            server.join().unwrap(),
            "{\"op\":\"get\",\"user\":\"alice\"}\n"
        );
    }

    #[test]
    fn nobody_there() {
        let dir = tempfile::tempdir().unwrap();
        let error = Client::connect(&dir.path().join("none")).unwrap_err();
        assert!(matches!(error, ClientError::NotRunning(_)), "{error}");
    }

    #[test]
    fn a_listener_that_went_away_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut client = Client::connect(&socket).unwrap();
        drop(listener);
        assert!(client.ask(&Request::Status).is_err());
    }
}
