//! {{name}}: too many people in the zone.
//!
//! config: `zone` (required), `most` (how many people raise an alert; default 3).
//!
//! What there is to call: `sdk/src/lib.rs`, and the contract itself in `sdk/wit/`.

use dsengine_plugin::detections::in_zone;
use dsengine_plugin::{
    AlertDraft, Detection, Error, Frame, Level, Strategy, Verdict, Wants, config, export_strategy, zones,
};

struct Plugin {
    zone: String,
    most: usize,
}

impl Strategy for Plugin {
    fn new() -> Result<Self, Error> {
        let zone: String = config::need("zone")?;
        if !zones::names().contains(&zone) {
            return Err(Error::new("config", format!("config.zone is '{zone}', and this source has no such zone")));
        }
        Ok(Self { zone, most: config::or("most", 3)? })
    }

    fn wants() -> Wants {
        // Other labels are not handed over at all, which is the fastest.
        Wants { labels: vec!["person".into()], ..Wants::default() }
    }

    fn judge(&mut self, _frame: &Frame, detections: &[Detection]) -> Result<Verdict, Error> {
        let inside = in_zone(&self.zone).unwrap_or_default().into_iter().map(|i| i as usize);
        let people: Vec<usize> = inside.filter(|&i| detections[i].confidence >= 0.5).collect();
        if people.len() < self.most {
            return Ok(Verdict::default());
        }
        let message = format!("{} people in {}", people.len(), self.zone);
        let alert = AlertDraft::new("{{name}}").level(Level::High).key(&self.zone).message(message).about(people);
        Ok(Verdict::alerts([alert]))
    }
}

export_strategy!(Plugin);
