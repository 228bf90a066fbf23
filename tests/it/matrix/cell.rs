//! One cell of the matrix: what happens to its source, and whether what is expected came.

use std::time::{Duration, Instant};

use super::events::{Events, Told};
use super::rig::{LIMIT, Peer, edit, restart, source};
use super::table::{Cell, Expect, Fault};
use crate::harness::{bar, get};

/// How much later than it happens a test can see something: one answer, and a machine with other work.
const SEEN_LATER: Duration = Duration::from_millis(250);
/// Frames before anything happens, and after everything.
const STEADY: usize = 20;
/// How long a fault lasts that does not end at once.
const LASTS: Duration = Duration::from_secs(4);
/// How long a fault lasts through which frames go on.
const HOLDS: Duration = Duration::from_secs(10);
/// How wide pictures are whose size has changed.
const OTHER_WIDTH: u32 = 480;
/// Longest silence of a source that goes on: nearly what would be a loss.
const QUIET_MAX: Duration = Duration::from_secs(3);

/// Runs a cell on a running engine. What was measured, or what went wrong.
pub(super) fn run(cell: &Cell, peer: &mut dyn Peer, page: &str, events: &Events) -> Result<String, String> {
    let cell = Running { cell: *cell, id: cell.id(), page, events };
    cell.steady(0)?;
    match cell.cell.expect {
        Expect::Back(bound) | Expect::Named(bound) => cell.lost_and_back(peer, bound),
        Expect::Flagged => cell.flagged(peer),
        Expect::Edited => cell.edited(peer),
        Expect::Holds => cell.holds(peer),
        Expect::Worse(bound) => cell.worse(peer, bound),
        Expect::Nothing(why) => Err(why.to_owned()),
    }
}

struct Running<'a> {
    cell: Cell,
    id: String,
    page: &'a str,
    events: &'a Events,
}

