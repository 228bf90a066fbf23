//! An embedder's strategy whose panics are faults, as a guest's are: the frame passes unchanged, and a strategy that
//! keeps panicking is left out for a while.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Fault, FaultKind, Health, OnFailure, Strategy, Verdict, View};
use crate::guest::{Breaker, BreakerState};
use crate::telemetry::redact;

/// See the module. A panic may leave the strategy's own data half-changed; it is called again all the same, since only
/// the breaker may decide otherwise.
pub struct Caught {
    strategy: Box<dyn Strategy>,
    breaker: Breaker,
    /// Calls left out while the breaker was open.
    skipped: u64,
    panics: u64,
    last: Option<String>,
}

impl Caught {
    /// Wraps a strategy.
    pub fn new(strategy: Box<dyn Strategy>) -> Self {
        Self { strategy, breaker: Breaker::default(), skipped: 0, panics: 0, last: None }
    }

    /// Runs a call of the strategy.
    fn call<T>(&mut self, what: impl FnOnce(&mut dyn Strategy) -> Result<T, Fault>) -> Result<T, Fault> {
        let strategy = &mut *self.strategy;
        catch_unwind(AssertUnwindSafe(|| what(strategy))).unwrap_or_else(|payload| Err(self.panicked(&*payload)))
    }

    fn panicked(&mut self, payload: &(dyn Any + Send)) -> Fault {
        let fault = Fault { kind: FaultKind::Error, message: message(payload) };
        self.panics += 1;
        self.last = Some(fault.message.clone());
        fault
    }

    /// Counts a panic at `now_ns` of frame time.
    fn note(&mut self, fault: &Fault, now_ns: u64, view: &View<'_>) {
        if let Some(open_ns) = self.breaker.failed(now_ns) {
            let (strategy, source) = (self.strategy.name(), view.frame.source.as_str());
            let seconds = open_ns / 1_000_000_000;
            tracing::warn!(
                strategy,
                source,
                seconds,
                "the strategy is left out for a while, because it keeps panicking: {fault}"
            );
        }
    }
}

/// A panic's message, redacted.
fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", redact(text.unwrap_or("without a message")))
}

impl Strategy for Caught {
    fn name(&self) -> &str {
        self.strategy.name()
    }

    fn judge(&mut self, view: &View<'_>) -> Result<Verdict, Fault> {
        let now_ns = view.frame.pts_ns;
        if !self.breaker.admits(now_ns) {
            self.skipped += 1;
            return Ok(Verdict::default());
        }
        let before = self.panics;
        let result = self.call(|strategy| strategy.judge(view));
        match &result {
            Err(fault) if self.panics > before => self.note(fault, now_ns, view),
            // A fault that it reports itself is its own to count.
            _ => self.breaker.succeeded(),
        }
        result
    }

    fn refused(&mut self, fault: &Fault, view: &View<'_>) {
        let told = self.call(|strategy| {
            strategy.refused(fault, view);
            Ok(())
        });
        if let Err(fault) = told {
            self.note(&fault, view.frame.pts_ns, view);
        }
    }

    fn raised_at(&self, alert: usize) -> Option<String> {
        catch_unwind(AssertUnwindSafe(|| self.strategy.raised_at(alert))).unwrap_or_default()
    }

    fn on_failure(&self) -> OnFailure {
        self.strategy.on_failure()
    }

    fn version(&self) -> &str {
        self.strategy.version()
    }

    fn suspend(&mut self) -> Result<Vec<u8>, Fault> {
        self.call(|strategy| strategy.suspend())
    }

    fn resume(&mut self, from_version: &str, state: &[u8]) -> Result<(), Fault> {
        self.call(|strategy| strategy.resume(from_version, state))
    }

    fn health(&self) -> Option<Health> {
        let own = catch_unwind(AssertUnwindSafe(|| self.strategy.health())).unwrap_or_default();
        if self.panics == 0 {
            return own;
        }
        let mut health = own.unwrap_or_default();
        if self.breaker.state() != BreakerState::Closed {
            health.breaker = self.breaker.state();
        }
        health.skipped += self.skipped;
        health.faults[FaultKind::Error as usize] += self.panics;
        health.last_fault = self.last.clone().or(health.last_fault);
        Some(health)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::Tracks;
    use crate::types::Frame;

    /// Panics until it has been asked so often.
    struct Shaky {
        asked: u32,
        until: u32,
    }

    impl Strategy for Shaky {
        fn name(&self) -> &str {
            "shaky"
        }

        fn judge(&mut self, _view: &View<'_>) -> Result<Verdict, Fault> {
            self.asked += 1;
            assert!(self.asked > self.until, "this panic belongs to the test: rtsp://admin:C4n4ry@cam/");
            Ok(Verdict::default())
        }
    }

    #[test]
    fn panics_are_faults_and_open_the_breaker_until_a_call_succeeds() {
        let mut caught = Caught::new(Box::new(Shaky { asked: 0, until: 6 }));
        let tracks = Tracks::default();
        let mut judge = |second: u64| {
            let frame = Frame { pts_ns: second * 1_000_000_000, ..Frame::empty("a", second) };
            let result = caught.judge(&View { frame: &frame, tracks: &tracks, zones: &[] });
            let health = caught.health();
            (result, health.map(|health| (health.breaker, health.skipped)))
        };
        for second in 0..5 {
            let (result, _) = judge(second);
            let fault = result.unwrap_err();
            assert!(fault.message.starts_with("it panicked: this panic belongs"), "{fault}");
            assert!(!fault.message.contains("C4n4ry"), "{fault}");
        }
        assert_eq!(judge(5), (Ok(Verdict::default()), Some((BreakerState::Open, 1))), "it is left out");
        assert!(judge(14).0.is_err(), "a trial after ten seconds fails");
        assert_eq!(judge(20).1, Some((BreakerState::Open, 2)));
        assert_eq!(judge(40), (Ok(Verdict::default()), Some((BreakerState::Closed, 2))), "the next one does not");
    }
}
