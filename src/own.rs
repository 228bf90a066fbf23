//! Owned threads: the starter of a thread holds a [`Thread`], which stops it and waits for it within a limit.
//!
//! [`retry_while_ending`] waits for what a killed process still holds.
//!
//! A [`Stop`] signals the thread to end. The thread may check it, pause on it, or select on it together with its own
//! channels; stopping wakes it from all three. Every wait for a thread has a limit: one that does not end in time is
//! detached and logged. Reads no clock.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, after, bounded, never, select};

/// Longest wait for a thread whose owner is dropped without joining it.
const DROP_MS_MAX: u64 = 2_000;

/// How often it is tried again what an ending process may still hold, and the pause before each.
const ENDING_TRIES: u32 = 100;
const ENDING_PAUSE: Duration = Duration::from_millis(30);
/// How often in a row a holder must look as if it went on: between the signal and the end there is a moment without a
/// sign.
const LIVING_TRIES: u32 = 3;

/// Tries what a process that was killed may still hold (a port, a lock): the system frees it once its last thread has
/// ended, which a disk can delay. `try_it` returns whether the holder may be ending; while it may, it is tried again,
/// for some three seconds. `None` if that did not help.
pub fn retry_while_ending<T>(mut try_it: impl FnMut() -> Result<T, bool>) -> Option<T> {
    let mut living = 0;
    for _ in 0..ENDING_TRIES {
        match try_it() {
            Ok(done) => return Some(done),
            Err(is_ending) => living = if is_ending { 0 } else { living + 1 },
        }
        if living >= LIVING_TRIES {
            break;
        }
        // Nothing is ever sent.
        let _ = never::<()>().recv_timeout(ENDING_PAUSE);
    }
    None
}

/// Whether a process has ended, or was killed and is about to.
pub fn is_ending(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    is_ending_by(&stat, &status)
}

/// By what `/proc` says of it.
fn is_ending_by(stat: &str, status: &str) -> bool {
    /// The kernel's `PF_EXITING`.
    const EXITING: u64 = 0x4;
    /// `SIGKILL` in a set of signals.
    const KILL: u64 = 1 << 8;
    // Its name is in parentheses and may have some.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
    let flags = fields.get(6).and_then(|flags| flags.parse::<u64>().ok()).unwrap_or(0);
    let pending = |line: &str| {
        let set = line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(set.trim(), 16).ok()
    };
    let is_killed = status.lines().filter_map(pending).any(|set| set & KILL != 0);
    fields.first().is_some_and(|state| ["Z", "X"].contains(state)) || flags & EXITING != 0 || is_killed
}

/// A thread's signal to end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop {
    requested: Arc<AtomicBool>,
    signal: Receiver<()>,
}

impl Stop {
    /// Whether the thread should end. One load.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    /// Pauses for at most `limit`, less if the thread should end. Returns whether to continue.
    pub fn pause(&self, limit: Duration) -> bool {
        self.signal.recv_timeout(limit) == Err(RecvTimeoutError::Timeout)
    }

    /// Disconnects when the thread should end; nothing is sent on it. For `select!`.
    pub fn signal(&self) -> &Receiver<()> {
        &self.signal
    }
}

/// A running thread and the right to stop it. Dropping it stops the thread and waits for it, at most two seconds.
#[derive(Debug)]
pub struct Thread {
    name: String,
    requested: Arc<AtomicBool>,
    /// Dropped to signal the end.
    stop: Option<Sender<()>>,
    /// Disconnects when the thread has ended, also by a panic.
    alive: Receiver<()>,
    handle: Option<JoinHandle<()>>,
}

