//! The pictures of a gate's alerts.

use std::sync::Arc;

use super::Gate;
use crate::alert::pictures::{Reserved, Shot};
use crate::types::{Alert, Frame, Raised};

impl Gate {
    /// Makes room for the alert's picture, if pictures are kept and the frame has one. It is handed over once the alert
    /// is sent or in a digest: one that is not is raised again on the next frame.
    pub(super) fn pictured(
        &self,
        mut alert: Arc<Alert>,
        raised: &Raised,
        frame: &Frame,
    ) -> (Arc<Alert>, Option<Reserved>) {
        let pictures = &self.outbox.pictures;
        if !pictures.wanted() {
            return (alert, None);
        }
        let shot = match (&raised.picture, &frame.picture) {
            (Some(jpeg), _) => Shot::Encoded(jpeg.clone()),
            (None, Some(picture)) => {
                let (picture, detections) = (picture.clone(), frame.detections.clone());
                Shot::Frame { picture, detections, raised: raised.detections.clone(), zones: self.zones.clone() }
            }
            (None, None) => return (alert, None),
        };
        let reserved = pictures.reserve(&alert.id, &alert.source, shot);
        if reserved.is_some() {
            Arc::make_mut(&mut alert).picture = true;
        }
        (alert, reserved)
    }
}
