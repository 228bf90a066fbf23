//! The pictures of digests: that of a held alert becomes its digest's, and those that no digest needs are removed.
//!
//! An alert that a limit holds back has its picture encoded under its own id, if it is the best so far of those that
//! its digest stands for: no frame is kept until the digest is sent. The file is moved then. A process that crashes in
//! between leaves a file that belongs to no alert; it is removed by age and bytes, as all pictures are.

use std::sync::Arc;

use super::waiting::Goal;
use super::{Kept, Outcome, Pictures};
use crate::alert::digest::DigestAlert;
use crate::types::{Alert, AlertId};

/// Maximum files that wait to be moved or removed.
pub(super) const MOVES_MAX: usize = 1_024;

/// What is to be done with a picture that is written.
pub(super) enum Move {
    /// It becomes this digest's.
    To { held: AlertId, digest: AlertId },
    /// Nobody needs it.
    Away(AlertId),
}

impl Pictures {
    /// The digest as it is sent: with the picture of its best alert, if there is one. Never blocks on a disk.
    pub(in crate::alert) fn digest(&self, made: DigestAlert) -> Arc<Alert> {
        let DigestAlert { mut alert, picture_of } = made;
        let held = picture_of.zip(self.0.get());
        if held.is_some_and(|(held, kept)| kept.claim(held, &alert.id)) {
            Arc::make_mut(&mut alert).picture = true;
        }
        alert
    }

    /// Removes a picture that no alert needs. Never blocks on a disk.
    pub(in crate::alert) fn release(&self, id: &AlertId) {
        let Some(kept) = self.0.get() else { return };
        kept.waiting.lock().release(id, || {
            // If too many wait, it stays until it is too old.
            let _ = kept.moves.try_send(Move::Away(id.clone()));
        });
    }
}

impl Kept {
    fn claim(&self, held: AlertId, digest: &AlertId) -> bool {
        let mut is_full = false;
        let is_claimed = self.waiting.lock().claim(&held, digest, || {
            is_full = self.moves.try_send(Move::To { held: held.clone(), digest: digest.clone() }).is_err();
            !is_full
        });
        if is_full {
            self.count(Outcome::Dropped, 1);
        }
        is_claimed
    }

    /// Moves or removes a written picture.
    pub(super) fn carry_out(&self, wanted: Move) {
        match wanted {
            Move::Away(id) => self.remove(&id),
            Move::To { held, digest } => {
                self.rename(&held, &digest);
                self.place(digest);
            }
        }
    }

    /// Moves a written picture to the digest that has claimed it meanwhile, or removes it; then wakes the readers.
    pub(super) fn place(&self, mut id: AlertId) {
        loop {
            let goal = self.waiting.lock().arrived(&id);
            match goal {
                Goal::Stay => break,
                Goal::Remove => {
                    self.remove(&id);
                    break;
                }
                Goal::Move(digest) => {
                    self.rename(&id, &digest);
                    id = digest;
                }
            }
        }
        self.done.notify_all();
    }

    fn rename(&self, held: &AlertId, digest: &AlertId) {
        if let Err(error) = self.files.rename(held, digest) {
            self.count(Outcome::Failed, 1);
            tracing::warn!(alert = %digest, best = %held, "the digest has no picture of its best alert: {error}");
        }
    }

    fn remove(&self, id: &AlertId) {
        let removed = self.files.remove(id);
        self.count(Outcome::Removed, removed);
    }
}
