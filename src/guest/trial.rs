//! Checks a guest before it judges: which labels its source has, and what it requests that does not exist.
//!
//! A trial is an instance without effects that judges generated frames. It records the instance's lookups. A fault of
//! the *contract* (a missing zone, label, field or function, a value of the wrong type) occurs on any frame; any other
//! fault may be due to the generated frame.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::nearest;

/// Maximum names listed in a message.
const NAMES_SHOWN: usize = 12;
/// Maximum labels and doubts recorded per trial: a guest may generate names.
const NOTED_MAX: usize = 64;

/// The labels that detections of a source may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// The known labels, in the order of the models' classes.
    pub names: Vec<Arc<str>>,
    /// Why there may be others; `None` if these are all.
    pub others: Option<&'static str>,
}

impl Labels {
    /// Whether a detection may have this label.
    pub fn may_be(&self, label: &str) -> bool {
        self.others.is_some() || self.has(label)
    }

    fn has(&self, label: &str) -> bool {
        self.names.iter().any(|name| **name == *label)
    }

    /// The error for a missing label, with the existing ones.
    fn lacks(&self, label: &str) -> String {
        let shown: String = label.chars().take(100).collect();
        let near = nearest(label, self.names.iter().map(|name| &**name));
        let near = near.map(|near| format!(" (did you mean '{near}'?)")).unwrap_or_default();
        let first: Vec<&str> = self.names.iter().take(NAMES_SHOWN).map(|name| &**name).collect();
        let more = self.names.len().saturating_sub(first.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("no label '{shown}'{near}; the labels are {}{more}", first.join(", "))
    }
}

/// Something that a guest requests and may never get.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Doubt {
    /// A description, one sentence without a full stop.
    pub what: String,
    /// Whether it is certain that the guest never gets it.
    pub certain: bool,
}

/// See the module. Shared by the instance and its tester.
#[derive(Debug, Default)]
pub struct Trial {
    labels: Labels,
    /// The labels of all sources that the guest is for.
    anywhere: Labels,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    asked: BTreeSet<Arc<str>>,
    doubts: BTreeSet<Doubt>,
    broke: bool,
    cut: bool,
    answered: bool,
}

impl Trial {
    /// A trial on a source with these labels; `anywhere` has the labels of all sources that the guest is for.
    pub fn new(labels: Labels, anywhere: Labels) -> Self {
        Self { labels, anywhere, noted: Mutex::default() }
    }

    /// Records that the guest looks up detections with any of these labels.
    ///
    /// # Errors
    /// The problem, if no detection of any source can have one of them.
    pub fn look_up(&self, labels: &[String]) -> Result<(), String> {
        self.note(labels);
        if self.labels.names.is_empty() {
            return Ok(());
        }
        let missing: Vec<&String> = labels.iter().filter(|label| !self.labels.has(label)).collect();
        let Some(first) = missing.first() else { return Ok(()) };
        // In a list for several models some may exist.
        let is_elsewhere = || labels.iter().any(|label| self.anywhere.may_be(label));
        if self.labels.others.is_none() && missing.len() == labels.len() && !is_elsewhere() {
            return Err(self.labels.lacks(first));
        }
        missing.into_iter().for_each(|label| self.doubt_label("asks for a label that is not there:", label));
        Ok(())
    }

    /// Records that the guest compares labels with this one, at this location.
    pub fn compares(&self, place: &str, label: &str) {
        self.note(&[label.to_owned()]);
        if !self.labels.names.is_empty() && !self.labels.has(label) {
            self.doubt_label(&format!("compares with a label that is not there: {place}:"), label);
        }
    }

    /// Records a lookup of a missing zone; the contract permits components to ask.
    pub fn lacks_zone(&self, zone: &str, zones: &str) {
        let zone: String = zone.chars().take(100).collect();
        self.doubt(Doubt {
            what: format!("asks for a zone that is not there: '{zone}'; the zones are {zones}"),
            certain: false,
        });
    }

    /// Records that the current call has broken the contract.
    pub fn breaks(&self) {
        self.noted.lock().broke = true;
    }

    /// Whether the contract was broken since the last call of this.
    pub fn broke(&self) -> bool {
        std::mem::take(&mut self.noted.lock().broke)
    }

    /// Records that the current call got an answer that nobody gave: to a request, or instead of a picture.
    pub fn answers(&self) {
        self.noted.lock().answered = true;
    }

