//! SIGINT and SIGTERM end a command at once, until it announces a graceful stop: then the first signal requests it, and
//! the second ends the process. Only `run` handles SIGHUP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, never};
use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::Exit;

/// The stop request of the process.
pub(crate) struct Stop {
    /// The exit on the first signal; `None` while a command polls for it and drains.
    at_once: Arc<Mutex<Option<Exit>>>,
    asked: Arc<AtomicBool>,
    channel: Receiver<()>,
    /// Keeps the channel open if the listener failed, so that its end is not taken for a signal.
    _open: Sender<()>,
}

impl Stop {
    /// Starts listening. Called first in `main`, so that signals are handled from the start.
    pub(crate) fn install() -> Self {
        let at_once = Arc::new(Mutex::new(Some(Exit::Interrupted)));
        let asked = Arc::new(AtomicBool::new(false));
        let (sender, channel) = bounded(1);
        let (ready_sender, ready) = bounded(1);
        let (first, flag, open) = (Arc::clone(&at_once), Arc::clone(&asked), sender.clone());
        let listen = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
            runtime.block_on(async {
                let (Ok(mut interrupt), Ok(mut terminate)) =
                    (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
                else {
                    return;
                };
                let _ = ready_sender.send(());
                either(&mut interrupt, &mut terminate).await;
                let end = *first.lock();
                if let Some(exit) = end {
                    exit.now();
                }
                flag.store(true, Ordering::Relaxed);
                let _ = sender.send(());
                either(&mut interrupt, &mut terminate).await;
                Exit::Interrupted.now();
            });
        };
        // Without the thread, the default action of the signals also ends the process.
        if std::thread::Builder::new().name("signals".into()).spawn(listen).is_ok() {
            let _ = ready.recv();
        }
        Self { at_once, asked, channel, _open: open }
    }

    /// From now on the first signal ends the process at once, with this exit.
    pub(crate) fn at_once(&self, exit: Exit) {
        *self.at_once.lock() = Some(exit);
    }

    /// From now on the first signal only requests a stop: the command polls for it, and ends in order.
    pub(crate) fn graceful(&self) {
        *self.at_once.lock() = None;
    }

    /// Whether a signal has arrived.
    pub(crate) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// From now on SIGHUP requests a reload instead of ending the process: each one makes this channel ready. Pending
    /// ones are merged.
    pub(crate) fn reloads(&self) -> Receiver<()> {
        let (sender, channel) = bounded(1);
        let (ready_sender, ready) = bounded::<()>(0);
        let listen = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
            runtime.block_on(async {
                let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
                drop(ready_sender);
                while hangup.recv().await.is_some() {
                    // A pending request already covers it.
                    if let Err(TrySendError::Disconnected(())) = sender.try_send(()) {
                        return;
                    }
                }
            });
        };
        if std::thread::Builder::new().name("reload-signal".into()).spawn(listen).is_err() {
            return never();
        }
        // Disconnects when the handler is ready or has failed.
        let _ = ready.recv();
        channel
    }

    /// Becomes ready on the first signal.
    pub(crate) fn channel(&self) -> &Receiver<()> {
        &self.channel
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
