//! The silences of a running engine.

use super::handle::Handle;
use crate::alert::silence::{SilenceBody, SilenceError, SilenceRequest};

impl Handle {
    /// All silences, the newest first; those that have ended are listed for five days.
    pub fn silences(&self) -> Vec<SilenceBody> {
        self.0.parts.delivery.outbox().silences(self.0.clock.unix_ns())
    }

    /// Creates a silence in somebody's name.
    ///
    /// # Errors
    /// When the request is wrong, or there are too many silences.
    pub fn silence(&self, request: &SilenceRequest, by: &str) -> Result<SilenceBody, SilenceError> {
        self.0.parts.delivery.outbox().silence(request, by, self.0.clock.unix_ns())
    }

    /// Ends a silence now; one that has ended stays as it is. `None` if there is no such silence.
    pub fn end_silence(&self, id: &str) -> Option<SilenceBody> {
        self.0.parts.delivery.outbox().end_silence(id, self.0.clock.unix_ns())
    }
}
