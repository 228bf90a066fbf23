//! Streams and waits of guests. A guest waits on its own thread, at most until its call's time limit.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::io::poll::{Host as PollHost, HostPollable as Waits};
use wasmtime_wasi::p2::bindings::io::streams::{
    Host as StreamsHost, HostInputStream as Input, HostOutputStream as Out,
};
use wasmtime_wasi::p2::bindings::sync::io::{poll, streams};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamError, StreamResult};

use crate::guest::{Interrupt, TICK};
use crate::wasm::fault::Stopped;
use crate::wasm::store_data::StoreData;

/// Selects the table as the data of `wasi:io/error`.
pub(super) struct Waiting;

impl HasData for Waiting {
    type Data<'a> = &'a mut ResourceTable;
}

pub(super) fn table(store_data: &mut StoreData) -> &mut ResourceTable {
    &mut store_data.table
}

/// Unparks a waiting thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for `work` until the call's time limit.
pub(super) fn wait<F: Future>(interrupt: &Interrupt, work: F) -> wasmtime::Result<F::Output> {
    let mut work = pin!(work);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
            return Ok(done);
        }
        if interrupt.check().is_some() {
            return Err(Stopped.into());
        }
        std::thread::park_timeout(TICK);
    }
}

/// As [`wait`], for stream operations.
fn wait_io<T>(interrupt: &Interrupt, work: impl Future<Output = StreamResult<T>>) -> StreamResult<T> {
    wait(interrupt, work).map_err(StreamError::Trap)?
}

impl poll::Host for StoreData {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        wait(&self.interrupt, PollHost::poll(&mut self.table, pollables))?
    }
}

impl poll::HostPollable for StoreData {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        wait(&self.interrupt, Waits::ready(&mut self.table, pollable))?
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        wait(&self.interrupt, Waits::block(&mut self.table, pollable))?
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        Waits::drop(&mut self.table, pollable)
    }
}

impl streams::Host for StoreData {
    fn convert_stream_error(&mut self, error: StreamError) -> wasmtime::Result<streams::StreamError> {
        Ok(StreamsHost::convert_stream_error(&mut self.table, error)?.into())
    }
}

impl streams::HostOutputStream for StoreData {
    fn drop(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        wait(&self.interrupt, Out::drop(&mut self.table, stream))?
    }

    fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        Out::check_write(&mut self.table, stream)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        Out::write(&mut self.table, stream, bytes)
    }

    fn blocking_write_and_flush(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        wait_io(&self.interrupt, Out::blocking_write_and_flush(&mut self.table, stream, bytes))
    }

    fn blocking_write_zeroes_and_flush(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        wait_io(&self.interrupt, Out::blocking_write_zeroes_and_flush(&mut self.table, stream, len))
    }

    fn subscribe(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        Out::subscribe(&mut self.table, stream)
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        Out::write_zeroes(&mut self.table, stream, len)
    }

    fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        Out::flush(&mut self.table, stream)
    }

    fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        wait_io(&self.interrupt, Out::blocking_flush(&mut self.table, stream))
    }

    fn splice(&mut self, to: Resource<DynOutputStream>, from: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        Out::splice(&mut self.table, to, from, len)
    }

    fn blocking_splice(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        wait_io(&self.interrupt, Out::blocking_splice(&mut self.table, to, from, len))
    }
}

impl streams::HostInputStream for StoreData {
    fn drop(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<()> {
        wait(&self.interrupt, Input::drop(&mut self.table, stream))?
    }

    fn read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        Input::read(&mut self.table, stream, len)
    }

    fn blocking_read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        wait_io(&self.interrupt, Input::blocking_read(&mut self.table, stream, len))
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        Input::skip(&mut self.table, stream, len)
    }

    fn blocking_skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        wait_io(&self.interrupt, Input::blocking_skip(&mut self.table, stream, len))
    }

    fn subscribe(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        Input::subscribe(&mut self.table, stream)
    }
}
