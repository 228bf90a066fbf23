//! Tracks attempts at something that may fail for a while: what is wrong now, and for how long.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::telemetry::redact;

/// How long attempts may fail before it counts as lasting: a restarting receiver does not.
const FAILING_NS: u64 = 5_000_000_000;
/// How long one attempt may take before it counts as trouble.
pub(super) const SILENT_NS: u64 = 30_000_000_000;

/// Written by the attempting task or thread, read by status queries.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<Now>);

#[derive(Debug, Default)]
struct Now {
    /// Start of the attempt in progress.
    began_ns: Option<u64>,
    /// Failures since the last success.
    failed: Option<Failed>,
}

#[derive(Debug)]
struct Failed {
    since_ns: u64,
    error: String,
    given_up: bool,
}

/// Why a handler or the journal does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// For how long, in nanoseconds.
    pub for_ns: u64,
    /// The latest error, with secrets redacted.
    pub error: String,
    /// Whether it is more than a passing failure: an alert was given up, or it has lasted for a while.
    pub lasts: bool,
}

/// The journal's medium: attempts to write, and whether alerts are delivered meanwhile.
#[derive(Debug, Default)]
pub(super) struct Medium {
    pub(super) attempts: Attempts,
    owing: AtomicBool,
}

impl Medium {
    /// Alerts are delivered before they are written, until the medium works again.
    pub(super) fn owe(&self) {
        if !self.owing.swap(true, Ordering::Relaxed) {
            tracing::error!("the alert journal fails: alerts are delivered, and not kept over a restart");
        }
    }

    /// Something was written.
    pub(super) fn works(&self) {
        self.attempts.succeed();
        if self.owing.swap(false, Ordering::Relaxed) {
            tracing::info!("the alert journal works again");
        }
    }

    /// The trouble at `now_ns`; `None` after a success.
    pub(super) fn trouble(&self, now_ns: u64) -> Option<Trouble> {
        let mut trouble = self.attempts.trouble(now_ns)?;
        if self.owing.load(Ordering::Relaxed) {
            trouble.error += "; alerts are delivered meanwhile, and not kept over a restart";
        }
        Some(trouble)
    }
}

impl Attempts {
    fn now(&self) -> MutexGuard<'_, Now> {
        // Plain values: a panic elsewhere leaves nothing half-done.
        self.0.lock()
    }

    pub(super) fn begin(&self, now_ns: u64) {
        self.now().began_ns = Some(now_ns);
    }

    pub(super) fn succeed(&self) {
        *self.now() = Now::default();
    }

    /// Forgets past failures; an attempt in progress continues.
    pub(super) fn forget(&self) {
        self.now().failed = None;
    }

    /// The attempt failed; `given_up` if it was the last one for its alert.
    pub(super) fn fail(&self, error: &str, given_up: bool, now_ns: u64) {
        let mut now = self.now();
        now.began_ns = None;
        let failed =
            now.failed.get_or_insert_with(|| Failed { since_ns: now_ns, error: String::new(), given_up: false });
        failed.error = redact(error).into_owned();
        failed.given_up |= given_up;
    }

    /// The trouble at `now_ns`; `None` after a success.
    pub(super) fn trouble(&self, now_ns: u64) -> Option<Trouble> {
        let now = self.now();
        if let Some(failed) = &now.failed {
            let for_ns = now_ns.saturating_sub(failed.since_ns);
            let lasts = failed.given_up || for_ns >= FAILING_NS;
            return Some(Trouble { for_ns, error: failed.error.clone(), lasts });
        }
        let for_ns = now_ns.saturating_sub(now.began_ns?);
        let error = format!("no answer for {} s", for_ns / 1_000_000_000);
        (for_ns >= SILENT_NS).then_some(Trouble { for_ns, error, lasts: true })
    }
}
