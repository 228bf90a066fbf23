//! Writing a trace.

use std::io::Write;

use serde::Serialize;

use super::{Header, Record};
use crate::types::Frame;

/// Writes a trace.
pub struct Writer<W: Write> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// When the medium fails.
    pub fn new(mut out: W, header: &Header) -> std::io::Result<Self> {
        line(&mut out, header)?;
        Ok(Self { out })
    }

    /// Writes one frame.
    ///
    /// # Errors
    /// When the medium fails.
    pub fn write(&mut self, frame: &Frame) -> std::io::Result<()> {
        line(&mut self.out, &Record::from(frame))
    }

    /// Flushes and hands the medium back.
    ///
    /// # Errors
    /// When the medium fails.
    pub fn finish(mut self) -> std::io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

fn line(out: &mut impl Write, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
