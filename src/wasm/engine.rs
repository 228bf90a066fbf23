//! The compiler and runtime settings, and the thread that interrupts guests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::error::{Code, Error};
use crate::guest::{IDLE_TICK, TICK};
use crate::own::{Stop, Thread};

/// Deepest stack of a guest.
pub(super) const STACK_BYTES: usize = 512 << 10;
/// Most elements of a guest's tables: functions that may be called by pointer.
pub(super) const TABLE_ELEMENTS_MAX: usize = 20_000;
/// Most instances at a time in the pool: address space only, until they are used.
const INSTANCES_MAX: u32 = 1000;
/// Core instances per component: the module itself, an adapter for the older WASI, and two that tie them together.
pub(super) const CORE_INSTANCES_MAX: usize = 16;

/// An engine that takes instances from a pool, or one by one where the system does not give away so much address
/// space.
///
/// # Errors
/// [`Code::Plugin`] where this machine cannot run compiled guests at all.
pub(super) fn engine() -> Result<Engine, Error> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES_MAX)
        .total_core_instances(INSTANCES_MAX * 4)
        .total_memories(INSTANCES_MAX)
        .total_tables(INSTANCES_MAX * 4)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_tables_per_module(4);
    let pooled = Engine::new(settings().allocation_strategy(pool));
    pooled.or_else(|error| {
        tracing::debug!("no pool for WASM instances, they are made one by one: {error:#}");
        let one_by_one = InstanceAllocationStrategy::OnDemand;
        let engine = Engine::new(settings().allocation_strategy(one_by_one));
        engine.map_err(|e| Error::new(Code::Plugin, format!("the WASM engine cannot start: {e:#}")))
    })
}

fn settings() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        // Compiling takes its time on one core; the others are the lanes'.
        .parallel_compilation(false);
    config
}

/// Moves the engine's epoch on while guests run: each running guest then looks at its own watch.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    /// Calls under way.
    running: AtomicUsize,
    /// Instances that live; the thread sleeps while there are none.
    instances: Mutex<usize>,
    bell: Condvar,
}

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(super) fn start(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = Thread::start("wasm-ticker", move |stop| tick(&theirs, &stop, &engine))?;
        Ok(Self { shared, thread })
    }

    /// A place among the living instances.
    pub(super) fn seat(&self) -> Ticking {
        *self.shared.instances.lock() += 1;
        self.shared.bell.notify_all();
        Ticking(Arc::clone(&self.shared))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        // Under the lock, so that the thread cannot miss the bell between its check and its wait.
        let instances = self.shared.instances.lock();
        self.thread.stop();
        drop(instances);
        self.shared.bell.notify_all();
    }
}

/// One living instance.
pub(super) struct Ticking(Arc<Shared>);

impl Ticking {
    /// A call of it runs, until what is returned is dropped.
    pub(super) fn start(&self) -> Running<'_> {
        self.0.running.fetch_add(1, Ordering::Relaxed);
        Running(&self.0)
    }
}

/// A call under way.
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

fn tick(shared: &Shared, stop: &Stop, engine: &Engine) {
    let mut instances = shared.instances.lock();
    while !stop.requested() {
        let busy = shared.running.load(Ordering::Relaxed) > 0;
        if busy {
            engine.increment_epoch();
        }
        if *instances == 0 {
            shared.bell.wait(&mut instances);
        } else {
            let nap = if busy { TICK } else { IDLE_TICK };
            shared.bell.wait_for(&mut instances, nap);
        }
    }
}
