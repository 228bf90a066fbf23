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

/// A refusal with the place of a secret in a case, which has its own instead of a configuration's.
fn of_case(failure: Failure) -> Failure {
    match failure {
        Failure::Invalid(what) => Failure::Invalid(what.replace(
            "set it in the configuration: secrets:",
            "set it in the case, beside all that plugin.toml asks for: grants: {http: […], secrets:",
        )),
        other => other,
    }
}

impl Wire for Answers {
    fn send(&self, request: Request, grants: &Grants, response_bytes: usize) -> Result<Response, Failure> {
        // What the real network would deny is denied here, too, and is not recorded.
        http::admit(&request, grants).map_err(of_case)?;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dsengine::guest::Needs;

    use super::*;

    #[test]
    fn a_secret_that_a_case_lacks_is_to_be_set_in_the_case() {
        let has = Needs { http: vec!["x.example".into()], ..Needs::default() };
        let grants = Grants { has, ..Grants::default() };
        let (method, url) = ("POST".to_owned(), "https://x.example/${secret:CHAT}".to_owned());
        let request = Request { method, url, headers: Vec::new(), body: Vec::new(), timeout: Duration::from_secs(1) };
        let refused = Answers::new(&[]).send(request, &grants, 1).unwrap_err().to_string();
        assert!(refused.contains("set it in the case") && refused.contains("secrets: {CHAT: …}"), "{refused}");
    }
}
