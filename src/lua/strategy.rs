//! A script behind the Strategy seam: calls, state, replacement. Counting and the breaker are `strategy::Guarded`'s.

use std::sync::{Arc, Mutex};

use super::host::lock;
use super::require::Modules;
use super::script::Script;
use super::seat::Seat;
use super::vm::Vm;
use crate::error::{Code, Error};
use crate::guest::{Fault, FaultKind};
use crate::strategy::{Gauges, Guarded, Guest, Verdict, View};

/// A script as a strategy.
pub type LuaStrategy = Guarded<LuaGuest>;

/// Builds a strategy from a script: checks it, runs its top level, finds `detect`. Reads nothing but the modules
/// the script requires, and touches nothing outside its own VM, so that a strategy can be built beside the running
/// one and dropped without a trace.
///
/// # Errors
/// [`Code::Plugin`] with the script's own `file:line`.
pub fn load(script: Script) -> Result<LuaStrategy, Error> {
    script.check()?;
    let modules = Arc::new(Mutex::new(Modules::new(script.roots.clone(), script.home.limits.source_bytes)));
    let seat = Arc::new(Mutex::new(Seat::new(Arc::clone(&script.home.state))));
    let vm = Vm::build(&script, Arc::clone(&seat), &modules).map_err(|fault| {
        let error = Error::new(Code::Plugin, fault.message);
        match fault.kind {
            FaultKind::Time => error.hint("the top level of a script only sets things up; work belongs in detect"),
            _ => error,
        }
    })?;
    lock(&modules).closed = true;
    let on_failure = script.on_failure;
    Ok(Guarded::new(LuaGuest { script, modules, seat, vm: Some(vm), slow: 0 }, on_failure))
}

/// A Luau script that judges one source's frames.
///
/// A call that fails leaves the frame and the state as they were. After a time or memory limit the VM is dropped
/// and a new one is built, from the same text, by the next call.
pub struct LuaGuest {
    script: Script,
    modules: Arc<Mutex<Modules>>,
    seat: Arc<Mutex<Seat>>,
    vm: Option<Vm>,
    slow: u64,
}

impl LuaGuest {
    /// Bytes of the VM's memory; 0 while it waits to be rebuilt.
    pub fn used_memory(&self) -> usize {
        self.vm.as_ref().map_or(0, Vm::used_memory)
    }
}

fn commit(seat: &mut Seat) {
    if !seat.writes.is_empty() {
        lock(&seat.space).commit(&mut seat.writes);
    }
}

impl Guest for LuaGuest {
    fn name(&self) -> &str {
        &self.script.home.plugin
    }

    fn judge(&mut self, view: &View<'_>) -> Result<Verdict, Fault> {
        let vm = match &mut self.vm {
            Some(vm) => vm,
            None => self.vm.insert(Vm::build(&self.script, Arc::clone(&self.seat), &self.modules)?),
        };
        let call = vm.call(view, &self.script);
        self.slow += u64::from(call.spent.is_some_and(|spent| spent >= self.script.home.limits.call.soft_cpu));
        call.result?;
        let mut seat = lock(&self.seat);
        commit(&mut seat);
        Ok(std::mem::take(&mut seat.verdict))
    }

    fn discard(&mut self) {
        self.vm = None;
    }

    fn survives(&self, kind: FaultKind) -> bool {
        !matches!(kind, FaultKind::Time | FaultKind::Memory)
    }

    fn version(&self) -> &str {
        "0"
    }

    fn suspend(&mut self) -> Result<Vec<u8>, Fault> {
        Ok(Vec::new())
    }

    fn resume(&mut self, _from_version: &str, _state: &[u8]) -> Result<(), Fault> {
        Ok(())
    }

    fn gauges(&self) -> Gauges {
        let seat = lock(&self.seat);
        let state_bytes = lock(&seat.space).bytes();
        Gauges {
            memory_bytes: self.used_memory(),
            state_bytes,
            log_lines_dropped: self.script.home.log_lines_dropped(),
            alerts_dropped: seat.alerts_dropped,
            messages_cut: seat.messages_cut,
            slow: self.slow,
        }
    }
}
