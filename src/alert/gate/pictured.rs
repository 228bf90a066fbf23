//! The pictures of a gate's alerts.

use std::sync::Arc;

use super::Gate;
use crate::alert::pictures::Shot;
use crate::types::{Alert, Frame, Raised};

impl Gate {
    /// Hands over the alert's picture, if pictures are kept and the frame has one. Not while a silence holds it back: it
    /// would be encoded and written for every frame.
    pub(super) fn pictured(&self, mut alert: Arc<Alert>, raised: &Raised, frame: &Frame) -> Arc<Alert> {
        let pictures = &self.outbox.pictures;
        if !pictures.wanted() || self.outbox.is_silenced(&alert, &self.zones) {
            return alert;
        }
        let shot = match (&raised.picture, &frame.picture) {
            (Some(jpeg), _) => Shot::Encoded(jpeg.clone()),
            (None, Some(picture)) => {
                let (picture, detections) = (picture.clone(), frame.detections.clone());
                Shot::Frame { picture, detections, zones: self.zones.clone() }
            }
            (None, None) => return alert,
        };
        if pictures.keep(&alert.id, &alert.source, shot) {
            Arc::make_mut(&mut alert).picture = true;
        }
        alert
    }
}
