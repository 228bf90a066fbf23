//! What a process holds: memory, threads, descriptors.

use crate::harness::rss_kib;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) rss_kib: u64,
    pub(crate) threads: usize,
    pub(crate) descriptors: usize,
}

impl Held {
    pub(crate) fn by(pid: u32) -> Self {
        let count = |what| std::fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count);
        Self { rss_kib: rss_kib(pid), threads: count("task"), descriptors: count("fd") }
    }

    /// Whether it is no more than `before`, but for so much memory.
    pub(crate) fn is_no_more_than(self, before: Self, kib: u64) -> bool {
        let Self { rss_kib, threads, descriptors } = self;
        rss_kib < before.rss_kib + kib && threads <= before.threads && descriptors <= before.descriptors
    }

    /// The same, and says what has grown.
    #[track_caller]
    pub(crate) fn no_more_than(self, before: Self, kib: u64) {
        println!("held: {before:?}, then {self:?}");
        assert!(self.rss_kib < before.rss_kib + kib, "memory grows: {before:?} -> {self:?}");
        assert!(self.threads <= before.threads, "threads: {before:?} -> {self:?}");
        assert!(self.descriptors <= before.descriptors, "descriptors: {before:?} -> {self:?}");
    }
}
