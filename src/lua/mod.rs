//! Luau scripts as strategies.
