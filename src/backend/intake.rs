//! Messages that are handed to a source from outside, and what became of them.

use serde::Serialize;
use utoipa::ToSchema;

/// Most refused lines that an answer describes; further ones are only counted.
pub const ERRORS_MAX: usize = 10;

/// Takes messages for one source, from any thread. Never waits.
pub trait Intake: Send + Sync {
    /// Takes the lines of a body, in the format of the source.
    fn take(&self, body: &[u8]) -> Taken;
}

/// What became of the lines of a body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Taken {
    /// Frames that go on to the rules, as far as `fps` and the machine allow.
    pub accepted: u64,
    /// Frames that came after a newer one was judged. They are dropped.
    pub late: u64,
    /// Frames that were taken before. They are dropped.
    pub doubled: u64,
    /// Lines that are no usable frame. They are dropped.
    pub refused: u64,
    /// Frames of another sensor than `parameters.sensor`. They are dropped.
    pub passed_over: u64,
    /// Accepted frames whose own time is too far from that of their arrival, which they got instead.
    pub retimed: u64,
    /// The first refused lines.
    pub errors: Vec<LineError>,
}

/// Why a line was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LineError {
    /// The line's number, from 1; of `nvmsgconv`, that of the message.
    pub line: u64,
    /// What is wrong with it.
    pub message: String,
}

impl Taken {
    /// Counts a refused line.
    pub fn refuse(&mut self, line: u64, message: String) {
        self.refused += 1;
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(LineError { line, message });
        }
    }

    /// Whether it was all refused.
    pub fn is_refused(&self) -> bool {
        self.refused > 0 && self.accepted + self.late + self.doubled + self.passed_over == 0
    }
}
