//! What an operator may ask: each provider, and how much of a line on its paths is
//! watched.

use super::super::engine::Engine;
use super::super::protocol::{LineState, ProviderFigures};
use super::{Provider, Providers};
use crate::event::LineId;
use crate::watch::Coverage;

/// What they may take of a packet, in bytes.
const ROOM: usize = 32 * 1024;

impl Providers {
    /// The first of them by name, and how many there are.
    pub fn figures(&self) -> (Vec<ProviderFigures>, u32) {
        let figures = |(name, known): (&std::rc::Rc<str>, &Provider)| {
            let process = known.process.and_then(|at| self.processes.get(&at));
            let text = |why: &String| why.chars().take(256).collect();
            ProviderFigures {
                name: name.to_string(),
                pid: process.map(|process| process.pid),
                ready: known.ready,
                members: known.members.len() as u64,
                lines: known.lines.len() as u32,
                restarts: known.starts.saturating_sub(1),
                reason: known.refused.as_ref().map(text),
            }
        };
        let mut room = ROOM;
        let fits = |told: &ProviderFigures| {
            let size = serde_json::to_vec(told).map_or(ROOM, |text| text.len() + 1);
            let fits = size <= room;
            room = room.saturating_sub(size);
            fits
        };
        let told = self.by_name.iter().map(figures).take_while(fits);
        (told.collect(), self.by_name.len() as u32)
    }
}

impl Engine {
    /// How much of a line on the paths of provider `name` is watched.
    pub(in super::super) fn provided_state(
        &self,
        line: LineId,
        name: &str,
    ) -> (LineState, Option<String>) {
        let known = self.providers.by_name.get(name);
        if let Some(why) = known.and_then(|known| known.refused.clone()) {
            return (LineState::Unwatched, Some(why));
        }
        let (mut all, mut waiting, mut spent, mut lacking) = (0, 0, 0, 0);
        let mut first = None;
        for id in self.providers.aliases.all_of(line) {
            all += 1;
            match self.source.coverage(id) {
                None | Some(Coverage::Served) => {}
                Some(Coverage::Waiting) => waiting += 1,
                Some(Coverage::Spent) => spent += 1,
                Some(Coverage::Partly(why) | Coverage::Unwatched(why)) => {
                    lacking += 1;
                    first.get_or_insert(why);
                }
            }
        }
        match (first, all) {
            (Some(why), _) => {
                let reason = format!("{lacking} of {all} paths: {why}");
                (LineState::Partly, Some(reason))
            }
            (None, 0) => (
                LineState::Waiting,
                Some(format!("provider {name} has named no path")),
            ),
            (None, all) if spent == all => (LineState::Spent, None),
            (None, all) if waiting + spent == all => (LineState::Waiting, None),
            (None, all) if waiting > 0 => {
                let reason = format!("{waiting} of {all} paths do not exist yet");
                (LineState::Served, Some(reason))
            }
            (None, _) => (LineState::Served, None),
        }
    }
}
