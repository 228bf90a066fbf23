//! Free memory goes back to the system: what a change has taken down was spread over the allocator's arenas, which keep
//! it otherwise.

#![allow(unsafe_code, reason = "a call of the C library")]

use std::time::Duration;

/// How often at most, while the engine changes.
pub(super) const EVERY: Duration = Duration::from_secs(5);
/// How often after a change: versions on probation are kept for ten seconds.
pub(super) const TIMES: u32 = 4;

/// Gives back what the allocator holds and nobody uses.
#[cfg(target_env = "gnu")]
pub(super) fn give_back() {
    // SAFETY: the function takes a number and locks what it touches; every thread may call it at any time.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back by themselves.
#[cfg(not(target_env = "gnu"))]
pub(super) fn give_back() {}
