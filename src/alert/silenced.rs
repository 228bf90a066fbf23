//! The silences of the outbox: created, listed and ended while it runs, and saved for a later process.

use std::sync::Arc;

use super::silence::{Silence, SilenceBody, SilenceCount, SilenceError, SilenceRequest};
use super::{Outbox, SavedKind};
use crate::types::{Alert, Zone};

const MS_NS: u64 = 1_000_000;

impl Outbox {
    /// Creates a silence in somebody's name.
    ///
    /// # Errors
    /// When the request is wrong, or there are too many silences.
    pub fn silence(&self, request: &SilenceRequest, by: &str, unix_ns: u64) -> Result<SilenceBody, SilenceError> {
        let (now_ms, mut forgotten) = (unix_ns / MS_NS, Vec::new());
        // Regular expressions take their time: not while lanes wait.
        let checked = request.check(now_ms)?;
        self.site().with_silences(|silences| {
            let added = silences.add_checked(request, checked, by, now_ms, &mut forgotten);
            self.forget_silences(&forgotten);
            added.map(|silence| self.save_silence(&silence, now_ms))
        })
    }

    /// Ends a silence now; one that has ended stays as it is. `None` if there is no such silence.
    pub fn end_silence(&self, id: &str, unix_ns: u64) -> Option<SilenceBody> {
        let now_ms = unix_ns / MS_NS;
        self.site().with_silences(|silences| {
            let ended = silences.end(id, now_ms)?;
            Some(self.save_silence(&ended, now_ms))
        })
    }

    /// All silences, the newest first; those that have ended are listed for five days.
    pub fn silences(&self, unix_ns: u64) -> Vec<SilenceBody> {
        let (now_ms, mut forgotten) = (unix_ns / MS_NS, Vec::new());
        self.site().with_silences(|silences| {
            silences.forget(now_ms, &mut forgotten);
            self.forget_silences(&forgotten);
            silences.list().map(|silence| silence.body(now_ms)).collect()
        })
    }

    /// How many silences hold now.
    pub fn silence_count(&self, unix_ns: u64) -> SilenceCount {
        self.site().with_silences(|silences| silences.count(unix_ns / MS_NS))
    }

    /// The id of the silence that holds this alert of a source with these zones back; it counts the alert then.
    pub(super) fn silence_of(&self, alert: &Alert, zones: &[Zone]) -> Option<String> {
        self.site().with_silences(|silences| silences.holds(alert, zones))
    }

    /// Continues the silences that an earlier process saved.
    pub(super) fn restore_silences(&self, unix_ns: u64) {
        let mut forgotten = Vec::new();
        let saved = self.take_saved(SavedKind::Silence, "");
        self.site().with_silences(|silences| {
            for (id, contents) in saved {
                if let Err(reason) = silences.restore(Arc::clone(&id), &contents) {
                    tracing::warn!(silence = %id, "a silence of an earlier run is not continued: {reason}");
                    forgotten.push(id);
                }
            }
            silences.forget(unix_ns / MS_NS, &mut forgotten);
            self.forget_silences(&forgotten);
        });
    }

    // Both are called while the silences are locked, so that the last change is saved last.
    fn save_silence(&self, silence: &Silence, now_ms: u64) -> SilenceBody {
        self.save(SavedKind::Silence, silence.id(), silence.contents());
        silence.body(now_ms)
    }

    fn forget_silences(&self, ids: &[Arc<str>]) {
        ids.iter().for_each(|id| self.save(SavedKind::Silence, id, None));
    }
}

#[cfg(test)]
mod tests {

    use super::super::policy::tests::{draft, frame, plan};
    use super::super::{Gate, Order};
    use super::*;
    use crate::config::AlertPlan;
    use crate::telemetry::Metrics;
    use crate::types::{BBox, Detection, Point, Polygon, Raised, TestClock};

    /// Capture time of the frame at second zero.
    const START_NS: u64 = 1_700_000_000_000_000_000;
    const SECOND: u64 = 1_000_000_000;

    fn outbox(plan: &AlertPlan) -> (Arc<Outbox>, Gate) {
        let metrics = Metrics::new(Arc::new(TestClock::at(START_NS)));
        let outbox = Outbox::new(plan, metrics.clone(), Arc::new(|_: &Arc<Alert>| {}), None);
        let gate = Gate::new(plan, &"gate".into(), &outbox, &metrics).joined(Order::Arrival);
        (outbox, gate)
    }

    fn request(matcher: &str) -> SilenceRequest {
        SilenceRequest { matchers: vec![matcher.into()], duration: Some("10s".into()), ..SilenceRequest::default() }
    }

