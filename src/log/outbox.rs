//! What cannot be written now, waiting for its turn.
//!
//! A log that is away (syslogd restarts) or slow (a pipe to a pager) must neither
//! stop the program nor lose what it says. The earliest messages are kept: they
//! name the cause.

use std::collections::VecDeque;

use ::log::Level;

use super::Message;

/// Messages and bytes that wait at most.
const MAX_WAITING: usize = 1024;
const MAX_BYTES: usize = 1 << 20;

/// How sending went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is written.
    Done,
    /// Not now; nothing of it was written.
    Later,
    /// The destination will not take this one, ever.
    Never,
}

/// A destination.
pub(super) trait Sink: Send {
    /// The message as its bytes.
    fn format(&self, message: &Message) -> Vec<u8>;
    /// Writes them without blocking.
    fn send(&mut self, packet: &[u8]) -> Sent;
    /// A moment longer may be waited: the program ends.
    fn wait(&mut self) {}
}

/// A destination and what waits for it.
pub(super) struct Outbox {
    sink: Box<dyn Sink>,
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    lost: u64,
}

impl Outbox {
    pub(super) fn new(sink: Box<dyn Sink>) -> Self {
        Self {
            sink,
            waiting: VecDeque::new(),
            bytes: 0,
            lost: 0,
        }
    }

    /// Writes a message, after those that wait.
    pub(super) fn write(&mut self, message: &Message) {
        let packet = self.sink.format(message);
        if !self.send_waiting() {
            return self.keep(packet);
        }
        match self.sink.send(&packet) {
            Sent::Done => {}
            Sent::Later => self.keep(packet),
            Sent::Never => self.lost += 1,
        }
    }

    /// Tries to write what waits.
    pub(super) fn flush(&mut self) {
        if !self.send_waiting() {
            self.sink.wait();
            self.send_waiting();
        }
    }

    /// Tries to write what waits, without blocking; true while something still does.
    pub(super) fn behind(&mut self) -> bool {
        !self.send_waiting()
    }

    fn keep(&mut self, packet: Vec<u8>) {
        if self.waiting.len() >= MAX_WAITING || self.bytes + packet.len() > MAX_BYTES {
            self.lost += 1;
            return;
        }
        self.bytes += packet.len();
        self.waiting.push_back(packet);
    }

    /// True when nothing waits any more, and what was lost is said.
    fn send_waiting(&mut self) -> bool {
        while let Some(packet) = self.waiting.front() {
            let sent = self.sink.send(packet);
            if sent == Sent::Later {
                return false;
            }
            self.lost += u64::from(sent == Sent::Never);
            self.bytes -= packet.len();
            self.waiting.pop_front();
        }
        if self.lost > 0 {
            let text = format!(
                "{} log messages were lost: this log was away or slow",
                self.lost
            );
            let note = self.sink.format(&Message::own(Level::Warn, text));
            match self.sink.send(&note) {
                Sent::Later => return false,
                Sent::Done | Sent::Never => self.lost = 0,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Default)]
    struct Destination {
        away: bool,
        got: Vec<String>,
    }

    struct Fake(Arc<Mutex<Destination>>);

    impl Sink for Fake {
        fn format(&self, message: &Message) -> Vec<u8> {
            message.text.clone().into_bytes()
        }

        fn send(&mut self, packet: &[u8]) -> Sent {
            let mut destination = self.0.lock().unwrap();
            if destination.away {
                return Sent::Later;
            }
            destination
                .got
                .push(String::from_utf8_lossy(packet).into_owned());
            Sent::Done
        }
    }

    #[test]
    fn order_is_kept_and_loss_is_said() {
        let destination = Arc::new(Mutex::new(Destination {
            away: true,
            got: Vec::new(),
        }));
        let mut outbox = Outbox::new(Box::new(Fake(destination.clone())));
        let write = |outbox: &mut Outbox, n: usize| {
            outbox.write(&Message::own(Level::Info, n.to_string()));
        };
        (0..MAX_WAITING + 5).for_each(|n| write(&mut outbox, n));
        outbox.flush();
        destination.lock().unwrap().away = false;
        write(&mut outbox, 7777);
        let got = &destination.lock().unwrap().got;
        let expected: Vec<String> = (0..MAX_WAITING).map(|n| n.to_string()).collect();
        assert_eq!(&got[..MAX_WAITING], expected);
        assert!(got[MAX_WAITING].starts_with("5 log messages were lost"));
        assert_eq!(got[MAX_WAITING + 1..], ["7777"]);
    }

    #[test]
    fn memory_is_bounded() {
        let destination = Arc::new(Mutex::new(Destination {
            away: true,
            got: Vec::new(),
        }));
        let mut outbox = Outbox::new(Box::new(Fake(destination)));
        for _ in 0..100 {
            outbox.write(&Message::own(Level::Info, "x".repeat(100_000)));
        }
        assert!(outbox.bytes <= MAX_BYTES && outbox.lost == 90);
    }
}
