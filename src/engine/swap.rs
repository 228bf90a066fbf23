//! Putting a version in place: on every lane or on none, between two frames, with the former one kept for the probation.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::LANE_WAIT;
use super::control::Control;
use super::probation::Probation;
use super::reload::{Ready, Reloads};
use super::running::{Origin, Running, Texts, Trial, module};
use super::shadow::Shadow;
use crate::config::StrategyPlan;
use crate::error::{Code, Error};

impl Reloads {
    /// Hands every lane its new instance and waits until each has taken it; returns how many have.
    pub(super) fn put(&self, running: &mut Running, plan: StrategyPlan, ready: Ready) -> Result<usize, Error> {
        let Ready { instances, texts, .. } = ready;
        let generation = running.highest + 1;
        running.highest = generation;
        if running.plan.shadow_of.is_some() {
            for (seat, strategy) in running.seats.iter().zip(instances) {
                let metrics = self.metrics.strategy(&plan.name, &seat.source);
                let shadow = Some(Shadow::new(strategy, Arc::clone(&running.board), metrics));
                seat.route.inbox.control(Control::Shadow { rule: seat.rule, shadow });
            }
            self.take(running, plan, texts, generation, None);
            running.bad = None;
            self.metrics.versions(&running.plan.name).reload("ok");
            return Ok(running.seats.len());
        }
        // One version at a time is on probation: from here on the former cannot fail any more, and if it has failed
        // meanwhile, what runs is the one before it.
        if let Some(trial) = &running.trial {
            trial.probation.pass();
        }
        running.settle();
        // The books first: a version that fails while other lanes still wait for it is rolled back in them, too.
        let probation = self.probation(running, &plan, generation);
        self.take(running, plan, texts, generation, Some(Arc::clone(&probation)));
        let waits: Vec<_> = running
            .seats
            .iter()
            .zip(instances)
            .map(|(seat, strategy)| {
                let (done, wait) = crossbeam_channel::bounded(1);
                let probation = Arc::clone(&probation);
                seat.route.inbox.control(Control::Swap { rule: seat.rule, strategy, generation, probation, done });
                wait
            })
            .collect();
        let mut lanes = 0;
        for wait in waits {
            match wait.recv_timeout(LANE_WAIT) {
                Ok(Ok(())) => lanes += 1,
                Ok(Err(fault)) => probation.fail(&format!("it cannot take over: {fault}")),
                // The lane has ended: it has nothing to try the version on.
                Err(_) => probation.lane_passed(),
            }
        }
        if running.seats.is_empty() {
            probation.pass();
        }
        if probation.failed() {
            running.settle();
            return Err(Error::new(Code::Plugin, probation.reason().unwrap_or_default()));
        }
        running.bad = None;
        self.metrics.versions(&running.plan.name).reload("ok");
        Ok(lanes)
    }

    /// Writes a version into the books; what ran before goes into the trial.
    fn take(
        &self,
        running: &mut Running,
        plan: StrategyPlan,
        texts: Texts,
        generation: u64,
        probation: Option<Arc<Probation>>,
    ) {
        let path = module(&plan).unwrap_or(&running.origin.path).to_owned();
        let origin = std::mem::replace(&mut running.origin, Origin::new(&path, texts));
        let plan = std::mem::replace(&mut running.plan, plan);
        let back = std::mem::replace(&mut running.generation, generation);
        running.trial = probation.map(|probation| Trial { probation, plan, origin, generation: back });
        running.board.reloaded(generation);
        self.rejected.clear(&path);
        self.metrics.versions(&running.plan.name).generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
    }

    /// A probation that says how it ended, on the board, in the metrics and in the log.
    fn probation(&self, running: &Running, plan: &StrategyPlan, generation: u64) -> Arc<Probation> {
        let routes: Vec<_> = running.seats.iter().map(|seat| Arc::clone(&seat.route)).collect();
        let (board, back) = (Arc::clone(&running.board), running.generation);
        let path = module(plan).unwrap_or(&running.origin.path).to_owned();
        let (rejected, count) = (Arc::clone(&self.rejected), Arc::clone(&self.count));
        let versions = self.metrics.versions(&plan.name);
        Probation::new(
            self.clock.monotonic_ns(),
            routes.len(),
            Box::new(move |failed| {
                let strategy = &*board.name;
                let Some(reason) = failed else {
                    tracing::info!(strategy, generation, "the new version stays");
                    return;
                };
                board.reloaded(back);
                let told = format!("rolled back: {reason}");
                rejected.note(&path, &told);
                board.set_error(Some(told));
                versions.reload("rolled_back");
                versions.generation.set(i64::try_from(back).unwrap_or(i64::MAX));
                // Idle lanes go back at once.
                for route in &routes {
                    route.inbox.control(Control::Settle);
                }
                // Other files are in use again.
                count.fetch_add(1, Ordering::Release);
                // Last, so that whoever reads the line finds everything else done.
                tracing::error!(strategy, generation, back, "rolled back to the former version: {reason}");
            }),
        )
    }
}
