//! Posts an alert as `{"text": …}` to a chat's incoming webhook.
//!
//! config: `url` (required), `header` (optional, one more header as `Name: value`), `timeout_ms` (default 5000).
//! Both may hold `${secret:NAME}`; the engine fills it in, and the plugin never sees it.

use dsengine_plugin::http::{self, Failure, Request};
use dsengine_plugin::{Alert, Error, Handler, Level, Outcome, config, export_handler, json_text, log};

struct Chat {
    url: String,
    headers: Vec<(String, String)>,
    timeout_ms: u32,
}

impl Handler for Chat {
    fn new() -> Result<Self, Error> {
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        if let Some(header) = config::read::<String>("header")? {
            let Some((name, value)) = header.split_once(':') else {
                return Err(Error::new("config", "config.header is no 'Name: value'"));
            };
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(Self { url: config::need("url")?, headers, timeout_ms: config::or("timeout_ms", 5000)? })
    }

    fn handle(&mut self, alert: &Alert) -> Result<Outcome, Error> {
        let text = format!("[{}] {}: {} ({})", word(alert.level), alert.source, alert.message, alert.time);
        let answer = http::send(&Request {
            method: "POST".to_owned(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: format!("{{\"text\":{}}}", json_text(&text)).into_bytes(),
            timeout_ms: self.timeout_ms,
        });
        match answer {
            Ok(response) => outcome(response.status),
            Err(Failure::Unreachable(why)) => {
                log!(Warn, "the chat cannot be reached: {why}");
                Ok(Outcome::Retry)
            }
            Err(Failure::Timeout) => Ok(Outcome::Retry),
            Err(Failure::Denied(why)) => Err(Error::new("denied", why)),
            Err(Failure::Invalid(why)) => Err(Error::new("invalid", why)),
            // It was answered, so it was received.
            Err(Failure::TooLarge(_)) => Ok(Outcome::Delivered),
        }
    }
}

/// What an answer's status means for an alert.
fn outcome(status: u16) -> Result<Outcome, Error> {
    match status {
        200..=299 => Ok(Outcome::Delivered),
        408 | 425 | 429 | 500..=599 => Ok(Outcome::Retry),
        _ => Err(Error::new("status", format!("the chat answered {status}"))),
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Low => "low",
        Level::Medium => "medium",
        Level::High => "high",
        Level::Critical => "critical",
    }
}

export_handler!(Chat);
