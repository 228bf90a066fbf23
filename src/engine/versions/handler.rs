//! A handler that can be replaced while it delivers: what is under way goes on with the old one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::alert::{BoxFuture, DeliveryError, Handler};
use crate::types::Alert;

/// See the module.
pub(in crate::engine) struct Replaceable {
    name: Arc<str>,
    inner: ArcSwap<Arc<dyn Handler>>,
    /// Why the newest version was not taken.
    error: Mutex<Option<String>>,
}

impl Replaceable {
    pub(in crate::engine) fn new(name: Arc<str>, handler: Arc<dyn Handler>) -> Arc<Self> {
        Arc::new(Self { name, inner: ArcSwap::from_pointee(handler), error: Mutex::default() })
    }

    pub(in crate::engine) fn replace(&self, handler: Arc<dyn Handler>) {
        self.inner.store(Arc::new(handler));
        self.set_error(None);
    }

    pub(in crate::engine) fn set_error(&self, error: Option<String>) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    pub(in crate::engine) fn error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Handler for Replaceable {
    fn name(&self) -> &str {
        &self.name
    }

    fn timeout(&self) -> Option<Duration> {
        self.inner.load().timeout()
    }

    fn deliver<'a>(&'a self, alert: &'a Alert) -> BoxFuture<'a, Result<(), DeliveryError>> {
        let handler = self.inner.load_full();
        Box::pin(async move { handler.deliver(alert).await })
    }
}
