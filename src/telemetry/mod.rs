//! Metrics (one table of names), logs and redaction.
