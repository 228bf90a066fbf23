//! Pictures that are not in their place yet: those to be encoded, and those that become a digest's. A pure state
//! machine; the thread does to the files what it says.

use std::collections::{BTreeMap, BTreeSet};

use super::{PICTURES_BYTES_MAX, PICTURES_MAX};
use crate::types::AlertId;

/// Maximum failed pictures that are remembered, so that a digest does not claim one of them.
const FAILED_MAX: usize = 256;

/// What becomes of a picture once it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Goal {
    /// It stays its alert's.
    Stay,
    /// It becomes this digest's.
    Move(AlertId),
    /// It is removed: its alert was held back, and its digest has a better one.
    Remove,
}

/// The answer to a request for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// There is room, and it is taken.
    Taken,
    /// A picture of this alert waits already.
    Known,
    /// There is none.
    Full,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By alert: pictures to be encoded, and digests to which one moves.
    goals: BTreeMap<AlertId, Goal>,
    /// How many of them are to be encoded.
    pictures: usize,
    /// Bytes of their pixels.
    bytes: usize,
    /// Alerts whose pictures failed. A digest may still name them.
    failed: BTreeSet<AlertId>,
}

impl Waiting {
    /// Takes room for a picture.
    pub(super) fn reserve(&mut self, id: &AlertId, bytes: usize) -> Room {
        if self.goals.contains_key(id) {
            return Room::Known;
        }
        if self.pictures >= PICTURES_MAX || (self.pictures > 0 && self.bytes + bytes > PICTURES_BYTES_MAX) {
            return Room::Full;
        }
        self.goals.insert(id.clone(), Goal::Stay);
        self.pictures += 1;
        self.bytes += bytes;
        Room::Taken
    }

    /// Whether a picture is on its way to this alert.
    pub(super) fn has(&self, id: &AlertId) -> bool {
        self.goals.contains_key(id)
    }

    /// Whether this picture need not be encoded.
    pub(super) fn is_unneeded(&self, id: &AlertId) -> bool {
        self.goals.get(id) == Some(&Goal::Remove)
    }

