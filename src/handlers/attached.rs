//! The pictures that a handler attaches.

use std::sync::OnceLock;

use crate::alert::{Commands, PICTURE_WAIT, Pictures, Which};
use crate::types::Alert;

/// The alerts' pictures, once the handler is in use.
#[derive(Default)]
pub(super) struct Attached(OnceLock<Pictures>);

impl Attached {
    /// From the handler's `attach`.
    pub(super) fn attach(&self, commands: &Commands) {
        // A handler is attached once.
        let _ = self.0.set(commands.pictures().clone());
    }

    /// The alert's picture with boxes, if it is `wanted`. One that is being encoded is waited for, at most
    /// [`PICTURE_WAIT`]; without it the alert is sent all the same.
    pub(super) async fn picture(&self, wanted: bool, alert: &Alert) -> Option<Vec<u8>> {
        let pictures = self.0.get().filter(|_| wanted && alert.picture)?;
        let picture = pictures.fetch(alert, Which::Annotated).await;
        if picture.is_none() {
            let waited_s = PICTURE_WAIT.as_secs();
            tracing::debug!(alert = %alert.id, waited_s, "sent without its picture: it is not kept");
        }
        picture
    }
}
