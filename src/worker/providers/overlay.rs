//! The upper layer of an overlay: what an event in it means to who is inside.
//!
//! The one place where members of such a kind differ from others; the rules are
//! those of [`crate::watch::overlay`].

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::message::Overlay;
use crate::event::Event;
use crate::watch::overlay::Layer;

pub(super) use crate::watch::overlay::ASKED;

/// The layers of one member, as one line knows them.
pub(super) struct Layers(Layer);

impl Layers {
    /// `upper` is the member's path. To be made when that is watched.
    pub fn new(upper: &[u8], overlay: &Overlay) -> Self {
        let upper = OsStr::from_bytes(upper).into();
        let lower = overlay.lower.clone();
        Self(match overlay.fuse {
            false => Layer::new(upper, lower),
            true => Layer::fuse(upper, lower),
        })
    }

    /// All that was queued when this was made has been translated.
    pub fn settle(&mut self) {
        self.0.settle();
    }

    /// What `event`, with its real paths, means inside; empty: nothing.
    pub fn translate(&mut self, event: &Event) -> Vec<Event> {
        self.0.translate(event)
    }
}
