//! dsengine: a scriptable engine for live video analytics.
//!
//! # The map
//! The path of a frame, top to bottom: a [`backend`] turns a source into [`types::Frame`]s; [`infer`] detects; the
//! source's lane in [`engine`] tracks ([`track`]) and runs each [`strategy`]; the policy in [`alert`] accepts or
//! counts; [`handlers`] deliver. [`config`] produces a `Plan`, and [`engine::Engine`] runs one.
//!
//! # Floors (imports go down only)
//! ```text
//! 8  cli (the binary)
//! 7  admin  watch
//! 6  control
//! 5  engine
//! 4  gst  deepstream  lua  wasm  handlers  sqlite
//! 3  backend  strategy  alert
//! 2  infer  track  guest  scene
//! 1  config  vision  telemetry  outbound
//! 0  types  error  own  text
//! ```
//! # An engine in a program
//! ```no_run
//! use dsengine::config::{self, Request};
//! use dsengine::engine::{EngineApi as _, Engine};
//! use std::time::Duration;
//!
//! let request = Request { config: Some("camera.yaml".into()), ..Request::default() };
//! let plan = config::load(&request)?.plan;
//! let engine = Engine::builder(plan.clone()).start()?;
//! // Another plan, while it runs: all of it, or nothing.
//! let applied = engine.apply(config::Plan { name: "yard".into(), ..plan })?;
//! assert_eq!(applied.changes, ["name changed"]);
//! println!("{} sources", engine.handle().status().sources.len());
//! println!("{:?}", engine.drain(Duration::from_secs(5)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! More: `examples/embed.rs`, `examples/custom_strategy.rs`. Embedders need [`config`], [`engine`], [`control`],
//! [`types`] and the three seams; modules that are not listed serve the command line and may change at any time.
//!
//! The library installs no signal handler and no log subscriber and prints nothing. Its only global is the ONNX Runtime
//! environment, of which a process may open only one (`infer::Runtime`): two engines can run in one process
//! (`examples/embed.rs`).

pub mod admin;
pub mod alert;
pub mod backend;
pub mod config;
pub mod control;
#[doc(hidden)]
pub mod deepstream;
pub mod engine;
pub mod error;
#[doc(hidden)]
pub mod gst;
pub mod guest;
pub mod handlers;
pub mod infer;
#[doc(hidden)]
pub mod lua;
#[doc(hidden)]
pub mod outbound;
#[doc(hidden)]
pub mod own;
pub mod scene;
pub mod sqlite;
pub mod strategy;
pub mod telemetry;
#[doc(hidden)]
pub mod text;
pub mod track;
pub mod types;
pub mod vision;
#[doc(hidden)]
pub mod wasm;
#[doc(hidden)]
pub mod watch;
