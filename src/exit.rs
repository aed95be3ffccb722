//! Exit codes of every program here, in one place.

use std::process::ExitCode;

/// How a program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Success = 0,
    /// It did not work; a message said why.
    Failure = 1,
    /// The command line was wrong.
    Usage = 2,
    /// PAM refused a worker's owner a session (`EX_NOPERM`); for the supervisor only.
    Refused = 77,
    /// A configuration file or table was wrong (`EX_CONFIG` of sysexits.h).
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}
