//! What is shown of a running engine: to pages, to the API, to whoever watches. Nothing here changes anything.
//!
//! `source` and `strategy` are what lanes write down of themselves, `live` what watchers see while it happens, `status`
//! the whole as plain values, `outside` the seam by which the page and the API ask.

mod events;
pub mod live;
pub(in crate::engine) mod outside;
pub(in crate::engine) mod source;
pub mod status;
pub(in crate::engine) mod strategy;