impl Thread {
    /// Starts a thread with this name; NUL characters are removed.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(name: &str, run: impl FnOnce(Stop) + Send + 'static) -> io::Result<Self> {
        let name = name.replace('\0', "");
        let (stop, signal) = bounded(1);
        let (living, alive) = bounded::<()>(1);
        let requested = Arc::new(AtomicBool::new(false));
        let theirs = Stop { requested: Arc::clone(&requested), signal };
        let handle = std::thread::Builder::new().name(name.clone()).spawn(move || {
            let _living = living;
            run(theirs);
        })?;
        Ok(Self { name, requested, stop: Some(stop), alive, handle: Some(handle) })
    }

    /// Signals the thread to end, without waiting.
    pub fn stop(&mut self) {
        self.requested.store(true, Ordering::Release);
        self.stop = None;
    }

    /// Whether the thread has ended.
    pub fn ended(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Signals the thread to end and waits for it, at most `within`. Returns whether it has ended; otherwise it is
    /// detached and logged, and never waited for again.
    pub fn join(&mut self, within: Duration) -> bool {
        Self::join_all([self], within) == 0
    }

    /// Stops several threads and waits for all of them, at most `within` in total. Returns the number of detached ones.
    pub fn join_all<'a>(threads: impl IntoIterator<Item = &'a mut Self>, within: Duration) -> usize {
        let mut threads: Vec<&mut Self> = threads.into_iter().collect();
        threads.iter_mut().for_each(|thread| thread.stop());
        let (limit, mut late, mut abandoned) = (after(within), false, 0);
        for thread in threads {
            let Some(handle) = thread.handle.take() else { continue };
            if !late {
                select! {
                    recv(thread.alive) -> _ => {}
                    recv(limit) -> _ => late = true,
                }
            }
            if thread.alive.try_recv() == Err(TryRecvError::Empty) {
                let limit_ms = within.as_millis();
                tracing::error!(thread = thread.name, limit_ms, "a thread does not stop; it is abandoned");
                abandoned += 1;
            } else if handle.join().is_err() {
                tracing::error!(thread = thread.name, "a thread panicked");
            }
        }
        abandoned
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.join(Duration::from_millis(DROP_MS_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn stopping_wakes_a_thread_from_its_pause() {
        let mut thread = Thread::start("pause", |stop| assert!(!stop.pause(LONG) && stop.requested())).unwrap();
        assert!(!thread.ended());
        assert!(thread.join(LONG));
        assert!(thread.ended() && thread.join(LONG), "joining again is nothing");
    }

    #[test]
    fn stopping_wakes_a_thread_from_a_select() {
        let (_idle, work) = bounded::<()>(1);
        let mut thread = Thread::start("sel\0ect", move |stop| {
            crossbeam_channel::select! {
                recv(work) -> _ => unreachable!(),
                recv(stop.signal()) -> _ => {}
            }
        })
        .unwrap();
        assert!(thread.join(LONG));
    }

    #[test]
    fn a_thread_that_does_not_stop_is_abandoned_in_time() {
        let (release, held) = bounded::<()>(1);
        let (done, ended) = bounded(1);
        let mut thread = Thread::start("stuck", move |_| {
            let _ = held.recv();
            let _ = done.send(());
        })
        .unwrap();
        assert!(!thread.join(Duration::from_millis(20)));
        drop(thread);
        drop(release);
        assert_eq!(ended.recv_timeout(LONG), Ok(()), "it goes on by itself");
    }

    #[test]
    fn several_threads_share_one_limit() {
        let (release, held) = bounded::<()>(1);
        let stuck = |n: usize| {
            let held = held.clone();
            Thread::start(&format!("stuck-{n}"), move |_| assert!(held.recv().is_err())).unwrap()
        };
        let mut threads: Vec<Thread> = (0..50).map(stuck).collect();
        threads.push(Thread::start("good", |stop| assert!(!stop.pause(LONG))).unwrap());
        let limit = after(Duration::from_secs(20));
        assert_eq!(Thread::join_all(&mut threads, Duration::from_millis(500)), 50);
        assert!(limit.is_empty(), "the limit is for all and not for each");
        drop(release);
    }

    #[test]
    fn a_panic_ends_a_thread() {
        let mut thread = Thread::start("panics", |_| panic!("as it should")).unwrap();
        assert!(thread.join(LONG));
    }

    #[test]
    fn dropping_the_owner_ends_the_thread() {
        let (living, alive) = bounded::<()>(1);
        drop(
            Thread::start("dropped", move |stop| {
                while stop.pause(LONG) {
                    let _ = &living;
                }
            })
            .unwrap(),
        );
        assert!(alive.try_recv().is_err_and(|e| e.is_disconnected()));
    }

    #[test]
    fn a_process_is_ending_once_it_is_killed_a_zombie_or_gone() {
        let stat = |state: &str, flags: u64| format!("7 (a) b) {state} 1 7 7 0 -1 {flags} 0 0");
        let pending = |set: &str| format!("Name:\ta\nSigPnd:\t0000000000000000\nShdPnd:\t{set}\n");
        let none = pending("0000000000000000");
        assert!(!is_ending_by(&stat("S", 0x40_0040), &none));
        assert!(is_ending_by(&stat("Z", 0x40_0040), &none));
        assert!(is_ending_by(&stat("D", 0x40_0044), &none));
        assert!(is_ending_by(&stat("D", 0x40_0040), &pending("0000000000000100")));
        assert!(!is_ending_by(&stat("D", 0x40_0040), &pending("0000000000004000")), "SIGTERM can be handled");
        assert!(!is_ending(std::process::id()) && is_ending(u32::MAX));
    }

    #[test]
    fn what_an_ending_process_holds_is_tried_again_and_what_a_living_one_holds_is_not() {
        let mut tries = 0;
        let done = retry_while_ending(|| {
            tries += 1;
            if tries == 3 { Ok(tries) } else { Err(true) }
        });
        assert_eq!(done, Some(3));
        let mut tries = 0;
        let living = retry_while_ending::<()>(|| {
            tries += 1;
            Err(false)
        });
        assert_eq!((living, tries), (None, LIVING_TRIES));
    }
}
