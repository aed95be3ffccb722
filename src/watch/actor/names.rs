//! The names of users, asked for when an event is told and kept for a minute: an
//! account that is made, renamed or removed is known soon after. Never asked for
//! by the thread that listens: a directory service may take its time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::unistd::{Uid, User};

const KEPT: Duration = Duration::from_secs(60);
const MOST: usize = 4096;

/// Names by number.
#[derive(Debug, Default)]
pub struct Names(HashMap<u32, (Instant, Option<String>)>);

impl Names {
    /// The name of a user; None: it has none.
    pub fn of(&mut self, uid: u32, now: Instant) -> Option<String> {
        if let Some((at, name)) = self.0.get(&uid)
            && now.duration_since(*at) < KEPT
        {
            return name.clone();
        }
        if self.0.len() >= MOST {
            self.0.clear();
        }
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let name = user.map(|user| user.name);
        self.0.insert(uid, (now, name.clone()));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_and_bounded() {
        let (mut names, now) = (Names::default(), Instant::now());
        assert_eq!(names.of(0, now).as_deref(), Some("root"));
        for uid in 4_000_000_000..4_000_005_000u32 {
            assert_eq!(names.of(uid, now), None);
        }
        assert!(names.0.len() <= MOST);
        assert_eq!(names.of(0, now + KEPT).as_deref(), Some("root"));
    }
}