impl Running<'_> {
    /// Waits for enough frames in a row, from an event on.
    fn steady(&self, from: usize) -> Result<(), String> {
        let mut at = from;
        for number in 0..STEADY {
            at = 1 + self.next(at, LIMIT, Told::is_frame).ok_or_else(|| self.failed(&format!("frame {number}")))?.0;
        }
        Ok(())
    }

    fn next(&self, from: usize, limit: Duration, wanted: impl Fn(&Told) -> bool) -> Option<(usize, Told)> {
        self.events.wait(from, limit, |told| told.source == self.id && wanted(told))
    }

    fn failed(&self, what: &str) -> String {
        let states = self.events.states(&self.id, 0);
        format!("{}: no {what}; states {states:?}; {}", self.id, source(self.page, &self.id))
    }

    /// Waits until the loss since an event is noticed; the number of that, and how long after the last frame it came.
    fn noticed(&self, from: usize, begun: Instant) -> Result<(usize, Duration), String> {
        let bound = bar(self.cell.noticed()) + SEEN_LATER;
        // Frames that come until the silence begins are no loss: only their absence is.
        let mut last = begun;
        let mut at = from;
        loop {
            let left = (last + bound).saturating_duration_since(Instant::now());
            let (number, told) = self
                .next(at, left, |told| told.is_loss() || told.is_frame())
                .ok_or_else(|| self.failed("loss is noticed"))?;
            if told.is_loss() {
                return Ok((number, told.at.saturating_duration_since(last)));
            }
            last = last.max(told.at);
            at = number + 1;
        }
    }

    /// Waits until the source delivers again; how long after `over` that was.
    fn back(&self, from: usize, over: Instant, bound: Duration) -> Result<Duration, String> {
        let limit = bar(bound) + SEEN_LATER;
        let end = over + limit;
        let left = |now: Instant| end.saturating_duration_since(now);
        let late = || self.failed(&format!("frame within {limit:?}"));
        let (at, _) = self.next(from, left(Instant::now()), Told::is_running).ok_or_else(late)?;
        let (_, frame) = self.next(at, left(Instant::now()), Told::is_frame).ok_or_else(late)?;
        Ok(frame.at.saturating_duration_since(over))
    }

    fn lost_and_back(&self, peer: &mut dyn Peer, bound: Duration) -> Result<String, String> {
        let (from, begun) = (self.events.len(), Instant::now());
        peer.begin(self.cell.fault);
        let (at, noticed) = self.noticed(from, begun)?;
        let short = matches!(self.cell.fault, Fault::Kill | Fault::Reset | Fault::Codec);
        if !short && self.cell.fault != Fault::Freeze {
            self.lasts(at)?;
        }
        if matches!(self.cell.expect, Expect::Named(_)) {
            let is_named = |source: &serde_json::Value| source["last_error"]["class"] == "permanent";
            self.until("error that is the user's part", || is_named(&source(self.page, &self.id)))?;
        }
        // A reset is over at once.
        let over = if self.cell.fault == Fault::Reset { begun } else { peer.end(self.cell.fault) };
        let back = self.back(at, over, bound)?;
        self.steady(self.events.len())?;
        Ok(format!("noticed after {noticed:.2?}, back after {back:.2?}"))
    }

    /// Lets a fault last: meanwhile the source does not come back.
    fn lasts(&self, from: usize) -> Result<(), String> {
        match self.next(from, LASTS, Told::is_running) {
            None => Ok(()),
            Some(_) => Err(self.failed("absence while the fault lasts")),
        }
    }

    fn flagged(&self, peer: &mut dyn Peer) -> Result<String, String> {
        let (from, begun) = (self.events.len(), Instant::now());
        peer.begin(self.cell.fault);
        let (at, noticed) = self.noticed(from, begun)?;
        let remedy = |source: &serde_json::Value| source["remedy"].as_str().is_some_and(|words| !words.is_empty());
        self.until("remedy", || remedy(&source(self.page, &self.id)))?;
        let over = peer.end(self.cell.fault);
        restart(self.page, &self.id)?;
        let back = self.back(at, over, Duration::from_secs(2))?;
        self.steady(self.events.len())?;
        Ok(format!("noticed after {noticed:.2?}, flagged, back after {back:.2?} by a restart"))
    }

    fn edited(&self, peer: &mut dyn Peer) -> Result<String, String> {
        let from = self.events.len();
        edit(self.page, &self.id, &peer.address("no-such-camera.invalid"))?;
        let (at, noticed) = self.noticed(from, Instant::now())?;
        let unknown =
            || source(self.page, &self.id)["error"].as_str().is_some_and(|why| why.contains("no-such-camera"));
        self.until("error that names the host", unknown)?;
        let over = Instant::now();
        edit(self.page, &self.id, &peer.uri())?;
        let back = self.back(at, over, Duration::from_secs(2))?;
        Ok(format!("noticed after {noticed:.2?}, back after {back:.2?} by an edit"))
    }

    fn holds(&self, peer: &mut dyn Peer) -> Result<String, String> {
        let (from, begun) = (self.events.len(), Instant::now());
        peer.begin(self.cell.fault);
        if let Some((_, told)) = self.next(from, HOLDS, Told::is_loss) {
            return Err(self.failed(&format!("frames without a failure: {told:?}")));
        }
        let told = self.events.of_source(&self.id, from);
        let times: Vec<Instant> = told.iter().filter(|told| told.is_frame()).map(|told| told.at).collect();
        let gaps = std::iter::once(begun).chain(times.iter().copied()).zip(times.iter().copied());
        let longest = gaps.map(|(a, b)| b.saturating_duration_since(a)).max().unwrap_or(HOLDS);
        let size = source(self.page, &self.id)["stream"]["width"].clone();
        if self.cell.fault == Fault::Size && size != OTHER_WIDTH {
            return Err(self.failed("picture of the other size"));
        }
        if longest > bar(QUIET_MAX) || times.len() < STEADY {
            return Err(self.failed(&format!("frames enough: {} frames, a gap of {longest:?}", times.len())));
        }
        peer.end(self.cell.fault);
        Ok(format!("{} frames in {HOLDS:?}, longest gap {longest:.2?}", times.len()))
    }

    fn worse(&self, peer: &mut dyn Peer, bound: Duration) -> Result<String, String> {
        let (from, begun) = (self.events.len(), Instant::now());
        peer.begin(self.cell.fault);
        let mut last = begun;
        // Until then frames come, or it is said that they do not.
        while begun.elapsed() < HOLDS {
            let silent = last.elapsed();
            let told = self.events.of_source(&self.id, from);
            last = told.iter().filter(|told| told.is_frame()).map(|told| told.at).max().unwrap_or(begun);
            let lost = told.iter().rev().find(|told| !told.is_frame()).is_some_and(Told::is_loss);
            if !lost && silent > bar(self.cell.noticed()) + SEEN_LATER {
                return Err(self.failed(&format!("word of a silence of {silent:?}")));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let frames = self.events.of_source(&self.id, from).iter().filter(|told| told.is_frame()).count();
        let lost = self.events.of_source(&self.id, from).iter().filter(|told| told.is_loss()).count();
        let (over, at) = (peer.end(self.cell.fault), self.events.len());
        let limit = bar(bound) + SEEN_LATER;
        let (_, frame) = self.next(at, limit, Told::is_frame).ok_or_else(|| self.failed("frame after it"))?;
        let back = frame.at.saturating_duration_since(over);
        self.steady(at)?;
        let spoilt = get(self.page, "/metrics").1;
        let series = format!("dsengine_frames_dropped_total{{reason=\"corrupt\",source=\"{}\"}}", self.id);
        let corrupt = crate::harness::sample(&spoilt, &series).unwrap_or_default();
        Ok(format!("{frames} frames in {HOLDS:?}, {corrupt} corrupt, {lost} losses said, back after {back:.2?}"))
    }

    fn until(&self, what: &str, is_so: impl Fn() -> bool) -> Result<(), String> {
        let end = Instant::now() + LIMIT;
        while !is_so() {
            if Instant::now() > end {
                return Err(self.failed(what));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }
}
