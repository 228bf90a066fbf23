//! A script as a strategy: calls, state, replacement. `strategy::Guarded` does the counting and has the breaker.

use super::script::Script;
use super::script_host::ScriptHost;
use super::vm::Vm;
use crate::error::Error;
use crate::guest::{Fault, FaultKind};
use crate::strategy::{Gauges, Guarded, Guest, Verdict, View};

/// A script as a strategy.
pub type LuaStrategy = Guarded<LuaGuest>;

/// Builds a strategy from a script: checks it, runs its top level, finds `detect`. Reads only the modules and files
/// that the script requests, and changes nothing outside its own VM, so that a strategy can be built while another runs
/// and be dropped without a trace.
///
/// # Errors
/// [`crate::error::Code::Plugin`] with the script's own `file:line`.
pub fn load(script: Script) -> Result<LuaStrategy, Error> {
    let on_failure = script.on_failure;
    let (script_host, vm) = ScriptHost::load(script, None)?;
    Ok(Guarded::new(LuaGuest { script_host, vm: Some(vm), slow: 0 }, on_failure))
}

/// A Luau script that judges one source's frames.
///
/// A failed call leaves the frame and the state unchanged. After a time or memory limit the VM is dropped and the next
/// call builds a new one from the same text.
pub struct LuaGuest {
    script_host: ScriptHost,
    vm: Option<Vm>,
    slow: u64,
}

impl LuaGuest {
    /// Bytes of the VM's memory; 0 if it is to be rebuilt.
    pub fn used_memory(&self) -> usize {
        self.vm.as_ref().map_or(0, Vm::used_memory)
    }
}

impl Guest for LuaGuest {
    fn name(&self) -> &str {
        &self.script_host.script.context.plugin
    }

    fn judge(&mut self, view: &View<'_>) -> Result<Verdict, Fault> {
        let vm = match &mut self.vm {
            Some(vm) => vm,
            None => self.vm.insert(self.script_host.vm()?),
        };
        self.script_host.script.context.observe(view.frame.pts_ns, view.frame.captured_unix_ns);
        let call = vm.judge(view, &self.script_host.script);
        self.slow +=
            u64::from(call.spent.is_some_and(|spent| spent >= self.script_host.script.context.limits.call.soft_cpu));
        call.result?;
        let mut call_state = self.script_host.call_state().lock();
        call_state.commit();
        let mut verdict = std::mem::take(&mut call_state.verdict);
        verdict.alerts.iter_mut().for_each(|alert| self.script_host.script.context.mask(&mut alert.message));
        Ok(verdict)
    }

    fn discard(&mut self) {
        self.vm = None;
    }

    fn survives(&self, kind: FaultKind) -> bool {
        !kind.is_limit()
    }

    fn version(&self) -> &str {
        &self.script_host.version
    }

    fn suspend(&mut self) -> Result<Vec<u8>, Fault> {
        // A dropped instance has nothing to hand over; one that hits a limit now is dropped, too.
        let Some(vm) = &mut self.vm else { return Ok(Vec::new()) };
        let result = vm.suspend(&self.script_host.script);
        self.keep_or_drop(result)
    }

    fn resume(&mut self, from_version: &str, state: &[u8]) -> Result<(), Fault> {
        let differs = from_version != &*self.script_host.version;
        let vm = match &mut self.vm {
            Some(vm) => vm,
            None => self.vm.insert(self.script_host.vm()?),
        };
        let result = vm.resume(&self.script_host.script, differs, from_version, state);
        self.keep_or_drop(result)?;
        self.script_host.call_state().lock().take_over();
        Ok(())
    }

    fn raised_at(&self, alert: usize) -> Option<String> {
        let call_state = self.script_host.call_state().lock();
        call_state.lines.get(alert)?.as_ref().map(|(file, line)| format!("{file}:{line}"))
    }

    fn gauges(&self) -> Gauges {
        let call_state = self.script_host.call_state().lock();
        let state_bytes = call_state.space.lock().bytes();
        Gauges {
            memory_bytes: self.used_memory(),
            state_bytes,
            log_lines_dropped: self.script_host.script.context.log_lines_dropped(),
            alerts_dropped: call_state.alerts_dropped,
            messages_cut: call_state.messages_cut,
            slow: self.slow,
        }
    }
}

impl LuaGuest {
    /// Drops the VM after a limit, which may have interrupted it anywhere.
    fn keep_or_drop<T>(&mut self, result: Result<T, Fault>) -> Result<T, Fault> {
        if result.as_ref().is_err_and(|fault| !self.survives(fault.kind)) {
            self.vm = None;
        }
        result
    }
}
