//! Where incrond and its workers log, from configuration to logger.

use log::LevelFilter;

use crate::config::{Config, LogTarget};
use crate::log::{Destination, Error, LogSettings, init};
use crate::paths;
use crate::worker::protocol::LogChoice;

/// Set to anything, it lets debug lines through.
const DEBUG: &str = "INCRON_DEBUG";

/// What the configuration says; workers are told the same.
pub fn choice(config: &Config) -> LogChoice {
    let usual = config.syslog_socket.as_os_str() == paths::SYSLOG_SOCKET;
    LogChoice {
        target: config.log,
        syslog_socket: (!usual).then(|| config.syslog_socket.clone()),
        debug: std::env::var_os(DEBUG).is_some(),
    }
}

/// Logs there from now on. `Err`: something else in this program logs already.
pub fn start(choice: &LogChoice) -> Result<(), Error> {
    let destination = match choice.target {
        LogTarget::Syslog => Destination::Syslog,
        LogTarget::Journal => Destination::Journal,
        LogTarget::Stderr => Destination::Stderr,
        LogTarget::Json => Destination::Json,
    };
    let mut settings = LogSettings::new(destination);
    if choice.target == LogTarget::Syslog {
        settings.socket.clone_from(&choice.syslog_socket);
    }
    if choice.debug {
        settings.level = LevelFilter::Debug;
    }
    init(&settings)
}
