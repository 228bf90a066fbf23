//! The integration tests, in one binary.

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
