//! Validates an ONNX file's framing: every field of every (protocol buffers) message ends within its message. The
//! built-in runtime skips unknown fields by their stored length, and loops for ever on an invalid one. The nesting of
//! messages follows the ONNX schema (onnx.proto3).

use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

/// Maximum bytes of a varint.
const VARINT_MAX: u32 = 10;
/// Maximum nesting of messages (graphs in attributes of nodes of graphs).
const DEPTH_MAX: u32 = 64;

/// A message type in the schema; `Plain` contains no messages.
#[derive(Debug, Clone, Copy)]
enum Message {
    Model,
    Training,
    Function,
    Graph,
    Node,
    Attribute,
    Tensor,
    Sparse,
    Value,
    Type,
    TypeOfTensor,
    TypeOfOthers,
    Shape,
    Plain,
}

impl Message {
    /// The message type of a field; `None` if the field is not a message.
    fn below(self, field: u64) -> Option<Self> {
        use Message as M;
        Some(match (self, field) {
            (M::Model, 7) | (M::Training, 1 | 2) | (M::Attribute, 6 | 11) => M::Graph,
            (M::Model, 20) => M::Training,
            (M::Model, 25) => M::Function,
            (M::Graph, 1) | (M::Function, 7) => M::Node,
            (M::Node, 5) | (M::Function, 11) => M::Attribute,
            (M::Graph, 5) | (M::Attribute, 5 | 10) | (M::Sparse, 1 | 2) => M::Tensor,
            (M::Graph, 15) | (M::Attribute, 22 | 23) => M::Sparse,
            (M::Graph, 11..=13) | (M::Function, 12) => M::Value,
            (M::Value, 2) | (M::Attribute, 14 | 15) | (M::TypeOfOthers, 1 | 2) => M::Type,
            (M::Type, 1 | 8) => M::TypeOfTensor,
            (M::Type, 4 | 5 | 9) => M::TypeOfOthers,
            (M::TypeOfTensor, 2) => M::Shape,
            (M::Model, 8 | 14) | (M::Graph, 14 | 16) | (M::Node, 9) | (M::Tensor, 3 | 13) | (M::Shape, 1) => M::Plain,
            _ => return None,
        })
    }
}

/// Checks the file.
///
/// # Errors
/// Why it is not a complete ONNX file.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let file = crate::text::open(path).map_err(|error| error.to_string())?;
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    Walk { file: BufReader::new(file), at: 0 }.message(Message::Model, length, 0)
}

/// A reader and its position in the file.
struct Walk<F> {
    file: F,
    at: u64,
}

impl<F: Read + Seek> Walk<F> {
    /// Walks through a message up to `end`.
    fn message(&mut self, message: Message, end: u64, depth: u32) -> Result<(), String> {
        while self.at < end {
            let begins = self.at;
            let cut = |_| format!("the file is damaged or cut off: what begins at byte {begins} does not end in it");
            let key = self.varint(end).map_err(cut)?;
            let length = match key & 7 {
                0 => self.varint(end).map(|_| 0).map_err(cut)?,
                1 => 8,
                2 => self.varint(end).map_err(cut)?,
                5 => 4,
                other => return Err(format!("it is no ONNX model: byte {begins} begins a field of kind {other}")),
            };
            let ends = self.at.checked_add(length).filter(|ends| *ends <= end).ok_or_else(|| cut(()))?;
            match message.below(key >> 3).filter(|_| key & 7 == 2) {
                Some(_) if depth == DEPTH_MAX => return Err(format!("messages are nested too deep at byte {begins}")),
                Some(below) => self.message(below, ends, depth + 1)?,
                None => self.skip(ends).map_err(|error| error.to_string())?,
            }
        }
        Ok(())
    }

    fn skip(&mut self, to: u64) -> io::Result<()> {
        let by = i64::try_from(to - self.at).map_err(|_| io::ErrorKind::InvalidData)?;
        self.at = to;
        self.file.seek_relative(by)
    }

    /// Reads a varint of up to ten bytes that ends before `end`.
    fn varint(&mut self, end: u64) -> Result<u64, ()> {
        let mut value = 0;
        for index in 0..VARINT_MAX {
            let mut byte = [0];
            if self.at == end || self.file.read_exact(&mut byte).is_err() {
                return Err(());
            }
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f) << (index * 7);
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn check(bytes: &[u8]) -> Result<(), String> {
        Walk { file: Cursor::new(bytes), at: 0 }.message(Message::Model, bytes.len() as u64, 0)
    }

    #[test]
    fn a_file_ends_where_its_last_field_does() {
        for whole in
            [&b""[..], b"\x08\x08", b"\x12\x02ab", b"\x08\x08\x12\x00\x0d1234\x091234abcd", b"\x3a\x02\x0a\x00"]
        {
            assert_eq!(check(whole), Ok(()), "{whole:?}");
        }
    }

    #[test]
    fn lengths_that_lead_out_of_their_message_are_refused() {
        let backwards = |before: &[u8]| [before, &[0xff; 9], &[1]].concat();
        for damaged in [
            &b"\x12\x03ab"[..],
            b"\x08",
            b"\x12",
            b"\x09abc",
            b"\x08\x80",
            // In a graph: a node longer than the graph, and a field that loops back.
            b"\x3a\x02\x0a\x01ab",
            &backwards(b"\x12"),
            &backwards(b"\x3a\x0b\x12"),
        ] {
            assert!(check(damaged).unwrap_err().contains("damaged or cut off"), "{damaged:?}");
        }
        assert!(check(b"\x0b").unwrap_err().contains("no ONNX model"));
        // A graph in an attribute of a node of a graph, nested repeatedly.
        let deep = (0..200).fold(Vec::new(), |inner: Vec<u8>, n| {
            let key = [0x3a, 0x0a, 0x2a, 0x32][if n == 199 { 0 } else { 1 + (198 - n) % 3 }];
            let mut message = vec![key];
            let (mut length, inner) = (inner.len(), inner);
            while length >= 0x80 {
                message.push((length & 0x7f) as u8 | 0x80);
                length >>= 7;
            }
            message.push(length as u8);
            [message, inner].concat()
        });
        assert!(check(&deep).unwrap_err().contains("too deep"), "{:?}", check(&deep));
    }
}
