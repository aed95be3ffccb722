//! Lines with `run=stream`, as far as it is decided here: what goes to a stream costs
//! no process, so it waits only to settle.

use std::time::Duration;

use crate::table::{Limit, Options};

/// True where each event goes to the line's process as it comes.
pub fn at_once(options: &Options) -> bool {
    options.stream && options.settle.is_zero()
}

/// The options of a line as the scheduler is to know them.
pub fn scheduled(options: &Options) -> Options {
    let mut options = options.clone();
    if options.stream {
        options.limit = Limit {
            runs: u32::MAX,
            per: Duration::from_secs(1),
        };
    }
    options
}
