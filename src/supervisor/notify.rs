//! What the service manager is told (sd_notify(3)). Without one, nothing.

use sd_notify::NotifyState;

/// Serving.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Reading everything again; `ready` follows. The time is what Type=notify-reload
/// knows the reload by (systemd 253).
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[
            NotifyState::Reloading,
            now,
            NotifyState::Status("reloading"),
        ]),
        Err(error) => log::warn!("cannot tell the service manager of the reload: {error}"),
    }
}

/// Ending.
pub fn stopping() {
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("waiting for running commands"),
    ]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("cannot tell the service manager: {error}");
    }
}
