//! Compiles within a time limit, on its own low-priority thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use rustix::process::setpriority_process;
use rustix::thread::gettid;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::component::invalid;
use crate::error::{Code, Error};

/// Maximum concurrent compilations, including abandoned ones that still run.
const RUNNING_MAX: usize = 4;
/// The nice value of the compiler thread, on the system's scale of -20..19: a third of a normal thread's share, so that
/// a save does not wait for a minute where the machine has four times its work.
const NICE: i32 = 5;

/// Counts the running compilations.
#[derive(Default)]
pub(super) struct Compiler {
    running: Arc<AtomicUsize>,
}

impl Compiler {
    /// Compiles `bytes`. A compilation cannot be cancelled: one that takes longer than `limit` is abandoned, and its
    /// thread ends by itself; their number is bounded.
    ///
    /// # Errors
    /// [`Code::Plugin`]: an invalid component, a timeout, or too many running compilations.
    pub(super) fn compile(&self, engine: &Engine, bytes: &[u8], limit: Duration) -> Result<Component, Error> {
        let running = Running::one(&self.running).ok_or_else(|| {
            Error::new(Code::Plugin, format!("{RUNNING_MAX} components are being compiled already"))
                .hint("wait for them; a component that takes this long may be broken")
        })?;
        let (give, take) = sync_channel(1);
        let (engine, size) = (engine.clone(), bytes.len());
        let bytes = bytes.to_vec();
        let work = move || {
            // If the system refuses, it runs at normal priority.
            let _ = setpriority_process(Some(gettid()), NICE);
            let result = Component::from_binary(&engine, &bytes);
            // The receiver is gone after a timeout.
            let _ = give.try_send(result);
            drop(running);
        };
        let thread = std::thread::Builder::new().name("wasm-compiler".into()).spawn(work);
        let thread = thread.map_err(|e| Error::new(Code::Plugin, format!("no thread to compile on: {e}")))?;
        match take.recv_timeout(limit) {
            Ok(result) => {
                // The thread has sent its result and ends.
                let _ = thread.join();
                result.map_err(|e| invalid(&e))
            }
            Err(RecvTimeoutError::Timeout) => Err(Error::new(
                Code::Plugin,
                format!("compiling these {size} bytes takes longer than {} s", limit.as_secs()),
            )
            .hint("a smaller component compiles faster; interpreters of other languages are large")),
            Err(RecvTimeoutError::Disconnected) => Err(Error::new(Code::Plugin, "the compiler failed on it")),
        }
    }
}

/// A permit for one compilation.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn one(running: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |n: usize| (n < RUNNING_MAX).then_some(n + 1);
        running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self(Arc::clone(running)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
