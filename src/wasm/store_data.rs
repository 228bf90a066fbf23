//! What belongs to one instance and is not its own memory: its surroundings, its bounds, the frame at hand.

use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::random::WasiRandomCtx;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};

use super::engine::{CORE_INSTANCES_MAX, TABLE_ELEMENTS_MAX};
use super::wasi::{Chance, Output};
use crate::error::{Code, Error};
use crate::guest::http::Wire;
use crate::guest::{GuestContext, Interrupt, Severity, TimeLimits, Writes};
use crate::track::Tracks;
use crate::types::{Attributes, BBox, Picture, SourceId, Zone};

/// Most things of the host that a guest holds at a time: streams, images, waits.
const RESOURCES_MAX: usize = 1024;

/// The host's side of one instance.
pub(super) struct StoreData {
    pub(super) context: GuestContext,
    pub(super) bounds: Bounds,
    /// The guest's end of its time budget, with the limits of the call under way.
    pub(super) interrupt: Interrupt,
    pub(super) call: Call,
    /// What the call wrote to its state; it counts once the call has succeeded.
    pub(super) writes: Writes,
    pub(super) table: ResourceTable,
    pub(super) wasi: WasiCtx,
    pub(super) chance: Chance,
    pub(super) output: Output,
    /// The network, for a handler.
    pub(super) wire: Option<Arc<dyn Wire>>,
}

/// What is true while one call lasts.
#[derive(Default)]
pub(super) struct Call {
    /// The guest is loading: it may read state and not write it, so that loading touches nothing.
    pub(super) loading: bool,
    /// The guest hands over: it may read state and not write it, because its successor may be refused.
    pub(super) suspending: bool,
    /// No frame is at hand, so that there is no time to count from.
    pub(super) timeless: bool,
    /// Frame time; of a handler, its alert's.
    pub(super) pts_ns: u64,
    /// Wall-clock time of capture.
    pub(super) captured_unix_ns: u64,
    pub(super) zones: Arc<[Zone]>,
    pub(super) tracks: Option<Tracks>,
    /// Of the detections handed over, what is fetched on demand; empty for a guest that imports no such thing.
    pub(super) more: Vec<More>,
    pub(super) picture: Option<Picture>,
    /// Counts calls, so that what was good for one is not taken for another's.
    pub(super) number: u64,
    /// HTTP requests sent.
    pub(super) requests: u32,
    /// When the call has to be over, [`now_ns`].
    pub(super) until_ns: u64,
}

/// What of a detection is not handed over with the frame.
pub(super) struct More {
    pub(super) bbox: BBox,
    pub(super) attributes: Attributes,
}

impl StoreData {
    /// The store's data for an instance in `context`; a handler has a `wire`.
    ///
    /// # Errors
    /// [`Code::Plugin`] where a granted folder cannot be opened.
    pub(super) fn new(context: GuestContext, interrupt: Interrupt, wire: Option<Arc<dyn Wire>>) -> Result<Self, Error> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let output = Output::new(context.clone());
        let mut wasi = WasiCtx::builder();
        wasi.stdout(output.stream(Severity::Info)).stderr(output.stream(Severity::Warn));
        // A lane waits for no file: see `wasi::files`.
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
        // A strategy gives the same answers in a replay, so its chance is the same each time; a handler's is real.
        let chance = match wire {
            None => Chance::seeded(&context.plugin, context.source.as_ref().map_or("", SourceId::as_str)),
            Some(_) => Chance::Real(WasiRandomCtx::default()),
        };
        let bounds = Bounds::new(context.limits.memory_bytes);
        let call = Call { zones: Arc::clone(&context.zones), ..Call::default() };
        let wasi = wasi.build();
        let writes = Writes::default();
        Ok(Self { context, bounds, interrupt, call, writes, table, wasi, chance, output, wire })
    }

    /// A call of at most `limits` starts.
    pub(super) fn start(&mut self, limits: TimeLimits) {
        self.call.number += 1;
        self.call.requests = 0;
        let wall = u64::try_from(limits.wall.as_nanos()).unwrap_or(u64::MAX);
        // Only a handler waits for others; a strategy saves the look at the clock.
        self.call.until_ns = if self.wire.is_some() { now_ns().saturating_add(wall) } else { u64::MAX };
        self.bounds.denied = false;
        self.writes.clear();
        self.output.start(self.call.pts_ns);
    }

    /// The call is over: what belongs to the lane goes back.
    pub(super) fn end(&mut self) {
        self.call.tracks = None;
        self.call.picture = None;
        self.call.more.clear();
        self.output.flush();
    }

    /// The call succeeded: its writes count.
    pub(super) fn commit(&mut self) {
        if !self.writes.is_empty() {
            self.writes.commit(&mut self.context.state.lock());
        }
    }
}

impl WasiView for StoreData {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Real time for what a handler waits for, not `types::Clock`: a budget is about this machine's real work.
pub(super) fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How large an instance may grow.
pub(super) struct Bounds {
    memory_max: usize,
    /// Bytes of its memory.
    pub(super) memory: usize,
    /// It asked for more than it may have in the call under way.
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
