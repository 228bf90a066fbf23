//! A thread that drops replaced versions, so that no frame waits while a VM is torn down.

use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;

use crate::error::Error;
use crate::strategy::Strategy;

/// Capacity of the queue; when it is full, a lane drops its version itself.
const WAITING_MAX: usize = 256;

/// A sender to the reaper.
#[derive(Clone)]
pub(in crate::engine) struct Disposal(Sender<Box<dyn Strategy>>);

impl Disposal {
    /// Drops a version on the reaper's thread if the queue has room.
    pub(super) fn dispose(&self, version: Box<dyn Strategy>) {
        // If the queue is full or closed, dropped here.
        drop(self.0.try_send(version));
    }
}

/// The thread. It ends when its last sender is dropped.
pub(in crate::engine) struct Reaper {
    disposal: Mutex<Option<Disposal>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Reaper {
    pub(in crate::engine) fn start() -> Result<Self, Error> {
        let (disposal, end) = bounded::<Box<dyn Strategy>>(WAITING_MAX);
        let thread = super::spawn("reaper".into(), move || end.iter().for_each(drop))?;
        Ok(Self { disposal: Mutex::new(Some(Disposal(disposal))), thread: Mutex::new(Some(thread)) })
    }

    /// A sender to it; `None` once it is stopped.
    pub(in crate::engine) fn disposal(&self) -> Option<Disposal> {
        self.disposal.lock().clone()
    }

    /// Drops what is queued and joins the thread, once no lane holds a sender.
    pub(in crate::engine) fn stop(&self) {
        drop(self.disposal.lock().take());
        if let Some(thread) = self.thread.lock().take() {
            // The thread returns nothing; the panic hook has logged a version that panicked in its drop.
            let _ = thread.join();
        }
    }
}
