//! One destination without an outbox: for a program whose work is to log, and which
//! would rather wait than lose.

use ::log::Level;

use super::outbox::{Sent, Sink};
use super::{Destination, LogSettings, Message, journal, syslog};

/// syslog or the journal.
pub(crate) struct Direct(Box<dyn Sink>);

impl Direct {
    /// None for a destination that is neither syslog nor the journal.
    pub fn new(settings: &LogSettings) -> Option<Self> {
        Some(Self(match settings.destination {
            Destination::Syslog => Box::new(syslog::Syslog::new(settings)),
            Destination::Journal => Box::new(journal::Journal::new(settings)),
            Destination::Stderr | Destination::Json => return None,
        }))
    }

    /// One message as its bytes; `severity` is of syslog.h, `fields` are for the journal.
    pub fn packet(&self, severity: u8, text: String, fields: Vec<(String, String)>) -> Vec<u8> {
        let fields = fields.into_iter();
        self.0.format(&Message {
            level: Level::Info,
            severity: Some(severity),
            text,
            fields: fields.map(|(name, value)| (name, value.into())).collect(),
        })
    }

    /// Sends a packet once.
    pub fn send(&mut self, packet: &[u8]) -> Sent {
        self.0.send(packet)
    }
}
