//! The kinds of sources, strategies and handlers: one file each, with what it takes and its part of the plan.
//!
//! What a kind takes is a plain struct. A list of the configuration shows one object that takes what any of its kinds
//! does; which keys belong to which kind is read from the schemas of the structs.

pub(in crate::config) mod handlers;
pub(in crate::config) mod shape;
pub(in crate::config) mod sources;
pub(in crate::config) mod strategies;
