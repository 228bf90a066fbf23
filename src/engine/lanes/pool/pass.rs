//! The frames that pass a model without inference.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::model::ModelUnit;
use super::{Given, Job};

/// Maps the pictures. Drops frames whose picture cannot be read, which affects only their own sources.
pub(super) fn readable(jobs: Vec<Job>) -> Vec<Job> {
    let can_be_read = |job: &Job| job.frame.picture.as_ref().is_none_or(|picture| picture.planes().is_ok());
    let (readable, unreadable): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(can_be_read);
    for job in unreadable {
        job.next.lose(job.ticket, "unreadable");
    }
    readable
}

/// Passes on every frame without the detections of an optional model that is skipped.
pub(super) fn unskipped(given: &Given, model: &ModelUnit, jobs: Vec<Job>) -> Vec<Job> {
    if !model.plan.optional || !given.skips_optional() {
        return jobs;
    }
    for mut job in jobs {
        model.metrics.skipped(&job.frame.source);
        job.stage += 1;
        Arc::clone(&job.next).advance(job);
    }
    Vec::new()
}

/// Passes on frames outside the model's schedule without its detections.
pub(super) fn on_schedule(model: &ModelUnit, jobs: Vec<Job>) -> Vec<Job> {
    let Some(schedule) = &model.plan.schedule else { return jobs };
    let (on, off): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| schedule.holds(job.frame.captured_unix_ns));
    model.off.store(on.is_empty(), Ordering::Relaxed);
    for mut job in off {
        model.metrics.off_schedule(&job.frame.source);
        job.stage += 1;
        Arc::clone(&job.next).advance(job);
    }
    on
}
