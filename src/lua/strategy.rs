//! A script behind the Strategy seam: calls, faults, replacement, health.

use std::sync::{Arc, Mutex};

use super::host::lock;
use super::require::Modules;
use super::script::Script;
use super::seat::Seat;
use super::vm::Vm;
use crate::error::{Code, Error};
use crate::strategy::{Breaker, Fault, FaultKind, Health, Strategy, Verdict, View, Watchdog};

/// Builds a strategy from a script: checks it, runs its top level, finds `detect`. Reads nothing but the modules
/// the script requires, and touches nothing outside its own VM, so that a strategy can be built beside the running
/// one and dropped without a trace.
///
/// # Errors
/// [`Code::Plugin`] with the script's own `file:line`.
pub fn load(script: Script, watchdog: &Arc<Watchdog>) -> Result<LuaStrategy, Error> {
    script.check()?;
    let modules = Arc::new(Mutex::new(Modules::new(script.roots.clone(), script.limits.source_bytes)));
    let seat = Arc::new(Mutex::new(Seat::new(script.state.space(&script.name, &script.source))));
    let vm = Vm::build(&script, Arc::clone(&seat), &modules, watchdog).map_err(|fault| {
        let error = Error::new(Code::Plugin, fault.message);
        match fault.kind {
            FaultKind::Time => error.hint("the top level of a script only sets things up; work belongs in detect"),
            _ => error,
        }
    })?;
    lock(&modules).closed = true;
    let watchdog = Arc::clone(watchdog);
    Ok(LuaStrategy {
        script,
        modules,
        seat,
        watchdog,
        vm: Some(vm),
        breaker: Breaker::default(),
        health: Health::default(),
    })
}

/// A Luau script that judges one source's frames.
///
/// A call that fails leaves the frame and the state as they were. After a time or memory limit the VM is dropped
/// and a new one is built, from the same text, by the next call. Repeated faults open the breaker.
pub struct LuaStrategy {
    script: Script,
    modules: Arc<Mutex<Modules>>,
    seat: Arc<Mutex<Seat>>,
    watchdog: Arc<Watchdog>,
    vm: Option<Vm>,
    breaker: Breaker,
    health: Health,
}

impl LuaStrategy {
    /// Bytes of the VM's memory; 0 while it waits to be rebuilt.
    pub fn used_memory(&self) -> usize {
        self.vm.as_ref().map_or(0, Vm::used_memory)
    }

    fn call(&mut self, view: &View<'_>) -> Result<Verdict, Fault> {
        let vm = match &mut self.vm {
            Some(vm) => vm,
            None => {
                let fresh = Vm::build(&self.script, Arc::clone(&self.seat), &self.modules, &self.watchdog)?;
                self.vm.insert(fresh)
            }
        };
        let call = vm.call(view, &self.script);
        self.health.slow += u64::from(call.spent.is_some_and(|spent| spent >= self.script.limits.call.soft_cpu));
        call.result?;
        let mut seat = lock(&self.seat);
        commit(&mut seat);
        Ok(std::mem::take(&mut seat.verdict))
    }
}

fn commit(seat: &mut Seat) {
    if !seat.writes.is_empty() {
        lock(&seat.space).commit(&mut seat.writes);
    }
}

impl Strategy for LuaStrategy {
    fn name(&self) -> &str {
        &self.script.name
    }

    fn judge(&mut self, view: &View<'_>) -> Result<Verdict, Fault> {
        let now = view.frame.pts_ns;
        if !self.breaker.admits(now) {
            self.health.skipped += 1;
            return Ok(Verdict::default());
        }
        self.health.calls += 1;
        let result = self.call(view);
        match &result {
            Ok(_) => self.breaker.succeeded(),
            Err(fault) => {
                if matches!(fault.kind, FaultKind::Time | FaultKind::Memory) {
                    self.vm = None;
                }
                self.health.faults[fault.kind as usize] += 1;
                self.health.last_fault = Some(fault.message.clone());
                if let Some(open_ns) = self.breaker.failed(now) {
                    let (strategy, source) = (self.script.name.as_str(), self.script.source.as_str());
                    let seconds = open_ns / 1_000_000_000;
                    tracing::warn!(strategy, source, seconds, "keeps failing, left out for a while: {fault}");
                }
            }
        }
        result
    }

    fn health(&self) -> Option<Health> {
        let seat = lock(&self.seat);
        let state_bytes = lock(&seat.space).bytes();
        Some(Health {
            breaker: self.breaker.state(),
            memory_bytes: self.used_memory(),
            state_bytes,
            log_lines_dropped: seat.log_lines_dropped,
            alerts_dropped: seat.alerts_dropped,
            messages_cut: seat.messages_cut,
            ..self.health.clone()
        })
    }
}
