//! Where old versions end: a thread that drops them, so that no frame waits while a VM is torn down.

use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};

use crate::error::Error;
use crate::strategy::Strategy;

/// Versions waiting to be dropped; past that a lane drops its own.
const WAITING_MAX: usize = 256;

/// The way there.
pub(super) type Undertaker = Sender<Box<dyn Strategy>>;

/// The thread. Ends when the last way there is gone.
pub(super) struct Grave {
    way: Option<Undertaker>,
    thread: Option<JoinHandle<()>>,
}

impl Grave {
    pub(super) fn start() -> Result<Self, Error> {
        let (way, end) = bounded::<Box<dyn Strategy>>(WAITING_MAX);
        let thread = super::spawn("grave".into(), move || end.iter().for_each(drop))?;
        Ok(Self { way: Some(way), thread: Some(thread) })
    }

    pub(super) fn way(&self) -> Option<Undertaker> {
        self.way.clone()
    }
}

impl Drop for Grave {
    fn drop(&mut self) {
        self.way = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to hand on; a version that panicked in its drop has been logged by the panic hook.
            let _ = thread.join();
        }
    }
}

/// Drops a version off this thread where there is room.
pub(super) fn bury(way: &Option<Undertaker>, version: Box<dyn Strategy>) {
    if let Some(way) = way {
        // Full or gone: dropped here.
        drop(way.try_send(version));
    }
}
