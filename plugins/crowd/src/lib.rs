//! Raises `crowd` when at least `most` people have stood in a zone for `seconds` of frame time without a break.
//!
//! config: `zone` (required), `most` (default 3), `seconds` (default 0), `level` (default high).
//! state: `calls`, how many frames were judged, kept over reloads and faults.

use dsengine_plugin::detections::in_zone;
use dsengine_plugin::{
    AlertDraft, Detection, Error, Frame, Level, Strategy, Verdict, Wants, config, export_strategy, state, zones,
};

const RULE: &str = "crowd";

struct Crowd {
    zone: String,
    most: usize,
    hold_ns: u64,
    level: Level,
    /// Frame time since which there have been enough.
    since_ns: Option<u64>,
}

impl Strategy for Crowd {
    fn new() -> Result<Self, Error> {
        let zone: String = config::need("zone")?;
        if !zones::names().contains(&zone) {
            return Err(Error::new("config", format!("config.zone is '{zone}', and this source has no such zone")));
        }
        let seconds: f64 = config::or("seconds", 0.0)?;
        if !(0.0..=86400.0).contains(&seconds) {
            return Err(Error::new("config", "config.seconds goes from 0 to 86400"));
        }
        let level = match config::or("level", "high".to_owned())?.as_str() {
            "low" => Level::Low,
            "medium" => Level::Medium,
            "high" => Level::High,
            "critical" => Level::Critical,
            other => {
                let message = format!("config.level is '{other}'; it is low, medium, high or critical");
                return Err(Error::new("config", message));
            }
        };
        Ok(Self { zone, most: config::or("most", 3)?, hold_ns: (seconds * 1e9) as u64, level, since_ns: None })
    }

    fn wants() -> Wants {
        Wants { labels: vec!["person".into()], ..Wants::default() }
    }

    fn judge(&mut self, frame: &Frame, detections: &[Detection]) -> Result<Verdict, Error> {
        state::set_u64("calls", state::get_u64("calls") + 1)?;
        let inside = in_zone(&self.zone).unwrap_or_default().into_iter().map(|index| index as usize);
        let people: Vec<usize> = inside.filter(|&index| detections[index].label == "person").collect();
        if people.len() < self.most {
            self.since_ns = None;
            return Ok(Verdict::default());
        }
        let since = *self.since_ns.get_or_insert(frame.pts_ns);
        if frame.pts_ns.saturating_sub(since) < self.hold_ns {
            return Ok(Verdict::default());
        }
        let alert = AlertDraft::new(RULE)
            .level(self.level)
            .key(&self.zone)
            .message(format!("{} people in {}", people.len(), self.zone))
            .about(people);
        Ok(Verdict::alerts([alert]))
    }

    fn suspend(&mut self) -> Vec<u8> {
        self.since_ns.map(|ns| ns.to_le_bytes().to_vec()).unwrap_or_default()
    }

    fn resume(&mut self, _from: &str, handed: &[u8]) -> Result<(), Error> {
        // Anything but eight bytes means: there were not enough.
        self.since_ns = handed.try_into().ok().map(u64::from_le_bytes);
        Ok(())
    }
}

export_strategy!(Crowd);
