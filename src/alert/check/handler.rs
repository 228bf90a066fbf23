//! The conformance check for handlers.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use super::{alert, rule};
use crate::alert::Handler;
use crate::types::Alert;

/// Checks a handler. `make` builds a fresh instance with a working receiver.
///
/// # Errors
/// The rule that it breaks.
pub fn check_handler(make: impl Fn() -> Arc<dyn Handler>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| format!("the check cannot start its threads: {e}"))?;
    let handler = runtime.block_on(async { make() });
    let twin = runtime.block_on(async { make() });
    rule(!handler.name().is_empty(), "its name is empty")?;
    rule(handler.name() == twin.name(), "its name changes: it comes from the config")?;
    let mut hostile: Alert = (*alert(2, &"\0\n\r\x1b[2J\u{2028}🚶\"'\\ ".repeat(2_000))).clone();
    hostile.key = String::new();
    let one = |alert: &Alert| runtime.block_on(handler.deliver(alert));
    for (what, alert) in
        [("an alert", &*alert(1, "plain \"quoted\"")), ("any text", &hostile), ("another alert", &*alert(3, "plain"))]
    {
        one(alert).map_err(|error| format!("its working receiver does not get {what}: {error}"))?;
    }
    let again = one(&alert(3, "plain"));
    again.map_err(|error| format!("it does not deliver an alert twice, as after a restart: {error}"))?;
    abandon(&runtime, &*handler);
    one(&alert(4, "after")).map_err(|error| format!("it does not work after an abandoned delivery: {error}"))
}

/// Drops a delivery halfway.
fn abandon(runtime: &tokio::runtime::Runtime, handler: &dyn Handler) {
    let alert = alert(4, "given up");
    runtime.block_on(async {
        let mut delivery = handler.deliver(&alert);
        poll_fn(|context| {
            let _ = delivery.as_mut().poll(context);
            Poll::Ready(())
        })
        .await;
    });
}
