//! SIGINT and SIGTERM: the first asks to stop, the second stops at once with exit code 130.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, never};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::Exit;

/// Tells that somebody asked the process to stop.
pub(crate) struct Stop {
    asked: Arc<AtomicBool>,
    channel: Receiver<()>,
    /// Keeps the channel open when listening failed, so that its end is not taken for a signal.
    _open: Sender<()>,
}

impl Stop {
    /// Starts listening. Called first in `main`, so that a signal is answered from the first moment on.
    pub(crate) fn install() -> Self {
        let asked = Arc::new(AtomicBool::new(false));
        let (sender, channel) = bounded(1);
        let (ready_sender, ready) = bounded(1);
        let (flag, open) = (Arc::clone(&asked), sender.clone());
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
                flag.store(true, Ordering::Relaxed);
                let _ = sender.send(());
                either(&mut interrupt, &mut terminate).await;
                Exit::Interrupted.now();
            });
        };
        // Without the thread the default action of the signals stays, which ends the process too.
        if std::thread::Builder::new().name("signals".into()).spawn(listen).is_ok() {
            let _ = ready.recv();
        }
        Self { asked, channel, _open: open }
    }

    /// Whether a signal has come.
    pub(crate) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// From now on SIGHUP asks to reload instead of ending the process: each one makes this ready.
    pub(crate) fn reloads(&self) -> Receiver<()> {
        let (sender, channel) = bounded(1);
        let listen = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
            runtime.block_on(async {
                let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
                while hangup.recv().await.is_some() {
                    // One that waits already asks for the same.
                    if let Err(TrySendError::Disconnected(())) = sender.try_send(()) {
                        return;
                    }
                }
            });
        };
        match std::thread::Builder::new().name("reload-signal".into()).spawn(listen) {
            Ok(_) => channel,
            Err(_) => never(),
        }
    }

    /// Becomes ready when the first signal comes.
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
