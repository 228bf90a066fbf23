//! The integration tests, in one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, say why on the console, and look at real time from outside; clippy knows only \
              functions marked as tests"
)]

mod admin;
mod admin_access;
mod admin_api;
mod alerts;
mod backends;
mod cameras;
mod canary;
mod cases;
mod changes;
mod cli_plugin;
mod cli_test;
mod clips;
mod commands;
mod config;
mod config_kinds;
mod control;
mod demo;
mod deploy;
mod detections;
mod discover;
mod disk;
mod effects;
mod email;
mod email_settings;
mod examples;
mod explain;
#[path = "../doubles/fault_proxy/mod.rs"]
mod fault_proxy;
mod faults;
mod guests;
mod handler_trial;
mod handlers_live;
mod harness;
mod house;
mod infer;
mod journal;
mod kinds;
mod lua;
mod lua_api;
mod lua_handlers;
mod lua_types;
mod matrix;
mod missing;
mod models;
mod motion;
mod mqtt;
mod namespace;
mod outbox;
mod overlay;
mod perf;
mod playlists;
mod plugin_folder;
mod plugins;
mod policy_memory;
mod profiles;
mod quiet;
mod reaching;
mod readme;
mod rebuilt;
mod record;
mod recorded;
mod recorder;
mod reload;
mod retry;
mod rotation;
mod run;
mod scene;
mod seams;
mod signals;
mod silences;
mod site;
mod snapshot;
mod source_test;
mod sources;
mod state;
mod terminal;
mod text;
mod times;
mod track;
mod trial;
mod wasm;
mod watch;
mod web;
mod webhook_answers;
mod webhooks;
mod webrtc;
mod wit;
mod zoo_lua;
