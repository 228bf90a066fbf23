//! A script as a handler: one alert at a time, in order, on a thread that may block.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mlua::{MultiValue, Table, Value};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::http::Network;
use super::picture::Delivered;
use super::script::Script;
use super::script_host::ScriptHost;
use super::vm::{Call, Vm};
use crate::alert::{BoxFuture, Commands, DeliveryError, Handler, Pictures, Retry, Usage};
use crate::error::Error;
use crate::guest::http::Wire;
use crate::guest::{Fault, FaultKind};
use crate::telemetry::redact::redact;
use crate::types::Alert;

/// Builds a handler from a script: checks it, runs its top level, finds `handle_alert`. Requests go through `wire`; the
/// handler blocks on threads of `runtime`.
///
/// # Errors
/// [`crate::error::Code::Plugin`] with the script's own `file:line`.
pub fn handler(script: Script, wire: Arc<dyn Wire>, runtime: Handle) -> Result<LuaHandler, Error> {
    let network = Network { wire, runtime: runtime.clone() };
    let (script_host, vm) = ScriptHost::load(script, Some(network))?;
    let (name, version) = (Arc::clone(&script_host.script.context.plugin), Arc::clone(&script_host.version));
    let usage = Arc::default();
    let pictures = Arc::default();
    let instance = Instance { script_host, vm: Some(vm), usage: Arc::clone(&usage), pictures: Arc::clone(&pictures) };
    let instance = Arc::new(tokio::sync::Mutex::new(instance));
    Ok(LuaHandler { name, version, instance, runtime, usage, pictures })
}

/// A Luau script that delivers alerts.
///
/// A failed call leaves the state unchanged. After a time or memory limit the VM is dropped and the next call builds a
/// new one from the same text.
pub struct LuaHandler {
    name: Arc<str>,
    version: Arc<str>,
    /// Locked per delivery, so that one abandoned by its caller ends before the next begins.
    instance: Arc<tokio::sync::Mutex<Instance>>,
    runtime: Handle,
    usage: Arc<Mutex<Usage>>,
    /// The alerts' pictures, once it is in use.
    pictures: Arc<OnceLock<Pictures>>,
}

impl LuaHandler {
    /// Has it deliver an alert on this thread, for a trial; does nothing while it delivers another one.
    ///
    /// # Errors
    /// The script's fault, with its own `file:line`; what it says about the delivery is none.
    pub fn try_out(&self, alert: &Alert) -> Result<(), Fault> {
        let Ok(mut instance) = self.instance.try_lock() else { return Ok(()) };
        instance.call(alert).map(drop)
    }

    /// The script's version; `0` if it has none.
    pub fn version(&self) -> &str {
        &self.version
    }
}

impl Handler for LuaHandler {
    fn name(&self) -> &str {
        &self.name
    }

    /// The call ends by its own limits, and continues when the future is dropped.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    fn attach(&self, commands: Commands) {
        // A handler is attached once.
        let _ = self.pictures.set(commands.pictures().clone());
    }

    fn usage(&self) -> Option<Usage> {
        Some(*self.usage.lock())
    }

    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        let alert = alert.clone();
        Box::pin(async move {
            let mut instance = Arc::clone(&self.instance).lock_owned().await;
            match self.runtime.spawn_blocking(move || instance.deliver(&alert)).await {
                Ok(result) => result,
                Err(_) => Err(DeliveryError { message: "the delivery broke off".into(), retry: Retry::Later }),
            }
        })
    }
}

/// Delivers alerts with a VM.
struct Instance {
    script_host: ScriptHost,
    vm: Option<Vm>,
    usage: Arc<Mutex<Usage>>,
    pictures: Arc<OnceLock<Pictures>>,
}

impl Instance {
    fn deliver(&mut self, alert: &Alert) -> Result<(), DeliveryError> {
        let result = self.call(alert);
        {
            let state_bytes = self.script_host.script.context.state.lock().bytes();
            let mut usage = self.usage.lock();
            usage.memory_bytes = self.vm.as_ref().map_or(0, Vm::used_memory);
            usage.state_bytes = state_bytes;
            usage.log_lines_dropped = self.script_host.script.context.log_lines_dropped();
        }
        let settled = match result {
            Ok(outcome) => outcome.settle(),
            Err(fault) => {
                let retry = if fault.kind.is_limit() { Retry::Later } else { Retry::Fault };
                Err(DeliveryError { message: redact(&fault.message).into_owned(), retry })
            }
        };
        settled.map_err(|mut error| {
            self.script_host.script.context.mask(&mut error.message);
            error
        })
    }

