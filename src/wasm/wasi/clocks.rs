//! Clocks of guests: frame time in a strategy, real time in a handler. Waits use real time in both.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock::{self, Duration, Instant};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::{self, Datetime};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::wasm::store_data::{StoreData, now_ns};

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

impl wall_clock::Host for StoreData {
    fn now(&mut self) -> wasmtime::Result<Datetime> {
        let ns = match self.wire {
            None => self.call.captured_unix_ns,
            Some(_) => {
                let time = clock_gettime(ClockId::Realtime);
                time.tv_sec as u64 * SECOND + time.tv_nsec as u64
            }
        };
        Ok(Datetime { seconds: ns / SECOND, nanoseconds: (ns % SECOND) as u32 })
    }

    fn resolution(&mut self) -> wasmtime::Result<Datetime> {
        Ok(Datetime { seconds: 0, nanoseconds: 1 })
    }
}

impl StoreData {
    fn wait_until(&mut self, at_ns: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let wait = self.table.push(Wait { at_ns })?;
        subscribe(&mut self.table, wait)
    }
}

impl monotonic_clock::Host for StoreData {
    fn now(&mut self) -> wasmtime::Result<Instant> {
        Ok(if self.wire.is_none() { self.call.pts_ns } else { now_ns() })
    }

    fn resolution(&mut self) -> wasmtime::Result<Duration> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, when: Instant) -> wasmtime::Result<Resource<DynPollable>> {
        let from = monotonic_clock::Host::now(self)?;
        self.wait_until(now_ns().saturating_add(when.saturating_sub(from)))
    }

    fn subscribe_duration(&mut self, when: Duration) -> wasmtime::Result<Resource<DynPollable>> {
        self.wait_until(now_ns().saturating_add(when))
    }
}

/// A wait until a point in time; `waits` polls it each millisecond.
struct Wait {
    at_ns: u64,
}

impl Pollable for Wait {
    fn ready<'life0, 'async_trait>(&'life0 mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(poll_fn(|_| if now_ns() >= self.at_ns { Poll::Ready(()) } else { Poll::Pending }))
    }
}
