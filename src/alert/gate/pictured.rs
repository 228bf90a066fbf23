//! The pictures of a gate's alerts.

use std::sync::Arc;

use super::Gate;
use crate::alert::pictures::{Reserved, Shot};
use crate::alert::policy::NewBest;
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
        if let Some(mark) = pictures.mark(&alert.source) {
            Arc::make_mut(&mut alert).evidence = Some(mark);
        }
        if !pictures.wanted() {
            return (alert, None);
        }
        let shot = match (&raised.picture, &frame.picture) {
            (Some(jpeg), _) => Shot::Encoded(jpeg.clone()),
            (None, Some(picture)) => {
                let (picture, detections) = (picture.clone(), frame.detections.clone());
                let (at_ns, raised) = (frame.captured_unix_ns, raised.detections.clone());
                Shot::Frame { picture, at_ns, detections, raised, zones: self.zones.clone() }
            }
            (None, None) => return (alert, None),
        };
        let reserved = pictures.reserve(&alert.id, &alert.source, shot);
        if reserved.is_some() {
            Arc::make_mut(&mut alert).picture = true;
        }
        (alert, reserved)
    }

    /// Has a picture encoded of the alert that was held back last, if it is the best so far of those that its digest
    /// stands for: when the digest is sent, the frame is gone.
    pub(super) fn picture_held(&mut self, raised: &Raised, frame: &Frame) {
        let Some(NewBest { alert, former }) = self.policy.take_new_best() else { return };
        former.iter().for_each(|former| self.outbox.pictures.release(former));
        let (alert, reserved) = self.pictured(alert, raised, frame);
        if let Some(reserved) = reserved {
            self.policy.pictured(&alert);
            reserved.hand_over();
        }
    }
}
