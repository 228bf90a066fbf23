//! The `dsengine` command.

fn main() {}
