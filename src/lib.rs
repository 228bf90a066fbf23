//! dsengine: a scriptable engine for live video analytics.
//!
//! # The map
//! A frame's life, top to bottom: a [`backend`] turns a source into [`types::Frame`]s; [`infer`] detects;
//! the source's lane in [`engine`] tracks ([`track`]) and lets each [`strategy`] judge; the policy in [`alert`]
//! accepts or counts; [`handlers`] deliver. [`config`] ends in a `Plan`, and [`engine::Engine`] runs one.
//!
//! # Floors (imports go down only)
//! ```text
//! 8  cli (the binary)
//! 7  admin  watch
//! 6  control
//! 5  engine
//! 4  gst  deepstream  lua  wasm  handlers
//! 3  backend  strategy  alert
//! 2  infer  track  guest  scene
//! 1  config  vision  telemetry
//! 0  types  error  own
//! ```
//! The library installs no signal handler and no log subscriber and prints nothing. It has no globals but the one
//! ONNX Runtime environment that a process may open (`infer::Runtime`): two engines run in one process
//! (`examples/embed.rs`).

pub mod admin;
pub mod alert;
pub mod backend;
pub mod config;
pub mod control;
pub mod deepstream;
pub mod engine;
pub mod error;
pub mod gst;
pub mod guest;
pub mod handlers;
pub mod infer;
pub mod lua;
pub mod own;
pub mod scene;
pub mod strategy;
pub mod telemetry;
pub mod track;
pub mod types;
pub mod vision;
pub mod wasm;
pub mod watch;
