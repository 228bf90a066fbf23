//! The compiler and runtime settings, and the thread that interrupts guests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::error::{Code, Error};
use crate::guest::{IDLE_TICK, TICK};
use crate::own::{Stop, Thread};

/// Maximum stack of a guest.
pub(super) const STACK_BYTES: usize = 512 << 10;
/// Maximum elements in a guest's tables: functions that may be called by pointer.
pub(super) const TABLE_ELEMENTS_MAX: usize = 20_000;
/// Maximum concurrent instances in the pool: address space only, until they are used.
const POOL_INSTANCES_MAX: u32 = 1000;
/// Core instances per component: the module itself, an adapter for the older WASI, and two that connect them.
pub(super) const CORE_INSTANCES_MAX: usize = 16;

/// The pooling engine, and an on-demand engine for instances that find the pool full. Without enough address space for
/// a pool, only the second.
#[derive(Clone)]
pub(super) struct Engines {
    pub(super) first: Engine,
    pub(super) spare: Option<Engine>,
}

impl Engines {
    /// Creates both.
    ///
    /// # Errors
    /// [`Code::Plugin`] if this machine cannot run compiled guests at all.
    pub(super) fn new() -> Result<Self, Error> {
        let engine = Engine::new(settings().allocation_strategy(InstanceAllocationStrategy::OnDemand));
        let one_by_one =
            engine.map_err(|e| Error::new(Code::Plugin, format!("the WASM engine cannot start: {e:#}")))?;
        Ok(match pooled() {
            Ok(first) => Self { first, spare: Some(one_by_one) },
            Err(error) => {
                tracing::debug!("no pool for WASM instances, they are made one by one: {error:#}");
                Self { first: one_by_one, spare: None }
            }
        })
    }

    /// Makes every running guest check its time limits.
    fn tick(&self) {
        self.first.increment_epoch();
        if let Some(spare) = &self.spare {
            spare.increment_epoch();
        }
    }
}

fn pooled() -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(POOL_INSTANCES_MAX)
        .total_core_instances(POOL_INSTANCES_MAX * 4)
        .total_memories(POOL_INSTANCES_MAX)
        .total_tables(POOL_INSTANCES_MAX * 4)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_tables_per_module(4);
    Engine::new(settings().allocation_strategy(pool))
}

fn settings() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        // Compiling uses one core; the others are for the lanes.
        .parallel_compilation(false);
    config
}

/// Increments the engines' epochs while guests run: each running guest then checks its time limits.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    /// Number of running calls.
    running: AtomicUsize,
    /// Number of live instances; the thread sleeps while it is 0.
    instances: Mutex<usize>,
    wake: Condvar,
}

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start(engines: Engines) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = Thread::start("wasm-ticker", move |stop| tick(&theirs, &stop, &engines))?;
        Ok(Self { shared, thread })
    }

    /// Registers a live instance.
    pub(super) fn register(&self) -> Ticking {
        *self.shared.instances.lock() += 1;
        self.shared.wake.notify_all();
        Ticking(Arc::clone(&self.shared))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        // Under the lock, so that the thread cannot miss the notification between its check and its wait.
        let instances = self.shared.instances.lock();
        self.thread.stop();
        drop(instances);
        self.shared.wake.notify_all();
    }
}

/// A registered live instance.
pub(super) struct Ticking(Arc<Shared>);

impl Ticking {
    /// Marks a call as running until the returned guard is dropped.
    pub(super) fn start(&self) -> Running<'_> {
        self.0.running.fetch_add(1, Ordering::Relaxed);
        Running(&self.0)
    }
}

/// The guard of a running call.
pub(super) struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        *self.0.instances.lock() -= 1;
    }
}

fn tick(shared: &Shared, stop: &Stop, engines: &Engines) {
    let mut instances = shared.instances.lock();
    while !stop.requested() {
        let busy = shared.running.load(Ordering::Relaxed) > 0;
        if busy {
            engines.tick();
        }
        if *instances == 0 {
            shared.wake.wait(&mut instances);
        } else {
            let nap = if busy { TICK } else { IDLE_TICK };
            shared.wake.wait_for(&mut instances, nap);
        }
    }
}
