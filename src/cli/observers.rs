//! What `run` does with each frame besides judging it: compares it with the truth, and writes it down.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dsengine::config::Plan;
use dsengine::engine::{Judged, Observer};
use dsengine::error::Error;
use dsengine::types::{Alert, Frame, Turns};

use super::files::apart;
use super::judgements::Judgements;
use super::recording::Recording;
use super::truth::Truth;

/// The files that the observers read and write.
pub(crate) struct Files<'a> {
    pub(crate) truth: Option<&'a Path>,
    pub(crate) judgements: Option<&'a Path>,
    pub(crate) record: Option<&'a Path>,
    /// What the configuration is read from.
    pub(crate) config: [Option<&'a Path>; 2],
}

/// The observers of `run`.
#[derive(Clone)]
pub(crate) struct Observers {
    pub(crate) truth: Option<Arc<Truth>>,
    judgements: Option<Arc<Judgements>>,
    recording: Option<Arc<Recording>>,
}

impl Observers {
    pub(crate) fn open(files: &Files<'_>, plan: &Plan) -> Result<Self, Error> {
        let sources = plan.sources.iter().filter_map(|source| source.input.file());
        let models = plan.models.iter().flat_map(|model| std::iter::once(&model.model).chain(&model.labels));
        let read = files.config.into_iter().flatten().chain(files.truth);
        let inputs: Vec<&Path> = sources.chain(models.map(PathBuf::as_path)).chain(read).collect();
        apart(&files.record.into_iter().chain(files.judgements).collect::<Vec<_>>(), &inputs)?;
        let truth = files.truth.map(Truth::open).transpose()?.map(Arc::new);
        let judgements = files.judgements.map(Judgements::create).transpose()?.map(Arc::new);
        let recording = files.record.map(|path| Recording::create(path, plan)).transpose()?.map(Arc::new);
        Ok(Self { truth, judgements, recording })
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = &dyn Observer> {
        let truth = self.truth.as_deref().map(|truth| truth as &dyn Observer);
        let judgements = self.judgements.as_deref().map(|judgements| judgements as &dyn Observer);
        let recording = self.recording.as_deref().map(|recording| recording as &dyn Observer);
        truth.into_iter().chain(judgements).chain(recording)
    }

    /// Ends the files; returns the first error.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        let judgements = self.judgements.as_ref().map_or(Ok(()), |judgements| judgements.finish());
        let recording = self.recording.as_ref().map_or(Ok(()), |recording| recording.finish());
        judgements.and(recording)
    }
}

impl Observer for Observers {
    fn detected(&self, frame: &Frame) {
        self.each().for_each(|o| o.detected(frame));
    }
    fn decided(&self, frame: &Frame, turns: Option<&Turns>) {
        self.each().for_each(|o| o.decided(frame, turns));
    }
    fn judged(&self, judged: &Judged<'_>) {
        self.each().for_each(|o| o.judged(judged));
    }
    fn alert(&self, alert: &Alert) {
        self.each().for_each(|o| o.alert(alert));
    }
}
