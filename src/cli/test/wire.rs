//! A simulated network: returns the case's answers in order, and records every request.

use std::collections::VecDeque;

use dsengine::guest::Grants;
use dsengine::guest::http::{self, Failure, Request, Response, Wire};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

use super::script::Answer;

/// The remaining answers, and the recorded requests.
#[derive(Default)]
pub(super) struct Answers(Mutex<Exchange>);

#[derive(Default)]
struct Exchange {
    left: VecDeque<Answer>,
    sent: Vec<Value>,
    broken: Vec<String>,
}

impl Answers {
    pub(super) fn new(answers: &[Answer]) -> Self {
        Self(Mutex::new(Exchange { left: answers.iter().cloned().collect(), ..Exchange::default() }))
    }

    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.0.lock()
    }

    /// The number of sent requests.
    pub(super) fn sent(&self) -> usize {
        self.exchange().sent.len()
    }

    /// The requests, and what went wrong.
    pub(super) fn close(&self) -> (Vec<Value>, Vec<String>) {
        let mut exchange = self.exchange();
        let left = std::mem::take(&mut exchange.left);
        let unasked = left.iter().map(|a| format!("http: the answer for {} was not asked for", a.url));
        let broken = std::mem::take(&mut exchange.broken).into_iter().chain(unasked).collect();
        (std::mem::take(&mut exchange.sent), broken)
    }
}

impl Wire for Answers {
    fn send(&self, request: Request, grants: &Grants, response_bytes: usize) -> Result<Response, Failure> {
        // What the real network would deny is denied here, too, and is not recorded.
        http::admit(&request, grants)?;
        let mut exchange = self.exchange();
        let Request { method, url, headers, body, .. } = request;
        let headers: serde_json::Map<_, _> =
            headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), Value::from(value))).collect();
        exchange.sent.push(json!({
            "method": method, "url": url, "headers": headers, "body": String::from_utf8_lossy(&body),
        }));
        let fits = |answer: &&Answer| answer.url == url && answer.method.as_ref().is_none_or(|m| *m == method);
        if exchange.left.front().filter(fits).is_none() {
            let next =
                exchange.left.front().map_or("none is left".to_owned(), |a| format!("the next is for {}", a.url));
            exchange
                .broken
                .push(format!("http: {method} {url} was asked for, and the case has no answer for it ({next})"));
            return Err(Failure::Unreachable("the test has no answer for this request".into()));
        }
        let Some(Answer { status, headers, body, error, .. }) = exchange.left.pop_front() else {
            return Err(Failure::Timeout);
        };
        match error.as_deref() {
            Some("timeout") => return Err(Failure::Timeout),
            Some(why) => return Err(Failure::Unreachable(why.to_owned())),
            None => {}
        }
        let body = match body {
            Value::Null => Vec::new(),
            Value::String(text) => text.into_bytes(),
            other => other.to_string().into_bytes(),
        };
        if body.len() > response_bytes {
            return Err(Failure::TooLarge(response_bytes as u64));
        }
        Ok(Response { status, headers: headers.into_iter().collect(), body })
    }
}
