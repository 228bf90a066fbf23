//! Silences, created and ended in somebody's name.

use super::outcome::{Outcome, Refusal, RefusalKind};
use super::{Control, Who};
use crate::alert::silence::{SilenceBody, SilenceRequest};

impl Control {
    /// Creates a silence.
    ///
    /// # Errors
    /// When the request is wrong, or there are too many silences.
    pub fn silence(&self, request: &SilenceRequest, who: &Who) -> Result<SilenceBody, Refusal> {
        let created = self.handle.silence(request, &who.name).map_err(|error| {
            let kind = if error.is_full { RefusalKind::Conflict } else { RefusalKind::Invalid };
            Refusal::new(kind, error.message).hint(error.hint)
        });
        let matchers = request.matchers.iter().take(MATCHERS_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        self.note_silence(who, format!("silence {matchers}"), &created);
        created
    }

    /// Ends a silence now.
    ///
    /// # Errors
    /// When there is no such silence.
    pub fn end_silence(&self, id: &str, who: &Who) -> Result<SilenceBody, Refusal> {
        let ended = self.handle.end_silence(id).ok_or_else(|| {
            let refusal = Refusal::new(RefusalKind::NotFound, format!("there is no silence {id}"));
            refusal.hint("`dsengine silence list` shows those that there are")
        });
        self.note_silence(who, format!("end silence {id}"), &ended);
        ended
    }

    fn note_silence(&self, who: &Who, what: String, done: &Result<SilenceBody, Refusal>) {
        let what: String = what.chars().take(WHAT_CHARS_MAX).collect();
        let outcome = done.as_ref().map(|silence| {
            let SilenceBody { id, state, ends_at, .. } = silence;
            Outcome { changes: vec![format!("silence {id} {state}, until {ends_at}")], ..Outcome::default() }
        });
        self.trail.note(who, what, &outcome.map_err(Clone::clone));
    }
}

/// Maximum matchers that a line of the audit quotes.
const MATCHERS_SHOWN: usize = 16;
/// Maximum characters of its description.
const WHAT_CHARS_MAX: usize = 500;
