//! The common part of all guests behind [`Strategy`]: breaker, counters, and replacement after a fault.

use super::{Fault, FaultKind, Health, Strategy, Verdict, View};
use crate::config::OnFailure;
use crate::guest::Breaker;

/// A guest: an instance, and the means to create another.
pub trait Guest: Send {
    /// The name from the config.
    fn name(&self) -> &str;

    /// Judges one frame. If the instance was discarded, creates a new one first.
    ///
    /// # Errors
    /// A [`Fault`]; the state kept by the host is then as before the call.
    fn judge(&mut self, view: &View<'_>) -> Result<Verdict, Fault>;

    /// Discards the instance after a fault that may have corrupted it; the next call creates a new one.
    fn discard(&mut self);

    /// Whether the instance remains usable after a fault of this kind.
    fn survives(&self, kind: FaultKind) -> bool;

    /// Its declared version.
    fn version(&self) -> &str;

    /// The state to hand to a successor. See [`Strategy::suspend`].
    ///
    /// # Errors
    /// A [`Fault`] of the guest's own code.
    fn suspend(&mut self) -> Result<Vec<u8>, Fault>;

    /// Takes over a predecessor's state. See [`Strategy::resume`].
    ///
    /// # Errors
    /// A [`Fault`] when the guest refuses or fails.
    fn resume(&mut self, from_version: &str, state: &[u8]) -> Result<(), Fault>;

    /// Its resource usage and limit counters.
    fn gauges(&self) -> Gauges;

    /// The line that raised an alert of its last verdict. See [`Strategy::raised_at`].
    fn raised_at(&self, _alert: usize) -> Option<String> {
        None
    }
}

/// A guest's figures that the wrapper cannot count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauges {
    /// Memory of the instance, in bytes.
    pub memory_bytes: usize,
    /// State that the host keeps for it, in bytes.
    pub state_bytes: usize,
    /// Log lines dropped by the rate limit.
    pub log_lines_dropped: u64,
    /// Alerts dropped beyond the limit per call.
    pub alerts_dropped: u64,
    /// Alert messages truncated to the maximum length.
    pub messages_cut: u64,
    /// Calls that exceeded the soft time limit.
    pub slow: u64,
}

/// A guest as a strategy.
pub struct Guarded<G> {
    guest: G,
    on_failure: OnFailure,
    breaker: Breaker,
    health: Health,
    /// Disabled until the next version: the breaker opened, with `on_failure: disable`.
    disabled: bool,
}

impl<G: Guest> Guarded<G> {
    /// Wraps a guest.
    pub fn new(guest: G, on_failure: OnFailure) -> Self {
        Self { guest, on_failure, breaker: Breaker::default(), health: Health::default(), disabled: false }
    }

    /// The guest.
    pub fn guest(&self) -> &G {
        &self.guest
    }
}

impl<G: Guest> Strategy for Guarded<G> {
    fn name(&self) -> &str {
        self.guest.name()
    }

    fn judge(&mut self, view: &View<'_>) -> Result<Verdict, Fault> {
        let now = view.frame.pts_ns;
        if self.disabled || !self.breaker.admits(now) {
            self.health.skipped += 1;
            return Ok(Verdict::default());
        }
        self.health.calls += 1;
        let result = self.guest.judge(view);
        match &result {
            Ok(_) => self.breaker.succeeded(),
            Err(fault) => self.failed(fault, now, view),
        }
        result
    }

    fn refused(&mut self, fault: &Fault, view: &View<'_>) {
        self.failed(fault, view.frame.pts_ns, view);
    }

    fn raised_at(&self, alert: usize) -> Option<String> {
        self.guest.raised_at(alert)
    }

    fn on_failure(&self) -> OnFailure {
        self.on_failure
    }

    fn version(&self) -> &str {
        self.guest.version()
    }

    fn suspend(&mut self) -> Result<Vec<u8>, Fault> {
        self.guest.suspend()
    }

    fn resume(&mut self, from_version: &str, state: &[u8]) -> Result<(), Fault> {
        self.guest.resume(from_version, state)
    }

    fn health(&self) -> Option<Health> {
        let Gauges { memory_bytes, state_bytes, log_lines_dropped, alerts_dropped, messages_cut, slow } =
            self.guest.gauges();
        Some(Health {
            breaker: self.breaker.state(),
            disabled: self.disabled,
            memory_bytes,
            state_bytes,
            log_lines_dropped,
            alerts_dropped,
            messages_cut,
            slow,
            ..self.health.clone()
        })
    }
}

impl<G: Guest> Guarded<G> {
    fn failed(&mut self, fault: &Fault, now: u64, view: &View<'_>) {
        if !self.guest.survives(fault.kind) {
            self.guest.discard();
        }
        self.health.faults[fault.kind as usize] += 1;
        self.health.last_fault = Some(fault.message.clone());
        let Some(open_ns) = self.breaker.failed(now) else { return };
        let (strategy, source) = (self.guest.name(), view.frame.source.as_str());
        if self.on_failure == OnFailure::Disable {
            self.disabled = true;
            tracing::warn!(strategy, source, "keeps failing, switched off until its next version: {fault}");
        } else {
            let seconds = open_ns / 1_000_000_000;
            tracing::warn!(strategy, source, seconds, "keeps failing, left out for a while: {fault}");
        }
    }
}
