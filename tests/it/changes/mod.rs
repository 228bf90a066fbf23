//! An engine that changes while it runs: whatever is asked of it, sources that are not named lose no frame, and each of
//! their frames is judged by the rules from before the change or by those from after it.

mod control;
mod edits;
mod held;
mod lanes;
mod library;
pub(crate) mod measure;
mod pipelines;
mod process;
mod seen;
mod shared;
mod site;
mod sources;
