//! The integration tests, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail by panicking and say why on the console; clippy knows only functions marked as tests"
)]

mod admin;
mod alerts;
mod config;
    reason = "a test fails by panicking, in its helpers as well, and says what it skipped"
)]

mod house;
mod infer;
mod recorder;
mod sources;
mod harness;
mod run;
mod signals;
mod lua;
mod watch;
mod motion;
mod track;
mod scene;
mod wit;
mod reload;
mod examples;
