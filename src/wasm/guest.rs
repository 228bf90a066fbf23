//! A component as a strategy: calls, state, replacement. `strategy::Guarded` does the counting and has the breaker.

use std::sync::Arc;

use wasmtime::{Store, component};

use super::bindings::dsengine::plugin::types::Seen;
use super::bindings::exports::dsengine::plugin::strategy::{Descriptor, Guest as Exports};
use super::convert::{self, Flat, LentAttributes, Shown, Trimmed};
use super::fault;
use super::program::{Inner, Template};
use super::sandbox::{CallError, Ended, Sandbox, answer, instantiate};
use super::store_data::{More, StoreData};
use crate::guest::{Fault, FaultKind, GuestContext};
use crate::strategy::{Gauges, Guest, Verdict, View};
use crate::types::Detection;

/// Maximum length of a plugin's version.
const VERSION_BYTES_MAX: usize = 64;

/// A component that judges one source's frames.
///
/// A failed call leaves the frame and the state unchanged. After a trap, a time or a memory limit the instance is
/// dropped and the next call creates a new one.
pub struct WasmGuest {
    program: Arc<Inner>,
    context: GuestContext,
    instance: Option<Instance>,
    version: String,
    trimmed: Trimmed,
    slow: u64,
    /// The buffer for a frame's detections, reused between calls.
    buffer: Vec<Seen>,
}

/// One initialised instance.
struct Instance {
    sandbox: Sandbox,
    exports: Exports,
    wants: Wants,
}

/// Which detections and fields it needs.
struct Wants {
    /// Labels; empty = all.
    labels: Vec<String>,
    /// Whether it filters each detection itself.
    selective: bool,
    /// Whether it needs more fields than the flat form has.
    more: bool,
}

impl Wants {
    fn label(&self, detection: &Detection) -> bool {
        self.labels.is_empty() || self.labels.iter().any(|label| **label == *detection.label)
    }
}

/// Looks up an instance's exports.
fn load(
    template: &Template,
    store: &mut Store<StoreData>,
    instance: &component::Instance,
) -> wasmtime::Result<Exports> {
    let indices = template.strategy().ok_or_else(|| wasmtime::Error::msg("it is no strategy"))?;
    indices.load(store, instance)
}

impl WasmGuest {
    /// Creates the first instance, so that a load failure is reported at once.
    pub(super) fn load(program: Arc<Inner>, context: GuestContext) -> Result<Self, Fault> {
        let (trimmed, version) = (Trimmed::default(), String::new());
        let mut guest = Self { program, context, instance: None, version, trimmed, slow: 0, buffer: Vec::new() };
        guest.renew()?;
        Ok(guest)
    }

    /// Creates and initialises a new instance, within the load limits.
    fn renew(&mut self) -> Result<&mut Instance, Fault> {
        let (program, context) = (&self.program, &self.context);
        let made = program.make(|template| {
            let mut sandbox = Sandbox::new(program, template, context, None)?;
            sandbox.store_data().call.loading = true;
            let (exports, about) = sandbox.enter(context.limits.load, |store| {
                let instance = instantiate(template, store)?;
                let exports = load(template, store, &instance).map_err(|e| CallError::Broke("load", e))?;
                let about = exports.call_describe(&mut *store).map_err(|e| CallError::Broke("describe", e))?;
                answer("init", exports.call_init(&mut *store))?;
                Ok((exports, about))
            })?;
            Ok((sandbox, exports, about))
        });
        let (mut sandbox, exports, about) = made.map_err(|ended| ended.fault)?;
        sandbox.store_data().call.loading = false;
        let Descriptor { name: _, mut version, needs_pixels: _, labels, selective } = about;
        if let Some(trial) = &context.trial
            && let Err(what) = trial.look_up(&labels)
        {
            trial.breaks();
            return Err(fault::of(FaultKind::Error, context, "describe", &what));
        }
        version.truncate(version.floor_char_boundary(VERSION_BYTES_MAX));
        sandbox.store_data().version = version.as_str().into();
        self.version = version;
        let wants = Wants { labels, selective, more: self.program.info().wants("detections") };
        Ok(self.instance.insert(Instance { sandbox, exports, wants }))
    }

    /// The instance; creates a new one if there is none.
    fn instance(&mut self) -> Result<&mut Instance, Fault> {
        if self.instance.is_none() {
            return self.renew();
        }
        self.instance.as_mut().ok_or_else(|| fault::of(FaultKind::Trap, &self.context, "load", "there is no instance"))
    }

    /// Handles the end of a failed call: drops an instance that broke.
    fn ended(&mut self, ended: Ended) -> Fault {
        if !ended.refused {
            self.instance = None;
        }
        ended.fault
    }
}

impl Guest for WasmGuest {
    fn name(&self) -> &str {
        &self.context.plugin
    }

