//! What stays when a VM goes: the script, what it read, its seat. New VMs are built from it, from the same bytes.

use std::sync::Arc;

use parking_lot::Mutex;

use super::files::Files;
use super::host::Host;
use super::http::Outside;
use super::require::Modules;
use super::script::Script;
use super::seat::Seat;
use super::vm::Vm;
use crate::error::{Code, Error};
use crate::guest::{Fault, FaultKind};

/// A script and all that outlives its VM.
pub(super) struct Place {
    pub(super) script: Script,
    pub(super) version: Arc<str>,
    host: Host,
}

impl Place {
    /// Checks a script and builds its first VM. A handler's has a way out.
    ///
    /// # Errors
    /// [`Code::Plugin`] with the script's own `file:line`.
    pub(super) fn load(script: Script, outside: Option<Outside>) -> Result<(Self, Vm), Error> {
        let said = script.check()?;
        let home = script.home.clone();
        let version = home.version.clone().unwrap_or_else(|| said.into());
        let host = Host {
            seat: Arc::new(Mutex::new(Seat::new(Arc::clone(&home.state)))),
            modules: Arc::new(Mutex::new(Modules::new(script.roots.clone(), &home))),
            files: Arc::new(Mutex::new(Files::new(&home))),
            home,
            outside,
        };
        let work = if host.outside.is_some() { "handle_alert" } else { "detect" };
        let place = Self { script, version, host };
        let vm = place.vm().map_err(|fault| {
            let error = Error::new(Code::Plugin, fault.message);
            match fault.kind {
                FaultKind::Time => {
                    error.hint(format!("the top level of a script only sets things up; work belongs in {work}"))
                }
                _ => error,
            }
        })?;
        place.host.modules.lock().closed = true;
        place.host.files.lock().closed = true;
        Ok((place, vm))
    }

    /// A new VM.
    pub(super) fn vm(&self) -> Result<Vm, Fault> {
        Vm::build(&self.script, &self.host)
    }

    /// The seat.
    pub(super) fn seat(&self) -> &Mutex<Seat> {
        &self.host.seat
    }

    /// Takes in what a call that succeeded wrote.
    pub(super) fn commit(&self) {
        let mut seat = self.seat().lock();
        seat.commit();
    }
}
