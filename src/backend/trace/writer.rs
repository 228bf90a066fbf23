//! Writes traces.

use std::io::Write;

use serde::Serialize;

use super::{Header, Record};
use crate::types::Frame;

/// A writer of trace records.
pub struct Writer<W: Write> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// When writing fails.
    pub fn new(mut out: W, header: &Header) -> std::io::Result<Self> {
        line(&mut out, header)?;
        Ok(Self { out })
    }

    /// Writes one frame.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write(&mut self, frame: &Frame) -> std::io::Result<()> {
        self.write_record(&Record::from(frame))
    }

    /// Writes one frame with what a run knows of it.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write_record(&mut self, record: &Record) -> std::io::Result<()> {
        line(&mut self.out, record)
    }

    /// Flushes and returns the underlying writer.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(mut self) -> std::io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

fn line(out: &mut impl Write, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
