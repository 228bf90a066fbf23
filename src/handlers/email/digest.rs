//! Which alerts come in one mail: the next one, and those that have come since the last mail.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::alert::{Commands, DeliveryError};
use crate::types::{Alert, AlertId, Level};

/// Most alerts of one mail.
const ALERTS_MAX: usize = 100;

/// See the module.
#[derive(Default)]
pub(super) struct Digest {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    commands: Option<Commands>,
    /// When the last mail was taken, on the monotonic clock.
    last_ns: Option<u64>,
    /// The mail that is tried: its first alert, and the others. It stays as it is until it is taken: some receivers may
    /// have it.
    current: Option<(AlertId, Vec<Arc<Alert>>)>,
    /// What became of alerts that were in a mail of an earlier one, until they are asked for.
    mailed: VecDeque<(AlertId, Result<(), DeliveryError>)>,
}

impl Digest {
    /// Lets it see what waits.
    pub(super) fn attach(&self, commands: Commands) {
        self.state.lock().commands = Some(commands);
    }

    /// How long an alert waits for others at `now_ns`.
    pub(super) fn rest(&self, interval: Duration, alert: &Alert, now_ns: u64) -> Option<Duration> {
        let state = self.state.lock();
        if alert.level == Level::Critical || state.mailed.iter().any(|(id, _)| *id == alert.id) {
            return None;
        }
        let since = Duration::from_nanos(now_ns.saturating_sub(state.last_ns?));
        interval.checked_sub(since).filter(|rest| !rest.is_zero())
    }

    /// What became of an alert that was in a mail of another one. Returned once: the alert is delivered or given up
    /// then, and a later attempt sends it again.
    pub(super) fn take_mailed(&self, id: &AlertId) -> Option<Result<(), DeliveryError>> {
        let mut state = self.state.lock();
        let at = state.mailed.iter().position(|(mailed, _)| mailed == id)?;
        state.mailed.remove(at).map(|(_, outcome)| outcome)
    }

    /// The alerts that come in the mail of this one; the same for each attempt.
    pub(super) fn others(&self, interval: Duration, alert: &Alert) -> Vec<Arc<Alert>> {
        let commands = {
            let state = self.state.lock();
            if let Some((_, others)) = state.current.as_ref().filter(|(id, _)| *id == alert.id) {
                return others.clone();
            }
            state.commands.clone().filter(|_| !interval.is_zero())
        };
        let waiting = commands.map(|commands| commands.waiting(2 * ALERTS_MAX)).unwrap_or_default();
        let mut state = self.state.lock();
        let is_other =
            |other: &Arc<Alert>| other.id != alert.id && state.mailed.iter().all(|(mailed, _)| *mailed != other.id);
        let others: Vec<_> = waiting.into_iter().filter(is_other).take(ALERTS_MAX - 1).collect();
        state.current = Some((alert.id.clone(), others.clone()));
        others
    }

    /// Remembers that the server has taken the mail at `now_ns`, with this outcome, for all its alerts.
    pub(super) fn on_taken(&self, outcome: &Result<(), DeliveryError>, now_ns: u64) {
        let mut state = self.state.lock();
        state.last_ns = Some(now_ns);
        let others = state.current.take().into_iter().flat_map(|(_, others)| others);
        let ids: Vec<_> = others.map(|other| other.id.clone()).collect();
        state.mailed.extend(ids.into_iter().map(|id| (id, outcome.clone())));
        // Those that never come to delivery were removed meanwhile.
        let extra = state.mailed.len().saturating_sub(2 * ALERTS_MAX);
        state.mailed.drain(..extra);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn alert(id: u64, level: Level) -> Alert {
        Alert { id: AlertId::new(id * 1_000_000, [0; 10]), level, ..Alert::sample("m") }
    }

    #[test]
    fn an_alert_waits_for_the_rest_of_the_interval_after_a_mail_and_a_critical_one_never() {
        let (digest, second) = (Digest::default(), 1_000_000_000);
        let rest = |level, now_s: u64| digest.rest(MINUTE, &alert(1, level), now_s * second);
        assert_eq!(rest(Level::Low, 1), None, "there was no mail yet");
        assert!(digest.others(MINUTE, &alert(0, Level::Low)).is_empty());
        digest.on_taken(&Ok(()), 10 * second);
        assert_eq!(rest(Level::High, 30), Some(Duration::from_secs(40)));
        assert_eq!((rest(Level::High, 70), rest(Level::Critical, 30)), (None, None));
        assert_eq!(digest.rest(Duration::ZERO, &alert(1, Level::Low), 10 * second), None);
    }

    #[test]
    fn what_a_receiver_refused_is_answered_once_and_what_is_sent_again_is_tried() {
        let (digest, one, other) = (Digest::default(), alert(1, Level::Low), alert(2, Level::Low));
        digest.state.lock().current = Some((one.id.clone(), vec![Arc::new(other.clone())]));
        digest.on_taken(&Err(DeliveryError { message: "gone".into(), retry: crate::alert::Retry::Partly }), 1);
        assert!(digest.take_mailed(&one.id).is_none(), "its own attempt has said so");
        assert!(digest.take_mailed(&other.id).is_some_and(|outcome| outcome.is_err()), "it was in the same mail");
        assert!(digest.take_mailed(&other.id).is_none(), "somebody sends it again");
    }
}
