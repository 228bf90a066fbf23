//! A handler that can be replaced while it delivers: deliveries in progress finish with the old one.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::alert::{BoxFuture, Commands, DeliveryError, Handler, Usage};
use crate::types::Alert;

/// See the module.
pub(in crate::engine) struct Replaceable {
    name: Arc<str>,
    inner: ArcSwap<Arc<dyn Handler>>,
    /// Why the newest version was rejected.
    error: Mutex<Option<String>>,
    /// Passed on to future versions.
    commands: Mutex<Option<Commands>>,
}

impl Replaceable {
    pub(in crate::engine) fn new(name: Arc<str>, handler: Arc<dyn Handler>) -> Arc<Self> {
        let inner = ArcSwap::from_pointee(handler);
        Arc::new(Self { name, inner, error: Mutex::default(), commands: Mutex::default() })
    }

    pub(in crate::engine) fn replace(&self, handler: Arc<dyn Handler>) {
        if let Some(commands) = &*self.commands.lock() {
            handler.attach(commands.clone());
        }
        self.inner.store(Arc::new(handler));
        self.set_error(None);
    }

    pub(in crate::engine) fn set_error(&self, error: Option<String>) {
        *self.error.lock() = error;
    }

    pub(in crate::engine) fn error(&self) -> Option<String> {
        self.error.lock().clone()
    }
}

impl Handler for Replaceable {
    fn name(&self) -> &str {
        &self.name
    }

    fn attach(&self, commands: Commands) {
        self.inner.load().attach(commands.clone());
        *self.commands.lock() = Some(commands);
    }

    fn timeout(&self) -> Option<Duration> {
        self.inner.load().timeout()
    }

    fn attempts(&self) -> Option<u32> {
        self.inner.load().attempts()
    }

    fn usage(&self) -> Option<Usage> {
        self.inner.load().usage()
    }

    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        let handler = self.inner.load_full();
        Box::pin(async move { handler.deliver(alert).await })
    }
}
