//! What every guest behind the Strategy seam has in common: the breaker, the counting, the replacement after a fault.

use super::{Fault, FaultKind, Health, Strategy, Verdict, View};
use crate::config::OnFailure;
use crate::guest::Breaker;

/// A guest's own part: one instance, or the means to make one again.
pub trait Guest: Send {
    /// The name from the config.
    fn name(&self) -> &str;

    /// Judges one frame. A guest whose instance was discarded makes a new one first, from what it was loaded from.
    ///
    /// # Errors
    /// A [`Fault`]; the host's state is then as before the call.
    fn judge(&mut self, view: &View<'_>) -> Result<Verdict, Fault>;

    /// Throws the instance away after a fault that may have left it broken; the next call makes a new one.
    fn discard(&mut self);

    /// Whether a fault of this kind leaves the instance fit for the next call.
    fn survives(&self, kind: FaultKind) -> bool;

    /// The version it says it is.
    fn version(&self) -> &str;

    /// What to hand to a successor. See [`Strategy::suspend`].
    ///
    /// # Errors
    /// A [`Fault`] of the guest's own code.
    fn suspend(&mut self) -> Result<Vec<u8>, Fault>;

    /// Takes over from a predecessor. See [`Strategy::resume`].
    ///
    /// # Errors
    /// A [`Fault`]: the guest refuses, or cannot.
    fn resume(&mut self, from_version: &str, state: &[u8]) -> Result<(), Fault>;

    /// What is measured of it.
    fn gauges(&self) -> Gauges;
}

/// A guest's figures that the wrapper cannot count itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauges {
    /// Bytes of the instance's memory.
    pub memory_bytes: usize,
    /// Bytes of state the host keeps for it.
    pub state_bytes: usize,
    /// Log lines that went over the rate.
    pub log_lines_dropped: u64,
    /// Alerts past the number a call may raise.
    pub alerts_dropped: u64,
    /// Alert messages cut to the longest allowed.
    pub messages_cut: u64,
    /// Calls past the soft time limit.
    pub slow: u64,
}

/// A guest as a strategy.
pub struct Guarded<G> {
    guest: G,
    on_failure: OnFailure,
    breaker: Breaker,
    health: Health,
    /// Switched off for good: `on_failure: disable`, and the breaker opened.
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