    /// Whether the current call got such an answer.
    pub fn has_answer(&self) -> bool {
        self.noted.lock().answered
    }

    /// Whether there was such an answer since the last call of this.
    pub fn answered(&self) -> bool {
        std::mem::take(&mut self.noted.lock().answered)
    }

    /// Records that the time limit of the instance's calls was cut.
    pub fn cut(&self) {
        self.noted.lock().cut = true;
    }

    /// Whether a timeout may be due to the cut limit alone.
    pub fn is_cut(&self) -> bool {
        self.noted.lock().cut
    }

    /// The labels that it has looked up so far.
    pub fn asked(&self) -> BTreeSet<Arc<str>> {
        self.noted.lock().asked.clone()
    }

    /// What it requests and may never get.
    pub fn doubts(&self) -> Vec<Doubt> {
        self.noted.lock().doubts.iter().cloned().collect()
    }

    fn note(&self, labels: &[String]) {
        let mut noted = self.noted.lock();
        for label in labels {
            if noted.asked.len() < NOTED_MAX && !noted.asked.contains(label.as_str()) {
                noted.asked.insert(label.as_str().into());
            }
        }
    }

    fn doubt_label(&self, asks: &str, label: &str) {
        let why = self.labels.others.map(|why| format!(", and {why}")).unwrap_or_default();
        let what = format!("{asks} {}{why}", self.labels.lacks(label));
        let certain = self.labels.others.is_none() && !self.anywhere.may_be(label);
        self.doubt(Doubt { what, certain });
    }

    fn doubt(&self, doubt: Doubt) {
        let mut noted = self.noted.lock();
        if noted.doubts.len() < NOTED_MAX {
            noted.doubts.insert(doubt);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str], others: Option<&'static str>) -> Labels {
        Labels { names: names.iter().map(|name| (*name).into()).collect(), others }
    }

    /// A trial of a guest for one source.
    fn here(labels: Labels) -> Trial {
        Trial::new(labels.clone(), labels)
    }

    #[test]
    fn a_label_that_another_source_has_is_a_doubt_here() {
        let anywhere = labels(&["motion", "person"], None);
        let trial = Trial::new(labels(&["motion"], None), anywhere);
        assert_eq!(look_up(&trial, &["person"]), Ok(()));
        assert!(look_up(&trial, &["persn"]).unwrap_err().contains("no label 'persn'"));
        let [doubt] = &trial.doubts()[..] else { panic!("{:?}", trial.doubts()) };
        assert!(doubt.what.contains("no label 'person'") && !doubt.certain, "{doubt:?}");
    }

    fn look_up(trial: &Trial, labels: &[&str]) -> Result<(), String> {
        trial.look_up(&labels.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn an_unknown_label_is_reported_with_the_nearest() {
        let trial = here(labels(&["person", "car"], None));
        assert_eq!(look_up(&trial, &["person"]), Ok(()));
        let said = look_up(&trial, &["persn"]).unwrap_err();
        assert_eq!(said, "no label 'persn' (did you mean 'person'?); the labels are person, car");
        let said = look_up(&trial, &["Person"]).unwrap_err();
        assert!(said.contains("did you mean 'person'?"), "case counts: {said}");
        assert_eq!(look_up(&trial, &["person", "dog"]), Ok(()), "of a list some may be there");
        let doubts = trial.doubts();
        assert!(doubts.len() == 1 && doubts[0].certain && doubts[0].what.contains("'dog'"), "{doubts:?}");
    }

    #[test]
    fn an_unknown_label_is_a_doubt_if_others_may_occur_and_fine_if_none_are_known() {
        let trial = here(labels(&["person"], Some("another rule may add it")));
        assert_eq!(look_up(&trial, &["group"]), Ok(()));
        let doubts = trial.doubts();
        assert!(doubts.len() == 1 && !doubts[0].certain && doubts[0].what.ends_with("another rule may add it"));
        let trial = here(labels(&[], Some("a trace may have any")));
        assert_eq!((look_up(&trial, &["group"]), trial.doubts()), (Ok(()), Vec::new()));
        assert!(trial.asked().contains("group"));
    }

    #[test]
    fn records_are_bounded() {
        let trial = here(labels(&["person"], None));
        (0..1000).for_each(|n| trial.compares("x.lua:1", &format!("made up {n}")));
        assert_eq!((trial.asked().len(), trial.doubts().len()), (NOTED_MAX, NOTED_MAX));
    }
}
