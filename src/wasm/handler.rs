//! A component as a handler. Each delivery runs on a thread that may block; there is one instance per handler.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use wasmtime::{Store, component};

use super::bindings::exports::dsengine::plugin::handler::{Descriptor, Guest as Exports, Outcome};
use super::convert::{self, LentAttributes};
use super::fault;
use super::program::{Inner, Template};
use super::sandbox::{CallError, Ended, Sandbox, answer, instantiate};
use super::store_data::StoreData;
use crate::alert::{BoxFuture, DeliveryError, Handler, Retry, Usage};
use crate::guest::http::Wire;
use crate::guest::{Fault, FaultKind, GuestContext};
use crate::types::Alert;

/// A component that delivers alerts.
pub struct WasmHandler {
    plugin: Arc<Plugin>,
    runtime: tokio::runtime::Handle,
    /// The instance; `None` after it broke, until the next delivery. Only this handler's own deliveries wait for the
    /// lock.
    instance: Arc<tokio::sync::Mutex<Option<Instance>>>,
    version: String,
}

/// The shared inputs of its instances.
struct Plugin {
    program: Arc<Inner>,
    context: GuestContext,
    wire: Arc<dyn Wire>,
    usage: parking_lot::Mutex<Usage>,
}

/// One initialised instance.
struct Instance {
    sandbox: Sandbox,
    exports: Exports,
}

impl WasmHandler {
    /// Creates the first instance, so that a load failure is reported at once.
    pub(super) fn load(
        program: Arc<Inner>,
        context: GuestContext,
        wire: Arc<dyn Wire>,
        runtime: tokio::runtime::Handle,
    ) -> Result<Self, Fault> {
        let plugin = Arc::new(Plugin { program, context, wire, usage: Default::default() });
        let (instance, version) = plugin.instance(0)?;
        Ok(Self { plugin, runtime, instance: Arc::new(tokio::sync::Mutex::new(Some(instance))), version })
    }

    /// Has it deliver an alert on this thread, for a trial; does nothing while it delivers another one.
    ///
    /// # Errors
    /// The component's fault; an error that it returns is one, too.
    pub fn try_out(&self, alert: &Alert) -> Result<(), Fault> {
        let Ok(mut slot) = self.instance.try_lock() else { return Ok(()) };
        let mut instance = match slot.take() {
            Some(instance) => instance,
            None => self.plugin.instance(alert.pts_ns)?.0,
        };
        let called = self.plugin.call(&mut instance, alert);
        if called.as_ref().err().is_none_or(|ended| ended.refused) {
            *slot = Some(instance);
        }
        called.map(drop).map_err(|ended| ended.fault)
    }

    /// The component's version.
    pub fn version(&self) -> &str {
        &self.version
    }
}

/// Looks up an instance's exports.
fn load(
    template: &Template,
    store: &mut Store<StoreData>,
    instance: &component::Instance,
) -> wasmtime::Result<Exports> {
    let indices = template.handler().ok_or_else(|| wasmtime::Error::msg("it is no handler"))?;
    indices.load(store, instance)
}

impl Plugin {
    /// Creates and initialises a new instance within the load limits; returns it with its version.
    fn instance(&self, pts_ns: u64) -> Result<(Instance, String), Fault> {
        let made = self.program.make(|template| {
            let mut sandbox = Sandbox::new(&self.program, template, &self.context, Some(Arc::clone(&self.wire)))?;
            let call = &mut sandbox.store_data().call;
            (call.loading, call.pts_ns) = (true, pts_ns);
            let (exports, about) = sandbox.enter(self.context.limits.load, |store| {
                let instance = instantiate(template, store)?;
                let exports = load(template, store, &instance).map_err(|e| CallError::Broke("load", e))?;
                let about = exports.call_describe(&mut *store).map_err(|e| CallError::Broke("describe", e))?;
                answer("init", exports.call_init(&mut *store))?;
                Ok((exports, about))
            })?;
            Ok((sandbox, exports, about))
        });
        let (mut sandbox, exports, Descriptor { name: _, version }) = made.map_err(|ended| ended.fault)?;
        sandbox.store_data().call.loading = false;
        sandbox.store_data().version = version.as_str().into();
        Ok((Instance { sandbox, exports }, version))
    }

    /// Calls the instance, and commits what it wrote if it succeeds.
    fn call(&self, instance: &mut Instance, alert: &Alert) -> Result<Outcome, Ended> {
        let Instance { sandbox, exports } = instance;
        self.context.observe(alert.pts_ns, alert.id.unix_ns());
        let call = &mut sandbox.store_data().call;
        (call.pts_ns, call.captured_unix_ns) = (alert.pts_ns, alert.id.unix_ns());
        let lent = LentAttributes::of(alert.detections.iter());
        let detections = lent.detections(alert.detections.iter());
        let said = sandbox.enter(self.context.limits.delivery, |store| {
            let alert = convert::to_alert(alert, &detections);
            answer("handle-alert", exports.call_handle_alert(&mut *store, alert))
        });
        {
            let mut usage = self.usage.lock();
            usage.slow += u64::from(sandbox.spent.is_some_and(|spent| spent >= self.context.limits.delivery.soft_cpu));
            usage.memory_bytes = sandbox.data().bounds.memory;
        }
        let outcome = said?;
        sandbox.store_data().commit();
        Ok(outcome)
    }

    /// Delivers on the calling thread, which may block.
    fn deliver(&self, mut slot: OwnedMutexGuard<Option<Instance>>, alert: &Alert) -> Result<(), DeliveryError> {
        let later = |fault: Fault| DeliveryError { message: fault.message, retry: Retry::Later };
        // Taken out during the call: an instance that breaks is not put back.
        let mut instance = match slot.take() {
            Some(instance) => instance,
            None => self.instance(alert.pts_ns).map_err(later)?.0,
        };
        let result = match self.call(&mut instance, alert) {
            Ok(Outcome::Delivered | Outcome::Skipped) => Ok(()),
            Ok(Outcome::Retry) => {
                let fault = fault::of(FaultKind::Error, &self.context, "handle-alert", "wants another try");
                Err(later(fault))
            }
            Err(Ended { fault, refused: true, .. }) => {
                Err(DeliveryError { message: fault.message, retry: Retry::Never })
            }
            Err(Ended { fault, refused: false, .. }) => {
                let retry = if fault.kind.is_limit() { Retry::Later } else { Retry::Fault };
                return Err(DeliveryError { message: fault.message, retry });
            }
        };
        *slot = Some(instance);
        result
    }
}

impl Handler for WasmHandler {
    fn name(&self) -> &str {
        &self.plugin.context.plugin
    }

    /// The call ends by its own limits, and continues when the future is dropped.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    fn usage(&self) -> Option<Usage> {
        let context = &self.plugin.context;
        let state_bytes = context.state.lock().bytes();
        Some(Usage { state_bytes, log_lines_dropped: context.log_lines_dropped(), ..*self.plugin.usage.lock() })
    }

    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(async move {
            let slot = Arc::clone(&self.instance).lock_owned().await;
            let (plugin, alert) = (Arc::clone(&self.plugin), alert.clone());
            let work = self.runtime.spawn_blocking(move || plugin.deliver(slot, &alert));
            work.await.unwrap_or_else(|e| {
                let message = format!("{}: the delivery broke off: {e}", self.plugin.context.plugin);
                Err(DeliveryError { message, retry: Retry::Later })
            })
        })
    }
}
