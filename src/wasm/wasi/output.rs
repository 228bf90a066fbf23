//! Standard output and error of guests, which become lines in the engine's log.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::Bytes;
use parking_lot::Mutex;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::guest::{GuestContext, Severity};

/// Maximum length of a line; longer ones are split.
const LINE_BYTES_MAX: usize = 4096;
/// Maximum standard error text kept for a fault's message.
const STDERR_TEXT_MAX: usize = 2048;
/// Maximum bytes per write.
const WRITE_BYTES_MAX: usize = 4096;

/// Both streams of one instance.
#[derive(Clone)]
pub(in crate::wasm) struct Output {
    context: GuestContext,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Default)]
struct Lines {
    /// Frame time of the current call.
    now_ns: u64,
    /// Incomplete lines: standard output's, standard error's.
    incomplete: [Vec<u8>; 2],
    /// The current call's standard error text.
    stderr_text: Vec<u8>,
}

impl Output {
    pub(in crate::wasm) fn new(context: GuestContext) -> Self {
        Self { context, lines: Arc::default() }
    }

    /// One of the streams; its lines are logged at this severity.
    pub(in crate::wasm) fn stream(&self, severity: Severity) -> Stream {
        Stream { output: self.clone(), severity }
    }

    pub(in crate::wasm) fn start(&self, now_ns: u64) {
        let mut lines = self.lines.lock();
        lines.now_ns = now_ns;
        lines.stderr_text.clear();
    }

    /// Ends a call: logs incomplete lines.
    pub(in crate::wasm) fn flush(&self) {
        let mut lines = self.lines.lock();
        for (index, severity) in [Severity::Info, Severity::Warn].into_iter().enumerate() {
            if !lines.incomplete[index].is_empty() {
                let line = std::mem::take(&mut lines.incomplete[index]);
                self.context.log(severity, &String::from_utf8_lossy(&line), lines.now_ns);
            }
        }
    }

    /// The call's standard error text, truncated at the end.
    pub(in crate::wasm) fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.lines.lock().stderr_text).into_owned()
    }
}

/// One stream.
#[derive(Clone)]
pub(in crate::wasm) struct Stream {
    output: Output,
    severity: Severity,
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only version 3 of WASI uses it, which is not offered.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut lines = self.output.lines.lock();
        let error = self.severity == Severity::Warn;
        if error {
            let room = STDERR_TEXT_MAX - lines.stderr_text.len();
            let some = &bytes[..bytes.len().min(room)];
            lines.stderr_text.extend_from_slice(some);
        }
        let now_ns = lines.now_ns;
        let incomplete = &mut lines.incomplete[usize::from(error)];
        for byte in bytes {
            if byte != b'\n' && incomplete.len() < LINE_BYTES_MAX {
                incomplete.push(byte);
                continue;
            }
            self.output.context.log(self.severity, &String::from_utf8_lossy(incomplete), now_ns);
            incomplete.clear();
            if byte != b'\n' {
                incomplete.push(byte);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl Pollable for Stream {
    fn ready<'life0, 'async_trait>(&'life0 mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(std::future::ready(()))
    }
}
