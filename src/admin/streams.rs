//! Streams (live pictures, events): their number, in all and per token.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::{self, Stream};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::access::Caller;
use super::error::ApiError;

/// Maximum concurrent streams; more get 503.
pub const STREAMS_MAX: usize = 64;
/// Maximum concurrent streams of one token; more get 429.
pub const STREAMS_PER_TOKEN_MAX: usize = 16;
/// `Retry-After` for a refused stream.
const RETRY_AFTER_S: u32 = 5;

/// The open streams.
pub(super) struct Streams {
    room: Arc<Semaphore>,
    by_token: Mutex<BTreeMap<String, usize>>,
}

/// One stream's slot; freed when dropped.
pub(super) struct StreamSlot {
    streams: Arc<Streams>,
    /// `None` if no token is required.
    token: Option<String>,
    _permit: OwnedSemaphorePermit,
}

impl Streams {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { room: Arc::new(Semaphore::new(STREAMS_MAX)), by_token: Mutex::default() })
    }

    /// Takes a slot.
    ///
    /// # Errors
    /// 429 if the caller's token has too many, 503 if there are too many in all.
    pub(super) fn take(self: &Arc<Self>, caller: &Caller) -> Result<StreamSlot, ApiError> {
        let token = caller.token().map(|_| caller.name().to_owned());
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            let message = format!("there are {STREAMS_MAX} streams open, and no more are served");
            return Err(ApiError::busy(&message, RETRY_AFTER_S));
        };
        if let Some(name) = &token {
            let mut by_token = self.by_token.lock();
            let count = by_token.entry(name.clone()).or_default();
            if *count >= STREAMS_PER_TOKEN_MAX {
                let message = format!("the token '{name}' has {STREAMS_PER_TOKEN_MAX} streams open, and gets no more");
                return Err(ApiError::too_many_of_token(message, RETRY_AFTER_S));
            }
            *count += 1;
        }
        Ok(StreamSlot { streams: Arc::clone(self), token, _permit: permit })
    }
}

/// A channel as a stream, until all its senders are gone.
pub(super) fn received<T>(mut receiver: mpsc::Receiver<T>) -> impl Stream<Item = T> {
    stream::poll_fn(move |context| receiver.poll_recv(context))
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let Some(name) = &self.token else { return };
        let mut by_token = self.streams.by_token.lock();
        if let Some(count) = by_token.get_mut(name) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                by_token.remove(name);
            }
        }
    }
}
