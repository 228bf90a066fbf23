//! A handler's requests: counted, limited to the delivery's remaining time, and sent on another thread, so that the
//! guest's CPU time excludes the work of sending.

use std::sync::Arc;
use std::time::Duration;

use mlua::{Lua, LuaString, Table, Value};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::host::Host;
use crate::guest::http::{Failure, Request, Response, Wire};

/// The means to send requests.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) wire: Arc<dyn Wire>,
    pub(super) runtime: Handle,
}

impl Host {
    /// Adds the functions that `http.luau` calls.
    pub(super) fn put_http(&self, lua: &Lua, table: &Table, network: &Network) -> mlua::Result<()> {
        let (host, network) = (self.clone(), network.clone());
        table.raw_set(
            "http",
            lua.create_function(
                move |lua,
                      (method, url, headers, body, timeout): (
                    LuaString,
                    LuaString,
                    Vec<LuaString>,
                    LuaString,
                    Option<f64>,
                )| {
                    let text = |text: &LuaString| text.to_string_lossy();
                    let headers = headers.chunks_exact(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect();
                    let (method, url, body) = (text(&method), text(&url), body.as_bytes().to_vec());
                    let timeout = timeout.and_then(|s| Duration::try_from_secs_f64(s).ok()).unwrap_or(Duration::MAX);
                    // The response, the reason for its absence, the script's mistake.
                    let refused = |why: String| Ok((Value::Nil, None, Some(why)));
                    let left = match host.admit() {
                        Ok(left) => left,
                        Err(Refusal::Script(why)) => return refused(why.to_owned()),
                        Err(Refusal::Limit(why)) => return Ok((Value::Nil, Some(why), None)),
                    };
                    let timeout = timeout.min(left);
                    match network.send(Request { method, url, headers, body, timeout }, &host) {
                        Ok(response) => Ok((Value::Table(answer(lua, &response)?), None, None)),
                        // A retry would not help: the script or the configuration has to change.
                        Err(failure @ (Failure::Denied(_) | Failure::Invalid(_))) => refused(failure.to_string()),
                        Err(failure) => Ok((Value::Nil, Some(failure.to_string()), None)),
                    }
                },
            )?,
        )
    }

    /// Counts a request; returns its time limit.
    fn admit(&self) -> Result<Duration, Refusal> {
        let mut call_state = self.call_state.lock();
        let Some(deadline) = call_state.deadline else {
            return Err(Refusal::Script("requests are sent by handle_alert, not while the script loads"));
        };
        if self.context.rehearsal && self.context.trial.is_none() {
            return Err(Refusal::Limit("a rehearsal sends nothing".into()));
        }
        let most = self.context.limits.requests_per_call;
        if call_state.requests >= most {
            return Err(Refusal::Limit(format!("more than {most} requests in one delivery")));
        }
        call_state.requests += 1;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Refusal::Limit(Failure::Timeout.to_string())) } else { Ok(left) }
    }
}

/// Why a request is not sent.
enum Refusal {
    /// A misuse: an error at the script's line.
    Script(&'static str),
    /// A limit: returned like any failure.
    Limit(String),
}

impl Network {
    fn send(&self, request: Request, host: &Host) -> Result<Response, Failure> {
        let (timeout, most) = (request.timeout, host.context.limits.response_bytes);
        let (wire, grants) = (Arc::clone(&self.wire), Arc::clone(&host.context.grants));
        if host.context.trial.is_some() {
            // Its wire answers at once, and a check has no timers.
            return wire.send(request, &grants, most);
        }
        let sent = self.runtime.spawn_blocking(move || wire.send(request, &grants, most));
        // The wire enforces the timeout itself; one that does not is abandoned.
        match self.runtime.block_on(async { tokio::time::timeout(timeout, sent).await }) {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Failure::Unreachable("the request broke off".into())),
            Err(_) => Err(Failure::Timeout),
        }
    }
}

fn answer(lua: &Lua, response: &Response) -> mlua::Result<Table> {
    let Response { status, headers, body } = response;
    let table = lua.create_table_with_capacity(0, 4)?;
    table.raw_set("status", *status)?;
    table.raw_set("body", lua.create_string(body)?)?;
    let names = lua.create_table_with_capacity(0, headers.len())?;
    for (name, value) in headers {
        let value = match names.raw_get::<Option<String>>(name.as_str())? {
            Some(before) => format!("{before}, {value}"),
            None => value.clone(),
        };
        names.raw_set(name.as_str(), value)?;
    }
    table.raw_set("headers", names)?;
    Ok(table)
}