    #[test]
    fn what_lasts_longer_than_a_silence_is_told_when_that_ends() {
        let (outbox, mut gate) = outbox(&plan());
        let silence = outbox.silence(&request("key=\"1\""), "ops", START_NS).unwrap();
        let mut told = Vec::new();
        for second in 0..14_u32 {
            for key in ["1", "2"] {
                let frame = frame("gate", second.into(), second.into());
                told.extend(gate.raise(&draft("r", key), &frame).map(|alert| (second, alert.key.clone())));
            }
        }
        assert_eq!(told, [(0, "2".to_owned()), (10, "1".to_owned())]);
        let totals = outbox.totals();
        // Ten of the first by the silence, three afterwards, and thirteen of the second, which last.
        assert_eq!((totals.raised, totals.accepted, totals.suppressed), (28, 2, 26));
        let listed = outbox.silences(START_NS + 11 * SECOND);
        assert_eq!((&listed[0].id, listed[0].state, listed[0].suppressed), (&silence.id, "ended", 10));
    }

    #[test]
    fn what_a_silence_holds_back_on_every_frame_is_logged_once_a_second() {
        let (outbox, mut gate) = outbox(&plan());
        outbox.silence(&request("key=\"1\""), "ops", START_NS).unwrap();
        for number in 0..90_u32 {
            gate.raise(&draft("r", "1"), &frame("gate", number.into(), f64::from(number) / 30.0));
        }
        let decided = outbox.recent().decided;
        let silenced = decided.iter().filter(|decided| decided.contents.contains("\"silenced\"")).count();
        assert_eq!((silenced, outbox.totals().suppressed), (3, 90));
    }

    #[test]
    fn a_silenced_alert_takes_no_place_of_the_others() {
        let (outbox, mut gate) = outbox(&AlertPlan { max_per_minute: 1, burst_threshold: 2, ..plan() });
        outbox.silence(&request("key=~\"[0-4]\""), "ops", START_NS).unwrap();
        let mut raise = |key: &str| gate.raise(&draft("r", key), &frame("gate", 0, 1.0)).is_some();
        assert_eq!(
            ["0", "1", "2", "3", "4", "5", "6"].map(&mut raise),
            [false, false, false, false, false, true, false]
        );
        let totals = outbox.totals();
        assert_eq!((totals.raised, totals.suppressed, totals.accepted, totals.digested), (7, 5, 1, 1));
    }

    #[test]
    fn a_zone_is_one_of_the_alerts_source() {
        let (outbox, mut gate) = outbox(&plan());
        let corners = [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)].map(|(x, y)| Point { x, y });
        let polygon = Polygon::new(corners.to_vec()).unwrap();
        let zones: Arc<[Zone]> = Arc::new([Zone { name: "drive".into(), polygon }]);
        gate.set_zones(&zones);
        outbox.silence(&request("zone=\"drive\""), "ops", START_NS).unwrap();
        let mut raise = |key: &str, x: f32| {
            let bbox = BBox { x, y: 0.1, width: 0.2, height: 0.2 };
            let detections = vec![Detection::new("person", 0, 0.9, bbox)];
            gate.raise(&Raised { detections, ..draft("r", key) }, &frame("gate", 0, 1.0)).is_some()
        };
        assert_eq!([raise("1", 0.1), raise("2", 0.7)], [false, true]);
    }

    #[test]
    fn a_gate_knows_whether_somebody_is_told() {
        let (outbox, mut gate) = outbox(&AlertPlan { max_per_minute: 1, ..plan() });
        outbox.silence(&request("key=\"quiet\""), "ops", START_NS).unwrap();
        let mut tell = |key: &str| gate.tell(&draft("r", key), &frame("gate", 0, 1.0));
        // Sent, in a digest, silenced, and a duplicate.
        assert_eq!(["1", "2", "quiet", "1"].map(&mut tell), [true, true, false, false]);
    }

    #[test]
    fn an_ended_silence_holds_nothing_back_and_is_counted_no_more() {
        let (outbox, mut gate) = outbox(&plan());
        let silence = outbox.silence(&request("source=\"gate\""), "ops", START_NS).unwrap();
        assert_eq!(outbox.silence_count(START_NS).active, 1);
        assert!(gate.raise(&draft("r", "1"), &frame("gate", 0, 1.0)).is_none());
        let ended = outbox.end_silence(&silence.id, START_NS + 2 * SECOND).unwrap();
        assert_eq!((ended.state, ended.suppressed), ("ended", 1));
        assert_eq!(outbox.silence_count(START_NS + 2 * SECOND).active, 0);
        assert!(gate.raise(&draft("r", "1"), &frame("gate", 1, 2.0)).is_some());
        assert!(outbox.end_silence("none", START_NS).is_none());
    }
}
