//! Returns free memory to the system: memory freed by a change is spread over the allocator's arenas, which would
//! otherwise keep it.

#![allow(unsafe_code, reason = "a call of the C library")]

use std::time::Duration;

/// Minimum interval while the engine changes.
pub(super) const EVERY: Duration = Duration::from_secs(5);
/// Repetitions after a change: versions on probation are kept for ten seconds.
pub(super) const TIMES: u32 = 4;

/// Returns the allocator's free memory to the system.
#[cfg(target_env = "gnu")]
pub(super) fn give_back() {
    // SAFETY: the function takes a number and locks what it accesses; any thread may call it at any time.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators return memory by themselves.
#[cfg(not(target_env = "gnu"))]
pub(super) fn give_back() {}
