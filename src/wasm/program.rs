//! A compiled component that fits this engine, from which instances are created.

use std::sync::{Arc, OnceLock};

use wasmtime::component::InstancePre;

use super::bindings::exports::dsengine::plugin::{handler, strategy};
use super::guest::WasmGuest;
use super::handler::WasmHandler;
use super::host::Shared;
use super::sandbox::Ended;
use super::store_data::StoreData;
use super::{ComponentInfo, World};
use crate::config::OnFailure;
use crate::error::{Code, Error};
use crate::guest::http::Wire;
use crate::guest::{Fault, FaultKind, GuestContext};
use crate::strategy::Guarded;

/// A compiled component. Cheap to clone; instances share its code.
#[derive(Clone)]
pub struct Program {
    inner: Arc<Inner>,
}

/// The state shared by a program's clones.
pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    first: Template,
    /// For instances that find the pool full; created on first use.
    spare: OnceLock<Option<Template>>,
    info: ComponentInfo,
}

/// A template for instances, in one of the engines.
pub(super) struct Template {
    pub(super) pre: InstancePre<StoreData>,
    exports: Exports,
}

/// The indices of its exports.
enum Exports {
    Strategy(strategy::GuestIndices),
    Handler(handler::GuestIndices),
}

impl Template {
    fn new(world: World, pre: InstancePre<StoreData>) -> wasmtime::Result<Self> {
        let exports = match world {
            World::Strategy => Exports::Strategy(strategy::GuestIndices::new(&pre)?),
            World::Handler => Exports::Handler(handler::GuestIndices::new(&pre)?),
        };
        Ok(Self { pre, exports })
    }

    /// The indices of a strategy's exports.
    pub(super) fn strategy(&self) -> Option<&strategy::GuestIndices> {
        if let Exports::Strategy(indices) = &self.exports { Some(indices) } else { None }
    }

    /// The indices of a handler's exports.
    pub(super) fn handler(&self) -> Option<&handler::GuestIndices> {
        if let Exports::Handler(indices) = &self.exports { Some(indices) } else { None }
    }
}

impl Inner {
    /// Runs `work` with the pooled template, and if the pool is full, with the on-demand one.
    pub(super) fn make<T>(&self, mut work: impl FnMut(&Template) -> Result<T, Ended>) -> Result<T, Ended> {
        match work(&self.first) {
            Err(Ended { full: true, fault, .. }) => match self.spare() {
                Some(spare) => work(spare),
                None => Err(Ended { fault, refused: false, full: true }),
            },
            done => done,
        }
    }

    fn spare(&self) -> Option<&Template> {
        let make = || {
            let made = self.shared.spare(self.first.pre.component());
            let made = made.and_then(|pre| pre.map(|pre| Template::new(self.info.world, pre)).transpose());
            made.unwrap_or_else(|error| {
                tracing::warn!("components beyond the pool's instances cannot be made: {error:#}");
                None
            })
        };
        self.spare.get_or_init(make).as_ref()
    }

    /// The result of inspecting the component.
    pub(super) fn info(&self) -> &ComponentInfo {
        &self.info
    }
}

impl Program {
    pub(super) fn new(shared: Arc<Shared>, info: ComponentInfo, pre: InstancePre<StoreData>) -> Result<Self, Error> {
        let first = Template::new(info.world, pre).map_err(|e| Error::new(Code::Plugin, format!("{e:#}")))?;
        Ok(Self { inner: Arc::new(Inner { shared, first, spare: OnceLock::new(), info }) })
    }

    /// The result of inspecting the component.
    pub fn info(&self) -> &ComponentInfo {
        &self.inner.info
    }

    /// A strategy for one source: an initialised instance. Runs on the calling thread, within the load limits; affects
    /// only its own memory, so that it can be dropped without a trace.
    ///
    /// # Errors
    /// [`Code::Plugin`], as `plugin:export: message`: it is not a strategy, needs what is not granted, refuses, traps,
    /// or times out.
    pub fn strategy(&self, context: GuestContext, on_failure: OnFailure) -> Result<Guarded<WasmGuest>, Error> {
        if self.inner.first.strategy().is_none() {
            return Err(self.is_none(&context, World::Strategy));
        }
        self.granted(&context)?;
        let guest = WasmGuest::load(Arc::clone(&self.inner), context).map_err(error)?;
        Ok(Guarded::new(guest, on_failure))
    }

    /// A handler: an initialised instance that reaches the network through `wire` and blocks on threads of `runtime`.
    /// Loading is as in [`Program::strategy`].
    ///
    /// # Errors
    /// As [`Program::strategy`].
    pub fn handler(
        &self,
        context: GuestContext,
        wire: Arc<dyn Wire>,
        runtime: tokio::runtime::Handle,
    ) -> Result<WasmHandler, Error> {
        if self.inner.first.handler().is_none() {
            return Err(self.is_none(&context, World::Handler));
        }
        self.granted(&context)?;
        WasmHandler::load(Arc::clone(&self.inner), context, wire, runtime).map_err(error)
    }

    fn is_none(&self, context: &GuestContext, wanted: World) -> Error {
        Error::new(
            Code::Plugin,
            format!("{}: the component is a {}, not a {wanted}", context.plugin, self.inner.info.world),
        )
    }

    /// Checks that everything it imports is granted.
    fn granted(&self, context: &GuestContext) -> Result<(), Error> {
        let (info, has) = (&self.inner.info, &context.grants.has);
        let lacks = [
            ("shared-state", has.shared_state, "state over all sources", "shared_state: true"),
            ("pixels", has.pixels, "pixels", "pixels: true"),
        ];
        match lacks.into_iter().find(|(interface, granted, ..)| info.wants(interface) && !granted) {
            None => Ok(()),
            Some((_, _, what, key)) => {
                let message =
                    format!("{} imports {what}, which it has not asked for or is not granted", context.plugin);
                Err(Error::new(Code::Plugin, message).hint(format!(
                    "ask for it in plugin.toml, where there is one, and grant it in the configuration, beside its name: grants: {{{key}}}"
                )))
            }
        }
    }
}

/// The error for a plugin that could not be loaded.
fn error(fault: Fault) -> Error {
    let error = Error::new(Code::Plugin, fault.message);
    match fault.kind {
        FaultKind::Time => error.hint("init only sets things up; work belongs into the calls"),
        _ => error,
    }
}