    fn call(&mut self, alert: &Alert) -> Result<Outcome, Fault> {
        let vm = match &mut self.vm {
            Some(vm) => vm,
            None => self.vm.insert(self.script_host.vm()?),
        };
        let pictures = self.pictures.get().filter(|_| alert.picture);
        let delivered = pictures.map(|pictures| Delivered { pictures: pictures.clone(), alert: alert.clone().into() });
        self.script_host.script.context.observe(alert.pts_ns, alert.id.unix_ns());
        let Call { spent, result } = vm.deliver(alert, delivered, &self.script_host.script);
        let soft = self.script_host.script.context.limits.delivery.soft_cpu;
        self.usage.lock().slow += u64::from(spent.is_some_and(|spent| spent >= soft));
        let script = &self.script_host.script;
        let outcome = result.and_then(|values| {
            Outcome::of(values).map_err(|what| {
                let message = format!("{}: handle_alert {what}", script.file);
                script.masked(Fault { kind: FaultKind::Verdict, message })
            })
        });
        match &outcome {
            Ok(_) => self.script_host.commit(),
            Err(fault) if fault.kind.is_limit() => self.vm = None,
            Err(_) => {}
        }
        outcome
    }
}

/// The result of `handle_alert`.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// Delivered, or deliberately dropped.
    Settled,
    /// Try again, for this reason.
    Later(String),
    /// Try again after the delay that the receiver asks for, for this reason.
    After(String, Duration),
    /// The receiver refused it permanently, for this reason.
    Never(String),
    /// The receiver refused the login, for this reason.
    Login(String),
}

impl Outcome {
    /// Parses the return values of `handle_alert`.
    fn of(values: MultiValue) -> Result<Self, String> {
        let mut values = values.into_iter();
        let (first, second) = (values.next().unwrap_or(Value::Nil), values.next().unwrap_or(Value::Nil));
        let why = |fallback: &str| match &second {
            Value::String(text) => text.to_string_lossy(),
            _ => fallback.to_owned(),
        };
        Ok(match &first {
            Value::Nil if !second.is_nil() => Self::Later(why("the script says that it was not delivered")),
            Value::Nil | Value::Boolean(true) => Self::Settled,
            Value::Boolean(false) => Self::Later(why("the script says that it was not delivered")),
            Value::String(word) => match &*word.to_string_lossy() {
                "delivered" | "skipped" => Self::Settled,
                "retry" => Self::Later(why("the script asks for another try")),
                other => {
                    let other = &other[..other.floor_char_boundary(100)];
                    return Err(format!("returned '{other}', which is none of delivered, skipped, retry"));
                }
            },
            Value::Table(answer) => match answer.raw_get::<Option<f64>>("status") {
                Ok(Some(status)) => Self::of_status(status, patience(answer)),
                _ => return Err("returned a table that is no answer of http: it has no status".into()),
            },
            other => {
                let kind = other.type_name();
                return Err(format!("returned a {kind}; it returns nothing, true, false, a word or an answer of http"));
            }
        })
    }

    /// The same rule as the built-in webhook's; `patience` is the delay that the answer asks for.
    fn of_status(status: f64, patience: Option<Duration>) -> Self {
        let said = format!("the receiver answered {status}");
        if let (429 | 503, Some(patience)) = (status as u16, patience) {
            return Self::After(format!("{said}, and asks to wait {} s", patience.as_secs()), patience);
        }
        match status as u16 {
            200..=299 => Self::Settled,
            401 | 403 | 407 => Self::Login(said),
            408 | 425 | 429 => Self::Later(said),
            400..=499 => Self::Never(said),
            _ => Self::Later(said),
        }
    }

    fn settle(self) -> Result<(), DeliveryError> {
        let (message, retry) = match self {
            Self::Settled => return Ok(()),
            Self::Later(why) => (why, Retry::Later),
            Self::After(why, patience) => (why, Retry::After(patience)),
            Self::Never(why) => (why, Retry::Never),
            Self::Login(why) => (why, Retry::Login),
        };
        // A script may return megabytes.
        let message = redact(&message[..message.floor_char_boundary(1000)]).into_owned();
        Err(DeliveryError { message, retry })
    }
}

/// The delay in an answer's `retry-after`, in seconds; a date is left out, since a script has no clock.
fn patience(answer: &Table) -> Option<Duration> {
    let headers = answer.raw_get::<Option<Table>>("headers").ok()??;
    let text = headers.raw_get::<Option<String>>("retry-after").ok()??;
    let seconds = text.trim().parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds.ceil()).ok()
}
