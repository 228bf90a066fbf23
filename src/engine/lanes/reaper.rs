//! A thread that drops what is replaced, so that no frame waits while a VM is torn down.

use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;

use crate::error::Error;
use crate::strategy::Strategy;

/// Versions waiting to be dropped; past that a lane drops its own.
const WAITING_MAX: usize = 256;

/// The way to the reaper.
#[derive(Clone)]
pub(in crate::engine) struct Disposal(Sender<Box<dyn Strategy>>);

impl Disposal {
    /// Drops a version off this thread where there is room.
    pub(super) fn dispose(&self, version: Box<dyn Strategy>) {
        // Full or gone: dropped here.
        drop(self.0.try_send(version));
    }
}

/// The thread. It ends when the last way to it is gone.
pub(in crate::engine) struct Reaper {
    way: Mutex<Option<Disposal>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Reaper {
    pub(in crate::engine) fn start() -> Result<Self, Error> {
        let (way, end) = bounded::<Box<dyn Strategy>>(WAITING_MAX);
        let thread = super::spawn("reaper".into(), move || end.iter().for_each(drop))?;
        Ok(Self { way: Mutex::new(Some(Disposal(way))), thread: Mutex::new(Some(thread)) })
    }

    /// The way to it; `None` once it is stopped.
    pub(in crate::engine) fn way(&self) -> Option<Disposal> {
        self.way.lock().clone()
    }

    /// Drops what waits and ends, once no lane has a way to it any more.
    pub(in crate::engine) fn stop(&self) {
        drop(self.way.lock().take());
        if let Some(thread) = self.thread.lock().take() {
            // It has nothing to hand on; a version that panicked in its drop has been logged by the panic hook.
            let _ = thread.join();
        }
    }
}