    /// Gives back the room of a picture.
    pub(super) fn let_go(&mut self, bytes: usize) {
        self.pictures = self.pictures.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// This picture is written. Returns what becomes of it.
    pub(super) fn arrived(&mut self, id: &AlertId) -> Goal {
        self.goals.remove(id).unwrap_or(Goal::Stay)
    }

    /// There will be no picture of this alert, nor of a digest that waits for it.
    pub(super) fn forget(&mut self, id: &AlertId) {
        let mut next = self.goals.remove(id);
        while let Some(Goal::Move(digest)) = next {
            next = self.goals.remove(&digest);
        }
    }

    /// The picture of this alert cannot be encoded or written.
    pub(super) fn failed(&mut self, id: &AlertId) {
        if self.goals.get(id) == Some(&Goal::Stay) {
            self.failed.insert(id.clone());
            if self.failed.len() > FAILED_MAX {
                // The oldest.
                self.failed.pop_first();
            }
        }
        self.forget(id);
    }

    /// The picture of a held alert becomes its digest's; `move_file` asks for the file to be moved if it is written
    /// already. Returns whether there will be one.
    pub(super) fn claim(&mut self, held: &AlertId, digest: &AlertId, move_file: impl FnOnce() -> bool) -> bool {
        if self.failed.remove(held) {
            return false;
        }
        match self.goals.get_mut(held) {
            Some(goal @ Goal::Stay) => *goal = Goal::Move(digest.clone()),
            Some(_) => return false,
            None if !move_file() => return false,
            None => {}
        }
        self.goals.entry(digest.clone()).or_insert(Goal::Stay);
        true
    }

    /// No alert needs this picture; `remove_file` asks for the file to be removed if it is written already.
    pub(super) fn release(&mut self, id: &AlertId, remove_file: impl FnOnce()) {
        if self.failed.remove(id) {
            return;
        }
        match self.goals.get_mut(id) {
            Some(goal @ Goal::Stay) => *goal = Goal::Remove,
            Some(_) => {}
            None => remove_file(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> AlertId {
        AlertId::new(0, [n; 10])
    }

    /// One picture that waits.
    fn waiting() -> Waiting {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.reserve(&id(1), 100), Room::Taken);
        waiting
    }

    fn no_file() -> bool {
        panic!("the picture is not written yet")
    }

    #[test]
    fn a_picture_that_is_claimed_while_it_waits_goes_from_digest_to_digest() {
        let mut waiting = waiting();
        assert!(waiting.claim(&id(1), &id(2), no_file) && waiting.claim(&id(2), &id(3), no_file));
        assert!(!waiting.claim(&id(1), &id(4), no_file), "it is another one's already");
        assert!([1, 2, 3].into_iter().all(|n| waiting.has(&id(n))) && !waiting.has(&id(4)));
        assert_eq!(waiting.arrived(&id(1)), Goal::Move(id(2)));
        assert_eq!(waiting.arrived(&id(2)), Goal::Move(id(3)));
        assert_eq!(waiting.arrived(&id(3)), Goal::Stay);
        assert!(waiting.goals.is_empty());
    }

    #[test]
    fn a_written_picture_is_moved_or_removed_by_the_thread() {
        let mut waiting = waiting();
        assert_eq!(waiting.arrived(&id(1)), Goal::Stay);
        assert!(waiting.claim(&id(1), &id(2), || true) && waiting.has(&id(2)));
        assert!(!waiting.claim(&id(3), &id(4), || false) && !waiting.has(&id(4)), "nobody can move it now");
        let mut is_asked = false;
        waiting.release(&id(5), || is_asked = true);
        assert!(is_asked);
    }

    #[test]
    fn a_picture_that_nobody_needs_is_not_encoded_and_not_given_to_a_digest() {
        let mut waiting = waiting();
        assert!(!waiting.is_unneeded(&id(1)));
        waiting.release(&id(1), || panic!("the picture is not written yet"));
        assert!(waiting.is_unneeded(&id(1)) && !waiting.claim(&id(1), &id(2), no_file));
        assert_eq!(waiting.arrived(&id(1)), Goal::Remove, "if it was being encoded");
    }

    #[test]
    fn a_digest_does_not_claim_a_picture_that_failed() {
        let mut waiting = waiting();
        waiting.failed(&id(1));
        assert!(!waiting.claim(&id(1), &id(2), no_file) && !waiting.has(&id(2)));
        assert!(waiting.failed.is_empty(), "it is asked once");
        // One that fails when it is the digest's already: nobody waits for it any more.
        assert_eq!(waiting.reserve(&id(3), 100), Room::Taken);
        assert!(waiting.claim(&id(3), &id(4), no_file));
        waiting.failed(&id(3));
        assert!(waiting.goals.is_empty() && waiting.failed.is_empty());
        for n in 0..FAILED_MAX as u64 + 9 {
            let id = AlertId::new(n * 1_000_000, [0; 10]);
            waiting.let_go(100);
            assert_eq!(waiting.reserve(&id, 100), Room::Taken);
            waiting.failed(&id);
        }
        assert_eq!(waiting.failed.len(), FAILED_MAX);
    }

    #[test]
    fn what_waits_to_be_encoded_is_bounded_and_what_moves_takes_no_room() {
        let mut waiting = waiting();
        (0..99).for_each(|n| assert!(waiting.claim(&id(100 + n), &id(200), || true)));
        for n in 2..=PICTURES_MAX as u8 {
            assert_eq!(waiting.reserve(&id(n), 1), Room::Taken);
        }
        assert_eq!((waiting.reserve(&id(1), 1), waiting.reserve(&id(99), 1)), (Room::Known, Room::Full));
        waiting.let_go(100);
        assert_eq!(waiting.reserve(&id(99), PICTURES_BYTES_MAX), Room::Full, "too large beside the others");
        assert_eq!(waiting.reserve(&id(99), 1), Room::Taken);
    }
}
