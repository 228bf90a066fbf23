//! One client of a stream of server-sent events.

use std::convert::Infallible;

use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::mpsc;
use tokio::time;

use crate::admin::access::Caller;
use crate::admin::error::ApiError;
use crate::admin::streams::{StreamSlot, received};
use crate::admin::{AppState, CLIENT_STALL_MAX};

/// A client, until it or its token is gone, or it takes nothing.
pub(super) struct Client {
    pub(super) app: AppState,
    pub(super) caller: Caller,
    messages: mpsc::Sender<Result<Message, Infallible>>,
    _slot: StreamSlot,
}

impl Client {
    /// A stream for a caller, with the answer that opens it; `room` is how many messages may be on their way.
    ///
    /// # Errors
    /// 429 or 503 where there are too many streams.
    pub(super) fn open(app: AppState, caller: Caller, room: usize) -> Result<(Self, Response), ApiError> {
        let slot = app.streams.take(&caller)?;
        let (messages, stream) = mpsc::channel(room);
        let response = Sse::new(received(stream)).keep_alive(KeepAlive::default()).into_response();
        Ok((Self { app, caller, messages, _slot: slot }, response))
    }

    /// What `next` brings; `None` where the client or its token is gone first.
    pub(super) async fn wait<T>(&self, next: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            next = next => Some(next),
            () = self.app.over(&self.caller) => None,
            () = self.messages.closed() => None,
        }
    }

    /// Sends a message; returns whether the client took it. Waiting here is what makes a slow client lag.
    pub(super) async fn send(&self, message: Message) -> bool {
        tokio::select! {
            sent = time::timeout(CLIENT_STALL_MAX, self.messages.send(Ok(message))) => matches!(sent, Ok(Ok(()))),
            () = self.app.over(&self.caller) => false,
        }
    }
}
