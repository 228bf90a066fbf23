//! What a running engine shows: to pages, the API and watchers. Read-only.
//!
//! `source` (with its `score`) and `strategy` are what lanes record about themselves, `live` is what watchers see in real time, `status`
//! has everything as plain values, `outside` is the trait that the page and the API use.

mod events;
pub mod live;
pub(in crate::engine) mod outside;
pub(in crate::engine) mod score;
pub(in crate::engine) mod source;
pub mod status;
pub(in crate::engine) mod strategy;
