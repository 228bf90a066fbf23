//! Runs a model on one inference thread: pictures in, detections out.

use std::sync::Arc;

use crate::error::{Code, Error};
use crate::types::{Detection, Picture};
use crate::vision::decode::{Decoded, Tensor};
use crate::vision::letterbox::Placement;
use crate::vision::nms;
use crate::vision::preprocess::Preprocessor;

use super::model::Facts;
use super::session::Session;
use super::watch::Seen;

/// Runs one model on one thread. Each thread has its own.
pub struct Worker {
    facts: Arc<Facts>,
    session: Box<dyn Session>,
    preprocessor: Preprocessor,
    /// The session's input, sized for the largest batch so far.
    input: Vec<f32>,
    /// The placement whose padding each slot of the input currently holds.
    painted: Vec<Option<Placement>>,
    rejected: u64,
    seen: Seen,
}

impl Worker {
    pub(super) fn new(facts: Arc<Facts>, session: Box<dyn Session>, preprocessor: Preprocessor) -> Self {
        Self { facts, session, preprocessor, input: vec![], painted: vec![], rejected: 0, seen: Seen::default() }
    }

    /// Detects at the configured confidence: one list per picture, in order, best first.
    ///
    /// # Errors
    /// When the runtime fails on a batch, or a picture cannot be read; then no picture has detections.
    pub fn detect(&mut self, pictures: &[&Picture]) -> Result<Vec<Vec<Detection>>, Error> {
        let confidence = self.facts.plan.confidence;
        let jobs: Vec<_> = pictures.iter().map(|picture| (*picture, confidence)).collect();
        self.detect_above(&jobs)
    }

    /// Detects with a separate minimum score per picture.
    ///
    /// # Errors
    /// As [`Self::detect`].
    pub fn detect_above(&mut self, jobs: &[(&Picture, f32)]) -> Result<Vec<Vec<Detection>>, Error> {
        let mut detections = Vec::with_capacity(jobs.len());
        for batch in jobs.chunks(self.facts.fixed_batch.unwrap_or(usize::MAX).max(1)) {
            self.run(batch, &mut detections)?;
        }
        Ok(detections)
    }

    /// Output entries rejected so far, because they held no valid score or box.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Takes the counts since the last call.
    pub fn take_seen(&mut self) -> Seen {
        std::mem::take(&mut self.seen)
    }

    /// Runs only the network, on the current input, and reads no output: [`Self::detect`] without pre- and
    /// post-processing. For benchmarks.
    ///
    /// # Errors
    /// As [`Self::detect`].
    pub fn run_network(&mut self) -> Result<(), Error> {
        let places = self.facts.fixed_batch.unwrap_or(1);
        self.reserve(places);
        let input = &self.input[..places * self.preprocessor.floats()];
        let (width, height) = self.facts.input;
        self.session.run([places, 3, height, width], input, &mut |_| ()).map_err(|why| self.facts.failed(places, &why))
    }

    fn reserve(&mut self, places: usize) {
        if self.painted.len() < places {
            self.painted.resize(places, None);
            self.input.resize(places * self.preprocessor.floats(), 0.0);
        }
    }

    fn run(&mut self, batch: &[(&Picture, f32)], detections: &mut Vec<Vec<Detection>>) -> Result<(), Error> {
        let floats = self.preprocessor.floats();
        let places = self.facts.fixed_batch.unwrap_or(batch.len());
        self.reserve(places);
        let mut placements = Vec::with_capacity(batch.len());
        let slots = self.input.chunks_exact_mut(floats).zip(&mut self.painted);
        for ((picture, _), (slot, painted)) in batch.iter().zip(slots) {
            let planes = picture.planes().map_err(|why| Error::new(Code::Pipeline, why.to_string()))?;
            placements.push(self.preprocessor.write(&planes, slot, painted));
        }
        // Unused slots of a fixed batch keep their old content: their outputs are not read.
        let (width, height) = self.facts.input;
        let facts = Arc::clone(&self.facts);
        let mut seen = Seen::default();
        let mut read = |outputs: &[Tensor<'_>]| {
            for (index, ((_, confidence), placement)) in batch.iter().zip(&placements).enumerate() {
                let decoded = facts.layout.decode(outputs, index, facts.input, *confidence);
                seen.add(of(&decoded));
                detections.push(facts.finish(decoded, *placement));
            }
        };
        let input = &self.input[..places * floats];
        let ran = self.session.run([places, 3, height, width], input, &mut read);
        ran.map_err(|why| self.facts.failed(batch.len(), &why))?;
        self.rejected += seen.refused;
        self.seen.add(seen);
        Ok(())
    }
}

/// Counts a picture's output.
fn of(decoded: &Decoded) -> Seen {
    let is_small = |c: &&nms::Candidate| c.corners[2] - c.corners[0] < 1.0 || c.corners[3] - c.corners[1] < 1.0;
    let small = decoded.candidates.iter().filter(is_small).count() as u64;
    Seen { good: decoded.candidates.len() as u64 - small, small, refused: decoded.rejected }
}

impl Facts {
    fn failed(&self, batch: usize, why: &str) -> Error {
        let message = format!("model {} failed on a batch of {batch}: {why}", self.plan.model.display());
        Error::new(Code::Model, message).hint("a model exported for one picture needs `batch_size: 1`")
    }

    /// Applies NMS, maps boxes back to the picture, and adds labels.
    fn finish(&self, mut decoded: Decoded, placement: Placement) -> Vec<Detection> {
        nms::suppress(&mut decoded.candidates, self.plan.nms, self.plan.max_objects);
        let named = |c: &nms::Candidate| {
            let bbox = placement.to_picture(c.corners).clamped()?;
            let label = self.labels.get(c.class as usize)?;
            Some(Detection::new(Arc::clone(label), c.class, c.score, bbox))
        };
        decoded.candidates.iter().filter_map(named).collect()
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("facts", &self.facts).finish_non_exhaustive()
    }
}
