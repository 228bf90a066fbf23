//! The host's data of one instance: its context, its bounds, the current frame.

use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::random::WasiRandomCtx;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};

use super::engine::{CORE_INSTANCES_MAX, TABLE_ELEMENTS_MAX};
use super::wasi::{Output, RandomSource};
use crate::error::{Code, Error};
use crate::guest::http::Wire;
use crate::guest::{GuestContext, Interrupt, Severity, TimeLimits, Writes};
use crate::track::Tracks;
use crate::types::{Attributes, BBox, Picture, SourceId, Zone};

/// Maximum host resources that a guest holds at a time: streams, images, waits.
const RESOURCES_MAX: usize = 1024;

pub(super) struct StoreData {
    pub(super) context: GuestContext,
    pub(super) bounds: Bounds,
    /// The handle to its time budget, with the limits of the current call.
    pub(super) interrupt: Interrupt,
    pub(super) call: Call,
    /// The call's writes to its state; committed when it succeeds.
    pub(super) writes: Writes,
    /// The component's version, which marks what it writes.
    pub(super) version: Arc<str>,
    pub(super) table: ResourceTable,
    pub(super) wasi: WasiCtx,
    pub(super) random_source: RandomSource,
    pub(super) output: Output,
    /// The network, for a handler.
    pub(super) wire: Option<Arc<dyn Wire>>,
}

/// The data of one call.
#[derive(Default)]
pub(super) struct Call {
    /// Whether the guest is loading: state is read-only, so that loading has no effects.
    pub(super) loading: bool,
    /// Whether the guest is handing over: state is read-only, since its successor may be rejected.
    pub(super) suspending: bool,
    /// Whether there is no current frame, and so no time to count from.
    pub(super) timeless: bool,
    /// Frame time; for a handler, its alert's.
    pub(super) pts_ns: u64,
    /// Wall-clock time of capture.
    pub(super) captured_unix_ns: u64,
    pub(super) zones: Arc<[Zone]>,
    pub(super) tracks: Option<Tracks>,
    /// Fields of the detections that are fetched on demand; empty for a guest that does not import them.
    pub(super) more: Vec<More>,
    pub(super) picture: Option<Picture>,
    /// The number of the call, so that a resource of one call is not used in another.
    pub(super) number: u64,
    /// HTTP requests sent.
    pub(super) requests: u32,
    /// The call's deadline on the clock of [`now_ns`].
    pub(super) until_ns: u64,
}

/// The fields of a detection that the flat form does not have.
pub(super) struct More {
    pub(super) bbox: BBox,
    pub(super) attributes: Attributes,
}

impl StoreData {
    /// The store's data for an instance in `context`; a handler has a `wire`.
    ///
    /// # Errors
    /// [`Code::Plugin`] if a granted folder cannot be opened.
    pub(super) fn new(context: GuestContext, interrupt: Interrupt, wire: Option<Arc<dyn Wire>>) -> Result<Self, Error> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let output = Output::new(context.clone());
        let mut wasi = WasiCtx::builder();
        wasi.stdout(output.stream(Severity::Info)).stderr(output.stream(Severity::Warn));
        // File reads must not block a lane: see `wasi::files`.
        wasi.allow_blocking_current_thread(false);
        for (name, value) in &context.grants.env {
            wasi.env(name, value);
        }
        for path in &context.grants.has.files {
            let shown = path.display().to_string();
            wasi.preopened_dir(path, &shown, FsPerms::ReadOnly).map_err(|e| {
                Error::new(
                    Code::Plugin,
                    format!("{}: the granted folder {shown} cannot be opened: {e:#}", context.plugin),
                )
                .hint("components are granted folders, not single files")
            })?;
        }
        // A strategy must give the same results in a replay, so its random numbers are seeded; a handler's are real.
        let random_source = match wire {
            None => RandomSource::seeded(&context.plugin, context.source.as_ref().map_or("", SourceId::as_str)),
            Some(_) => RandomSource::Real(WasiRandomCtx::default()),
        };
        let bounds = Bounds::new(context.limits.memory_bytes);
        let call = Call { zones: Arc::clone(&context.zones), ..Call::default() };
        let wasi = wasi.build();
        let (writes, version) = (Writes::default(), Arc::default());
        Ok(Self { context, bounds, interrupt, call, writes, version, table, wasi, random_source, output, wire })
    }

    /// Starts a call with these `limits`.
    pub(super) fn start(&mut self, limits: TimeLimits) {
        self.call.number += 1;
        self.call.requests = 0;
        let wall = u64::try_from(limits.wall.as_nanos()).unwrap_or(u64::MAX);
        // Only a handler waits for others; a strategy saves the clock read.
        self.call.until_ns = if self.wire.is_some() { now_ns().saturating_add(wall) } else { u64::MAX };
        self.bounds.denied = false;
        self.writes.clear();
        self.output.start(self.call.pts_ns);
    }

    /// Ends a call: releases what belongs to the lane.
    pub(super) fn end(&mut self) {
        self.call.tracks = None;
        self.call.picture = None;
        self.call.more.clear();
        self.output.flush();
    }

    /// Commits the writes of a successful call.
    pub(super) fn commit(&mut self) {
        if !self.writes.is_empty() {
            self.take_over();
        }
    }

    /// Commits the writes of a guest that has taken over: from now on the state is in its version's form.
    pub(super) fn take_over(&mut self) {
        let mut space = self.context.state.lock();
        self.writes.commit(&mut space);
        space.stamp(&self.version);
    }
}

impl WasiView for StoreData {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Real time for a handler's waits, not `types::Clock`: a budget limits real work on this machine.
pub(super) fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The memory bounds of an instance.
pub(super) struct Bounds {
    memory_max: usize,
    /// Bytes of its memory.
    pub(super) memory: usize,
    /// Whether it exceeded its memory limit in the current call.
    pub(super) denied: bool,
}

impl Bounds {
    fn new(memory_max: usize) -> Self {
        Self { memory_max, memory: 0, denied: false }
    }
}

impl ResourceLimiter for Bounds {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let fits = desired <= self.memory_max;
        if fits {
            self.memory = desired;
        } else {
            self.denied = true;
        }
        Ok(fits)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        CORE_INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        1
    }
}
