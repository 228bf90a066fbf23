//! One instance with its time budget and its store. All calls go through this type.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Instance;
use wasmtime::{PoolConcurrencyLimitError, Store, UpdateDeadline};

use super::bindings::dsengine::plugin::types::Error as Refusal;
use super::engine::Ticking;
use super::fault::{self, Failed, Stopped};
use super::program::{Inner, Template};
use super::store_data::StoreData;
use crate::error::Error;
use crate::guest::http::Wire;
use crate::guest::{Budget, Fault, FaultKind, GuestContext, TimeLimits};

/// Maximum bytes that a guest may pass at once: a verdict with all its texts, a line, a body.
const HANDED_BYTES_MAX: usize = 8 << 20;
/// Extra bytes for the rest of a call, if the configured state limit is larger than that.
const HANDED_SPARE: usize = 64 << 10;

/// Why a call of an export failed.
pub(super) enum CallError {
    /// It trapped or was stopped.
    Broke(&'static str, wasmtime::Error),
    /// It returned an error.
    Refused(&'static str, Refusal),
}

/// Converts the result of a call.
pub(super) fn answer<T>(export: &'static str, result: wasmtime::Result<Result<T, Refusal>>) -> Result<T, CallError> {
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(refusal)) => Err(CallError::Refused(export, refusal)),
        Err(error) => Err(CallError::Broke(export, error)),
    }
}

/// A fault and how the call ended.
pub(super) struct Ended {
    pub(super) fault: Fault,
    /// Whether the guest itself returned an error.
    pub(super) refused: bool,
    /// Whether the pool was full: no guest code has run.
    pub(super) full: bool,
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        let fault = Fault { kind: FaultKind::Error, message: error.message().to_owned() };
        Self { fault, refused: false, full: false }
    }
}

pub(super) struct Sandbox {
    store: Store<StoreData>,
    budget: Budget,
    ticking: Ticking,
    /// The limits of the current call.
    time: TimeLimits,
    /// The runtime for file reads.
    files: Option<tokio::runtime::Handle>,
    /// CPU time of the last call, if it was long enough to be measured.
    pub(super) spent: Option<Duration>,
}

impl Sandbox {
    /// Prepares a store for an instance of the program. The first [`Sandbox::enter`] runs its first code.
    pub(super) fn new(
        program: &Inner,
        template: &Template,
        context: &GuestContext,
        wire: Option<Arc<dyn Wire>>,
    ) -> Result<Self, Error> {
        let limits = &context.limits;
        let budget = context.watchdog.budget();
        let time = limits.load;
        let reads = !context.grants.has.files.is_empty();
        let files = if reads { program.shared.files() } else { None };
        let store_data = StoreData::new(context.clone(), budget.interrupt(time), wire)?;
        let mut store = Store::new(template.pre.engine(), store_data);
        store.limiter(|store_data| &mut store_data.bounds);
        store.set_hostcall_fuel(handed_max(context));
        store.epoch_deadline_callback(|context| match context.data().interrupt.check() {
            None => Ok(UpdateDeadline::Continue(1)),
            Some(_) => Err(Stopped.into()),
        });
        let ticking = program.shared.ticker.register();
        Ok(Self { store, budget, ticking, time, files, spent: None })
    }

    /// The host's data of the instance.
    pub(super) fn store_data(&mut self) -> &mut StoreData {
        self.store.data_mut()
    }

    /// As [`Sandbox::store_data`], read-only.
    pub(super) fn data(&self) -> &StoreData {
        self.store.data()
    }

    /// Runs guest code within `limits`. The store's data then has the call's writes, for the caller to commit.
    pub(super) fn enter<R>(
        &mut self,
        limits: TimeLimits,
        work: impl FnOnce(&mut Store<StoreData>) -> Result<R, CallError>,
    ) -> Result<R, Ended> {
        if self.time != limits {
            self.time = limits;
            self.store.data_mut().interrupt = self.budget.interrupt(limits);
        }
        self.store.data_mut().start(limits);
        self.store.set_epoch_deadline(1);
        let result = {
            let _files = self.files.as_ref().map(tokio::runtime::Handle::enter);
            let _tick = self.ticking.start();
            self.budget.start();
            work(&mut self.store)
        };
        let (spent, over) = self.budget.end();
        self.spent = spent;
        let store_data = self.store.data_mut();
        store_data.end();
        let context = &store_data.context;
        match result {
            Ok(value) if over.is_none() => Ok(value),
            Ok(_) => {
                let error = Stopped.into();
                Err(self.broke("call", &error, over))
            }
            Err(CallError::Refused(export, Refusal { code: _, message })) if over.is_none() => {
                let fault = fault::of(FaultKind::Error, context, export, &message);
                Err(Ended { fault, refused: true, full: false })
            }
            Err(CallError::Refused(export, _)) => {
                let error = Stopped.into();
                Err(self.broke(export, &error, over))
            }
            Err(CallError::Broke(export, error)) => Err(self.broke(export, &error, over)),
        }
    }

    fn broke(&self, export: &str, error: &wasmtime::Error, over: Option<crate::guest::Overrun>) -> Ended {
        let store_data = self.store.data();
        let failed = Failed {
            context: &store_data.context,
            export,
            error,
            over,
            time: self.time,
            denied: store_data.bounds.denied,
            stderr_text: store_data.output.stderr_text(),
            handed_max: handed_max(&store_data.context),
        };
        Ended { fault: failed.fault(), refused: false, full: error.is::<PoolConcurrencyLimitError>() }
    }
}

fn handed_max(context: &GuestContext) -> usize {
    HANDED_BYTES_MAX.max(context.limits.state_bytes.saturating_add(HANDED_SPARE))
}

/// Creates the instance; its start functions run here, within the call.
pub(super) fn instantiate(template: &Template, store: &mut Store<StoreData>) -> Result<Instance, CallError> {
    template.pre.instantiate(store).map_err(|e| CallError::Broke("start", e))
}
