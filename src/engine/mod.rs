//! The owner: assembles a Plan, runs it, replaces parts, heals.

pub mod live;
pub mod status;
