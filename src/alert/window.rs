//! The limit of the site over a restart: what was sent within the last minute takes its places in a later process, too.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Outbox;
use super::journal::SavedKind;
use crate::types::SourceId;

/// Maximum alerts that are kept; of a higher limit the last ones.
const KEPT_MAX: usize = 256;
const MINUTE_MS: u64 = 60_000;
const MS: u64 = 1_000_000;
/// The name of the value; no source's conditions begin so.
const NAME: &str = "\nwindow";

/// The alerts sent within the last minute.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Whether a live source wants them kept.
    is_kept: bool,
    /// When each was sent, in Unix milliseconds, and its source. A digest was held back: its capture time is older.
    sent: VecDeque<(u64, SourceId)>,
}

impl Window {
    /// Notes that an alert of `source` is sent now, and returns what is to be saved; `None` if nothing is kept.
    pub(super) fn note(&mut self, source: &SourceId, unix_ns: u64) -> Option<Arc<str>> {
        if !self.is_kept {
            return None;
        }
        let now_ms = unix_ns / MS;
        // A clock that was set back leaves later ones behind.
        self.sent.retain(|(at_ms, _)| now_ms.abs_diff(*at_ms) < MINUTE_MS);
        if self.sent.len() >= KEPT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((now_ms, source.clone()));
        let texts: Vec<(u64, &str)> = self.sent.iter().map(|(at_ms, source)| (*at_ms, source.as_str())).collect();
        // Numbers and texts can be written.
        serde_json::to_string(&texts).ok().map(Arc::from)
    }

    /// Keeps what is sent from now on, after what an earlier process sent. Returns the ages of that, at most a minute.
    fn keep(&mut self, saved: Option<Arc<str>>, unix_ns: u64) -> Vec<(u64, SourceId)> {
        self.is_kept = true;
        let sent: Vec<(u64, String)> = saved.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let aged = sent.into_iter().take(KEPT_MAX).map(|(at_ms, source)| {
            // No clock makes one younger than now.
            (unix_ns.saturating_sub(at_ms.saturating_mul(MS)), SourceId::from(source))
        });
        let recent: Vec<(u64, SourceId)> = aged.filter(|(age_ns, _)| *age_ns < MINUTE_MS * MS).collect();
        let times = recent.iter().map(|(age_ns, source)| (unix_ns.saturating_sub(*age_ns) / MS, source.clone()));
        self.sent.extend(times);
        recent
    }
}

impl Outbox {
    /// Keeps the site's last minute for a later process, and restores that of an earlier one. Called for each live
    /// source; the first one restores.
    pub(super) fn keep_window(&self, arrival_ns: u64, unix_ns: u64) {
        let saved = self.take_saved(SavedKind::Condition, NAME).remove(NAME);
        self.site().with(|sequencer, window| {
            let sent = window.keep(saved, unix_ns);
            sequencer.restore_sent(sent, arrival_ns);
        });
    }

    /// Saves the site's last minute.
    pub(super) fn save_window(&self, contents: Arc<str>) {
        self.save(SavedKind::Condition, &NAME.into(), Some(contents));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    /// An alert is sent so many milliseconds later.
    fn sent(window: &mut Window, after_ms: u64) -> Option<Arc<str>> {
        window.note(&"gate".into(), (NOW_MS + after_ms) * MS)
    }

    #[test]
    fn what_was_sent_in_the_last_minute_is_restored_and_a_clock_that_was_set_back_makes_it_no_older() {
        let mut first = Window::default();
        assert_eq!(sent(&mut first, 0), None, "no live source");
        first.keep(None, NOW_MS * MS);
        let texts: Vec<_> = [0, 10_000, 65_000].map(|after_ms| sent(&mut first, after_ms)).into();
        let saved = texts[2].clone();
        let ages = |now_ms: u64| -> Vec<u64> {
            let ages = Window::default().keep(saved.clone(), (NOW_MS + now_ms) * MS);
            ages.into_iter().map(|(age_ns, _)| age_ns / MS).collect()
        };
        assert_eq!(ages(66_000), [56_000, 1_000]);
        assert_eq!(ages(71_000), [6_000]);
        assert_eq!(ages(0), [0, 0], "set back: as if sent now");
        assert_eq!(ages(3_600_000), [0_u64; 0]);
        let mut later = Window::default();
        later.keep(saved.clone(), (NOW_MS + 66_000) * MS);
        let again = sent(&mut later, 67_000).unwrap();
        assert_eq!(again.matches("gate").count(), 3, "{again}");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut window = Window::default();
        window.keep(None, NOW_MS * MS);
        let last = (0..2 * KEPT_MAX as u64).filter_map(|number| sent(&mut window, number)).last();
        assert_eq!(last.unwrap().matches("gate").count(), KEPT_MAX);
    }
}
