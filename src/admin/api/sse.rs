//! A client of a server-sent event stream.

use std::convert::Infallible;

use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::mpsc;
use tokio::time;

use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::streams::{StreamSlot, received};
use crate::admin::{AppState, CLIENT_STALL_MAX};

/// A client, until it disconnects, its token is removed, or it stops reading.
pub(super) struct Client {
    pub(super) app: AppState,
    pub(super) caller: Caller,
    messages: mpsc::Sender<Result<Message, Infallible>>,
    _slot: StreamSlot,
}

impl Client {
    /// Opens a stream for a caller, with its response; `room` is the capacity of its queue.
    ///
    /// # Errors
    /// 429 or 503 if there are too many streams.
    pub(super) fn open(app: AppState, caller: Caller, room: usize) -> Result<(Self, Response), ApiError> {
        let slot = app.streams.take(&caller)?;
        let (messages, stream) = mpsc::channel(room);
        let response = Sse::new(received(stream)).keep_alive(KeepAlive::default()).into_response();
        Ok((Self { app, caller, messages, _slot: slot }, response))
    }

    /// Waits for `next`; `None` if the client or its token is gone first.
    pub(super) async fn wait<T>(&self, next: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            next = next => Some(next),
            () = self.app.over(&self.caller) => None,
            () = self.messages.closed() => None,
        }
    }

    /// Sends a message; returns whether the client took it. Waiting here makes a slow client lag.
    pub(super) async fn send(&self, message: Message) -> bool {
        tokio::select! {
            sent = time::timeout(CLIENT_STALL_MAX, self.messages.send(Ok(message))) => matches!(sent, Ok(Ok(()))),
            () = self.app.over(&self.caller) => false,
        }
    }
}
