//! The engine's one host of components: compiles them, keeps what was compiled, interrupts what runs.

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

/// Most threads that read granted files at a time. One that never comes back, as from a pipe that nobody fills, is one
/// less; who finds none waits out its call.
const READING_MAX: usize = 64;

/// Compiles components. One per engine; its threads end with it and the last of its programs.
pub struct Host {
    shared: Arc<Shared>,
    compiler: Compiler,
    cache: Option<Cache>,
}

/// What programs need of their host.
pub(super) struct Shared {
    pub(super) engines: Engines,
    pub(super) ticker: Ticker,
    linker: Linker<StoreData>,
    /// The same for instances that find the pool full.
    spare: Option<Linker<StoreData>>,
    /// The threads for guests that read files, once there is such a guest.
    files: OnceLock<tokio::runtime::Runtime>,
}

impl Host {
    /// Starts a host that keeps compiled components in the private folder `cache` ([`cache_folder`](super::cache_folder)
    /// names the usual one), or nowhere: without one, and where the folder cannot be written or is not private, each
    /// start compiles again.
    ///
    /// # Errors
    /// [`Code::Plugin`]: this machine cannot run compiled guests.
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

    /// Makes a program of a component's bytes: checks that it fits this engine, and compiles it unless that was done
    /// before. Runs nothing of it. `place` is what messages call it, its path. May take long: not for a lane's thread.
    ///
    /// # Errors
    /// [`Code::Plugin`]: too large, no component, another version of the contract, an import that is not offered, or
    /// too slow to compile.
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

/// That all it imports is offered to anybody; what is offered to its world, `inspect` has seen to.
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
    /// What instances of a component are made of that find the pool full: the same machine code, under the other engine.
    pub(super) fn spare(&self, component: &Component) -> wasmtime::Result<Option<InstancePre<StoreData>>> {
        let (Some(engine), Some(linker)) = (&self.engines.spare, &self.spare) else { return Ok(None) };
        linker.instantiate_pre(&again(engine, component)?).map(Some)
    }

    /// Where waiting for files happens.
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
            // Waits for nothing, so that it may be dropped anywhere.
            runtime.shutdown_background();
        }
    }
}
