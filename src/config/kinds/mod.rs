//! The kinds of sources, strategies and handlers: one file each, with its keys and its part of the plan.
//!
//! The keys of a kind are a plain struct. The schema of a list has one object with the keys of all its kinds; the
//! schemas of the structs determine which keys belong to which kind.

pub(in crate::config) mod handlers;
pub(in crate::config) mod shape;
pub(in crate::config) mod sources;
pub(in crate::config) mod strategies;
