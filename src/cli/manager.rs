//! What systemd is told by commands that stay.

use sd_notify::NotifyState;

/// Where a service manager listens, by its environment variable.
pub(crate) const SOCKET: &str = "NOTIFY_SOCKET";

/// The service manager that started this process, if one did and wants to be told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manager(bool);

impl Manager {
    /// Nobody wants to be told.
    pub(crate) const fn none() -> Self {
        Self(false)
    }

    /// Whoever the environment names.
    pub(crate) fn from_environment() -> Self {
        Self(std::env::var_os(SOCKET).is_some())
    }

    /// It does what it was started for, and what that is.
    pub(crate) fn ready(self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// It is about to end, and what it does until then.
    pub(crate) fn stopping(self, status: &str) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// What it does now.
    pub(crate) fn status(self, status: &str) {
        self.tell(&[NotifyState::Status(status)]);
    }

    fn tell(self, state: &[NotifyState<'_>]) {
        if self.0
            && let Err(err) = sd_notify::notify(state)
        {
            tracing::warn!("cannot tell the service manager: {err}");
        }
    }
}
