//! The live log for followers: JSON lines, redacted, bounded in number and bytes.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tracing::Level;

/// Lines buffered per follower; a follower that lags behind misses the oldest and gets their number.
pub const TAIL_LINES_MAX: usize = 256;
/// Longest line; longer ones are truncated.
pub const TAIL_BYTES_MAX: usize = 16 << 10;

/// One line.
#[derive(Debug, Clone)]
pub struct TailLine {
    /// Severity.
    pub level: Level,
    /// The record, as one line of JSON.
    pub text: Arc<str>,
}

/// Distributes lines to followers.
#[derive(Debug)]
pub struct Tail(broadcast::Sender<TailLine>);

/// One follower.
#[derive(Debug)]
pub struct Follower(broadcast::Receiver<TailLine>);

/// What a follower receives.
#[derive(Debug, Clone)]
pub enum Heard {
    /// A line.
    Line(TailLine),
    /// So many lines were missed.
    Missed(u64),
    /// The log has ended.
    End,
}

impl Default for Tail {
    fn default() -> Self {
        Self(broadcast::channel(TAIL_LINES_MAX).0)
    }
}

impl Tail {
    /// Follows the log from now on.
    pub fn follow(&self) -> Follower {
        Follower(self.0.subscribe())
    }

    pub(super) fn is_followed(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Sends a record to all followers.
    pub(super) fn write(&self, level: Level, record: &str) {
        let text = if record.len() > TAIL_BYTES_MAX { cut(level, record).into() } else { record.into() };
        // Fails only without followers.
        let _ = self.0.send(TailLine { level, text });
    }
}

impl Follower {
    /// Waits for the next line.
    pub async fn next(&mut self) -> Heard {
        match self.0.recv().await {
            Ok(line) => Heard::Line(line),
            Err(RecvError::Lagged(missed)) => Heard::Missed(missed),
            Err(RecvError::Closed) => Heard::End,
        }
    }
}

/// A valid record with the beginning of one that is too long.
fn cut(level: Level, record: &str) -> String {
    // Escaping doubles quotes and backslashes, so half the limit always fits.
    let end = (0..=TAIL_BYTES_MAX / 2 - 256).rfind(|end| record.is_char_boundary(*end)).unwrap_or(0);
    json!({ "level": level.as_str(), "message": "this record is too long for the stream", "cut": &record[..end] })
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn followers_get_each_line_the_number_missed_and_long_lines_truncated() {
        let tail = Tail::default();
        assert!(!tail.is_followed());
        tail.write(Level::INFO, "{\"n\":0}");
        let mut follower = tail.follow();
        assert!(tail.is_followed());
        tail.write(Level::WARN, "{\"n\":1}");
        let Heard::Line(line) = follower.next().await else { panic!("no line") };
        assert_eq!((line.level, &*line.text), (Level::WARN, "{\"n\":1}"));
        let long = format!("{{\"message\":\"{}\"}}", "\\\"ü".repeat(TAIL_BYTES_MAX));
        tail.write(Level::ERROR, &long);
        let Heard::Line(line) = follower.next().await else { panic!("no line") };
        assert!(line.text.len() <= TAIL_BYTES_MAX, "{}", line.text.len());
        let record: serde_json::Value = serde_json::from_str(&line.text).unwrap();
        assert!(record["cut"].as_str().unwrap().starts_with("{\"message\":"), "{record}");
        (0..TAIL_LINES_MAX + 3).for_each(|_| tail.write(Level::INFO, "{}"));
        assert!(matches!(follower.next().await, Heard::Missed(3)));
        drop(tail);
        let mut left = 0;
        while let Heard::Line(_) = follower.next().await {
            left += 1;
        }
        assert_eq!(left, TAIL_LINES_MAX);
    }
}
