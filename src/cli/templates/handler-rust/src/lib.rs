//! {{name}}: posts alerts to a chat's incoming webhook.
//!
//! config: `url` (required); `${secret:NAME}` in it is filled in by the engine, the plugin never sees the secret.
//!
//! What there is to call: `sdk/src/lib.rs`, and the contract itself in `sdk/wit/`.

use dsengine_plugin::http::{self, Failure, Request};
use dsengine_plugin::{Alert, Error, Handler, Outcome, config, export_handler, json_text};

struct Plugin {
    url: String,
}

impl Handler for Plugin {
    fn new() -> Result<Self, Error> {
        Ok(Self { url: config::need("url")? })
    }

    fn handle(&mut self, alert: &Alert) -> Result<Outcome, Error> {
        let text = format!("{}: {}", alert.source, alert.message);
        let answer = http::send(&Request {
            method: "POST".into(),
            url: self.url.clone(),
            headers: vec![("content-type".into(), "application/json".into())],
            body: format!("{{\"text\":{}}}", json_text(&text)).into_bytes(),
            timeout_ms: 5000,
        });
        match answer.map(|response| response.status) {
            Ok(200..=299) => Ok(Outcome::Delivered),
            Ok(408 | 425 | 429 | 500..) | Err(Failure::Unreachable(_) | Failure::Timeout) => Ok(Outcome::Retry),
            Ok(status) => Err(Error::new("status", format!("the chat answered {status}"))),
            Err(failure) => Err(Error::new("http", format!("{failure:?}"))),
        }
    }
}

export_handler!(Plugin);
