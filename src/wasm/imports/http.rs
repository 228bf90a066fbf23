//! HTTP requests of handlers. The calling thread blocks: its wall time counts, its CPU time does not.

use std::sync::Arc;
use std::time::Duration;

use crate::guest::http as wire;
use crate::wasm::bindings::dsengine::plugin::http::{Failure, Host, Request, Response};
use crate::wasm::store_data::{StoreData, now_ns};

impl Host for StoreData {
    fn send(&mut self, request: Request) -> wasmtime::Result<Result<Response, Failure>> {
        let most = self.context.limits.requests_per_call;
        let Some(network) = self.wire.clone() else {
            return Ok(Err(Failure::Denied("only handlers send requests".into())));
        };
        if self.call.loading {
            return Ok(Err(Failure::Denied("a plugin that loads sends no requests; send them for an alert".into())));
        }
        if self.call.requests >= most {
            return Ok(Err(Failure::Denied(format!("more than {most} requests for one alert"))));
        }
        self.call.requests += 1;
        let left = Duration::from_nanos(self.call.until_ns.saturating_sub(now_ns()));
        let request = wire::Request {
            method: request.method,
            url: request.url,
            headers: request.headers,
            body: request.body,
            timeout: Duration::from_millis(request.timeout_ms.into()).min(left),
        };
        let grants = Arc::clone(&self.context.grants);
        let answer = network.send(request, &grants, self.context.limits.response_bytes);
        Ok(answer.map(|a| Response { status: a.status, headers: a.headers, body: a.body }).map_err(|f| match f {
            wire::Failure::Denied(text) | wire::Failure::Inside(text) => Failure::Denied(text),
            wire::Failure::Invalid(text) => Failure::Invalid(text),
            wire::Failure::Unreachable(text) => Failure::Unreachable(text),
            wire::Failure::Timeout => Failure::Timeout,
            wire::Failure::TooLarge(bytes) => Failure::TooLarge(bytes),
        }))
    }
}
