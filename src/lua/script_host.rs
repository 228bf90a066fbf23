//! The part of a script that outlives its VM: the script, the files it read, the state of its calls. New VMs are built
//! from it, from the same bytes.

use std::sync::Arc;

use parking_lot::Mutex;

use super::call_state::CallState;
use super::files::Files;
use super::host::Host;
use super::http::Network;
use super::require::Modules;
use super::script::Script;
use super::vm::Vm;
use crate::error::{Code, Error};
use crate::guest::{Fault, FaultKind};

/// A script and everything that outlives its VM.
pub(super) struct ScriptHost {
    pub(super) script: Script,
    pub(super) version: Arc<str>,
    host: Host,
}

impl ScriptHost {
    /// Checks a script and builds its first VM; `network` is a handler's network access.
    ///
    /// # Errors
    /// [`Code::Plugin`] with the script's own `file:line`.
    pub(super) fn load(mut script: Script, network: Option<Network>) -> Result<(Self, Vm), Error> {
        let said = script.check()?;
        let context = script.context.clone();
        let version = context.version.clone().unwrap_or_else(|| said.into());
        let host = Host {
            call_state: Arc::new(Mutex::new(CallState::new(Arc::clone(&context.state), Arc::clone(&version)))),
            modules: Arc::new(Mutex::new(Modules::new(script.roots.clone(), &context))),
            files: Arc::new(Mutex::new(Files::new(&context))),
            context,
            network,
        };
        let work = if host.network.is_some() { "handle_alert" } else { "detect" };
        let script_host = Self { script, version, host };
        let vm = script_host.vm().map_err(|fault| {
            let error = Error::new(Code::Plugin, fault.message);
            match fault.kind {
                FaultKind::Time => {
                    error.hint(format!("the top level of a script only sets things up; work belongs in {work}"))
                }
                _ => error,
            }
        })?;
        script_host.host.modules.lock().closed = true;
        script_host.host.files.lock().closed = true;
        Ok((script_host, vm))
    }

    /// Builds a new VM.
    pub(super) fn vm(&self) -> Result<Vm, Fault> {
        Vm::build(&self.script, &self.host)
    }

    pub(super) fn call_state(&self) -> &Mutex<CallState> {
        &self.host.call_state
    }

    /// Commits the writes of a successful call.
    pub(super) fn commit(&self) {
        let mut call_state = self.call_state().lock();
        call_state.commit();
    }
}
