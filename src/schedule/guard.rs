//! Says once that a limit slows a line, and once that it no longer does.

use std::time::Duration;

use super::window::Window;
use crate::table::Limit;
use crate::time::Moment;

/// While a line is slowed.
#[derive(Clone, Copy, Debug)]
struct Slow {
    since: Moment,
    /// When work was last held back.
    last: Moment,
    /// When to look whether it is over.
    check: Moment,
    /// Events merged by the line before.
    merged: u64,
}

/// The notices of one line's limit. It is over when nothing was held back for a whole D,
/// so that a line at the edge of its limit does not flap.
#[derive(Debug, Default)]
pub(super) struct Guard(Option<Slow>);

impl Guard {
    /// Work is held back by the limit; a notice if that is news.
    pub(super) fn hold(&mut self, window: &Window, merged: u64, now: Moment) -> Option<String> {
        if let Some(slow) = &mut self.0 {
            slow.last = now;
            return None;
        }
        let limit = window.limit();
        self.0 = Some(Slow {
            since: now,
            last: now,
            check: now + limit.per,
            merged,
        });
        Some(format!(
            "limit={}: {} runs in the last {}; slowed, what waits is merged by path",
            limit_text(limit),
            window.count(),
            seconds(window.span(now)),
        ))
    }

    /// When to call [`Self::check`].
    pub(super) fn due(&self) -> Option<Moment> {
        self.0.map(|slow| slow.check)
    }

    /// `held`: work is held back now. A notice if it is over.
    pub(super) fn check(
        &mut self,
        limit: Limit,
        merged: u64,
        held: bool,
        now: Moment,
    ) -> Option<String> {
        let slow = self.0.as_mut().filter(|slow| slow.check <= now)?;
        if held {
            slow.last = now;
        }
        slow.check = slow.last + limit.per;
        if held || slow.check > now {
            return None;
        }
        let text = format!(
            "limit={}: no longer slowed, after {}; {} events were merged",
            limit_text(limit),
            seconds(now - slow.since),
            merged - slow.merged,
        );
        self.0 = None;
        Some(text)
    }
}

fn limit_text(limit: Limit) -> String {
    format!("{}/{}", limit.runs, seconds(limit.per))
}

/// As durations are written in tables, where that is exact; else seconds to the millisecond.
pub(super) fn seconds(d: Duration) -> String {
    let millis = d.as_millis();
    for (unit, name) in [(3_600_000, "h"), (60_000, "m"), (1000, "s")] {
        if millis >= unit && millis.is_multiple_of(unit) {
            return format!("{}{name}", millis / unit);
        }
    }
    match millis {
        0..1000 => format!("{millis}ms"),
        _ => format!("{}.{:03}s", millis / 1000, millis % 1000),
    }
}