    fn judge(&mut self, view: &View<'_>) -> Result<Verdict, Fault> {
        if *self.context.zones != *view.zones {
            self.context.zones = view.zones.into();
        }
        self.context.observe(view.frame.pts_ns, view.frame.captured_unix_ns);
        let zones = Arc::clone(&self.context.zones);
        let limits = self.context.limits.call;
        let buffer = std::mem::take(&mut self.buffer);
        let Instance { sandbox, exports, wants } = self.instance()?;
        let call = &mut sandbox.store_data().call;
        (call.pts_ns, call.captured_unix_ns) = (view.frame.pts_ns, view.frame.captured_unix_ns);
        (call.tracks, call.picture) = (Some(view.tracks.clone()), view.frame.picture.clone());
        call.zones = zones;
        let said = sandbox.enter(limits, |store| {
            let only = select(view, wants, exports, store)?;
            let all = &view.frame.detections;
            let more = if wants.more { Some(&mut store.data_mut().call.more) } else { None };
            let flat = match &only {
                None => hand(all.iter(), buffer, more),
                Some(only) => hand(only.iter().map(|index| &all[*index as usize]), buffer, more),
            };
            let frame = convert::to_frame(view.frame);
            let said = answer("judge", exports.call_judge(&mut *store, frame, &flat.labels, &flat.seen));
            Ok((said?, only, flat.seen))
        });
        let slow = sandbox.spent.is_some_and(|spent| spent >= self.context.limits.call.soft_cpu);
        self.slow += u64::from(slow);
        let (said, only, buffer) = said.map_err(|ended| ended.fault)?;
        self.buffer = buffer;
        let shown = Shown { count: view.frame.detections.len(), only: only.as_deref() };
        let mut verdict = convert::verdict(said, &shown, &self.context.limits, &mut self.trimmed)
            .map_err(|what| fault::of(FaultKind::Verdict, &self.context, "judge", &what))?;
        verdict.alerts.iter_mut().for_each(|alert| self.context.mask(&mut alert.message));
        if let Some(instance) = &mut self.instance {
            instance.sandbox.store_data().commit();
        }
        Ok(verdict)
    }

    fn discard(&mut self) {
        self.instance = None;
    }

    fn survives(&self, kind: FaultKind) -> bool {
        matches!(kind, FaultKind::Error | FaultKind::Verdict)
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn suspend(&mut self) -> Result<Vec<u8>, Fault> {
        let (limits, most) = (self.context.limits.call, self.context.limits.state_bytes);
        let Some(Instance { sandbox, exports, .. }) = &mut self.instance else { return Ok(Vec::new()) };
        sandbox.store_data().call.suspending = true;
        let handed = sandbox
            .enter(limits, |store| exports.call_suspend(&mut *store).map_err(|e| CallError::Broke("suspend", e)));
        sandbox.store_data().call.suspending = false;
        match handed {
            Ok(handed) if handed.len() > most => {
                let what = format!("hands over {} bytes, the limit is {most}", handed.len());
                Err(fault::of(FaultKind::Verdict, &self.context, "suspend", &what))
            }
            Ok(handed) => Ok(handed),
            Err(ended) => Err(self.ended(ended)),
        }
    }

    fn resume(&mut self, from_version: &str, state: &[u8]) -> Result<(), Fault> {
        let limits = self.context.limits.load;
        let Instance { sandbox, exports, .. } = self.instance()?;
        sandbox.store_data().call.timeless = true;
        let taken =
            sandbox.enter(limits, |store| answer("resume", exports.call_resume(&mut *store, from_version, state)));
        sandbox.store_data().call.timeless = false;
        match taken {
            Ok(()) => {
                sandbox.store_data().take_over();
                Ok(())
            }
            Err(ended) => Err(self.ended(ended)),
        }
    }

    fn gauges(&self) -> Gauges {
        Gauges {
            memory_bytes: self.instance.as_ref().map_or(0, |instance| instance.sandbox.data().bounds.memory),
            state_bytes: self.context.state.lock().bytes(),
            log_lines_dropped: self.context.log_lines_dropped(),
            alerts_dropped: self.trimmed.alerts_dropped,
            messages_cut: self.trimmed.messages_cut,
            slow: self.slow,
        }
    }
}

/// Converts detections to the flat form; keeps the other fields in the store for a guest that asks for them.
fn hand<'a>(
    detections: impl Iterator<Item = &'a Detection> + Clone,
    buffer: Vec<Seen>,
    more: Option<&mut Vec<More>>,
) -> Flat<'a> {
    if let Some(more) = more {
        more.extend(detections.clone().map(|d| More { bbox: d.bbox, attributes: d.attributes.clone() }));
    }
    Flat::of(detections, buffer)
}

/// Indices of the detections that the guest wants; `None` = all.
fn select(
    view: &View<'_>,
    wants: &Wants,
    exports: &Exports,
    store: &mut wasmtime::Store<StoreData>,
) -> Result<Option<Vec<u32>>, CallError> {
    let all = &view.frame.detections;
    if !wants.selective && all.iter().all(|d| wants.label(d)) {
        return Ok(None);
    }
    let mut only = Vec::with_capacity(all.len());
    for (index, detection) in all.iter().enumerate().filter(|(_, d)| wants.label(d)) {
        if wants.selective {
            let lent = LentAttributes::of(std::iter::once(detection));
            for shown in lent.detections(std::iter::once(detection)) {
                let wanted = exports.call_should_process(&mut *store, shown);
                if wanted.map_err(|e| CallError::Broke("should-process", e))? {
                    only.push(index as u32);
                }
            }
        } else {
            only.push(index as u32);
        }
    }
    Ok(Some(only))
}
