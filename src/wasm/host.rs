//! The engine's component host: compiles components, caches them, interrupts running guests.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

use super::cache::{Cache, again};
use super::compiler::Compiler;
use super::component::{inspect, is_component};
use super::engine::{Engines, Ticker};
use super::program::Program;
use super::store_data::StoreData;
use super::{ComponentInfo, imports, wasi};
use crate::error::{Code, Error};
use crate::guest::Limits;

/// Maximum threads that read granted files at a time. A read that never ends, as from a pipe without a writer, occupies
/// one; when all are occupied, a call waits until its limit.
const READING_MAX: usize = 64;

/// Compiles components. One per engine; its threads end with it and the last of its programs.
pub struct Host {
    shared: Arc<Shared>,
    compiler: Compiler,
    cache: Option<Cache>,
}

/// The host's state shared with its programs.
pub(super) struct Shared {
    pub(super) engines: Engines,
    pub(super) ticker: Ticker,
    linker: Linker<StoreData>,
    /// The linker for instances that find the pool full.
    spare: Option<Linker<StoreData>>,
    /// The threads for guests that read files; created on first use.
    files: OnceLock<tokio::runtime::Runtime>,
}

impl Host {
    /// Starts a host that caches compiled components in the private folder `cache`
    /// ([`cache_folder`](super::cache_folder) is the usual one). Without one, or if the folder is not writable or not
    /// private, each start compiles again.
    ///
    /// # Errors
    /// [`Code::Plugin`] if this machine cannot run compiled guests.
    pub fn start(cache: Option<PathBuf>) -> Result<Arc<Self>, Error> {
        let failed = |what: &str, e: &dyn std::fmt::Display| Error::new(Code::Plugin, format!("{what}: {e:#}"));
        let cache = cache.and_then(|folder| match Cache::open(folder) {
            Ok(cache) => Some(cache),
            Err(problem) => {
                tracing::warn!("components are compiled at each start: {problem}");
                None
            }
        });
        let engines = Engines::new()?;
        let linker = |engine: &Engine| {
            let mut linker = Linker::new(engine);
            wasi::link(&mut linker).map_err(|e| failed("the plugins' WASI", &e))?;
            imports::link(&mut linker).map_err(|e| failed("the plugins' contract", &e))?;
            Ok::<_, Error>(linker)
        };
        let (first, spare) = (linker(&engines.first)?, engines.spare.as_ref().map(linker).transpose()?);
        let ticker = Ticker::start(engines.clone()).map_err(|e| failed("no thread to interrupt plugins", &e))?;
        let shared = Arc::new(Shared { engines, ticker, linker: first, spare, files: OnceLock::new() });
        Ok(Arc::new(Self { shared, compiler: Compiler::default(), cache }))
    }

    /// Creates a program from a component's bytes: checks that it fits this engine, and compiles it unless it is
    /// cached. Does not run it. `place` is its path, for messages. May take long: do not call it on a lane's thread.
    ///
    /// # Errors
    /// [`Code::Plugin`]: too large, not a component, another version of the contract, an import that is not offered, or
    /// a compile timeout.
    pub fn compile(&self, bytes: &[u8], limits: &Limits, place: &str) -> Result<Program, Error> {
        self.program(bytes, limits).map_err(|e| e.at(place))
    }

    fn program(&self, bytes: &[u8], limits: &Limits) -> Result<Program, Error> {
        is_component(bytes, limits.component_bytes)?;
        let component = self.component(bytes, limits)?;
        let info = inspect(&self.shared.engines.first, &component)?;
        offered(&info)?;
        let pre = self.shared.linker.instantiate_pre(&component).map_err(|e| {
            Error::new(Code::Plugin, format!("its imports are not those of the contract: {e:#}"))
                .hint("rebuild it against this engine's wit/")
        })?;
        Program::new(Arc::clone(&self.shared), info, pre)
    }

    fn component(&self, bytes: &[u8], limits: &Limits) -> Result<Component, Error> {
        let engine = &self.shared.engines.first;
        let Some(cache) = &self.cache else { return self.compiler.compile(engine, bytes, limits.compile) };
        let key = Cache::key(engine, bytes);
        if let Some(component) = cache.get(engine, &key) {
            return Ok(component);
        }
        let component = self.compiler.compile(engine, bytes, limits.compile)?;
        if let Err(problem) = cache.put(&key, &component) {
            tracing::warn!("a compiled component could not be kept, the next start compiles it again: {problem}");
        }
        Ok(component)
    }
}

/// Checks that all its imports are offered; `inspect` has checked those of its world.
fn offered(info: &ComponentInfo) -> Result<(), Error> {
    let foreign = |name: &&String| !name.starts_with("dsengine:plugin/") && !wasi::offers(name);
    let Some(name) = info.imports.iter().find(foreign) else { return Ok(()) };
    let error = Error::new(Code::Plugin, format!("imports {name}, which plugins are not offered"));
    Err(if name.starts_with("wasi:sockets/") || name.starts_with("wasi:http/") {
        error.hint("a handler sends requests with dsengine:plugin/http, to hosts that the configuration grants")
    } else {
        error.hint("plugins are offered wit/ and, of WASI 0.2, cli, clocks, io, random, and granted folders")
    })
}

impl Shared {
    /// The linked component for instances that find the pool full: the same machine code in the on-demand engine.
    pub(super) fn spare(&self, component: &Component) -> wasmtime::Result<Option<InstancePre<StoreData>>> {
        let (Some(engine), Some(linker)) = (&self.engines.spare, &self.spare) else { return Ok(None) };
        linker.instantiate_pre(&again(engine, component)?).map(Some)
    }

    /// The runtime for file reads.
    pub(super) fn files(&self) -> Option<tokio::runtime::Handle> {
        if let Some(runtime) = self.files.get() {
            return Some(runtime.handle().clone());
        }
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(1).max_blocking_threads(READING_MAX).thread_name("wasm-files");
        let runtime = runtime.build().ok()?;
        if let Err(second) = self.files.set(runtime) {
            second.shutdown_background();
        }
        self.files.get().map(|runtime| runtime.handle().clone())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(runtime) = self.files.take() {
            // Does not block, so that it may be dropped anywhere.
            runtime.shutdown_background();
        }
    }
}
