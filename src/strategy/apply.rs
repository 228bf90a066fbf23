//! Applies a verdict to a frame's detections: everything is validated before anything takes effect.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Edit, Fault, FaultKind, Verdict, check_attribute, check_attributes};
use crate::types::{Attributes, Detection, ENGINE_RULES, EXPIRES_SECONDS_MAX, Raised, Resolve};

/// The effect of a verdict.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Applied {
    /// Alerts raised, in the strategy's order.
    pub raised: Vec<Raised>,
    /// Conditions that have ended, in the strategy's order.
    pub resolved: Vec<Resolve>,
    /// Detections removed.
    pub removed: usize,
    /// Detections that the strategy wanted to remove but may not, because it is not configured to filter.
    pub not_removed: usize,
}

/// Applies `verdict` to `detections`, the list that the strategy saw: edits, then alerts (which therefore show the
/// edits), then removals if the strategy `filters`, then additions. Added boxes are clipped to the picture.
///
/// # Errors
/// [`FaultKind::Verdict`] when an index is out of range, a box is not finite or outside the picture, a confidence is
/// not within 0..1, a label or rule is empty, or a rule is the engine's own. `detections` are then unchanged.
pub fn apply(verdict: Verdict, filters: bool, detections: &mut Vec<Detection>) -> Result<Applied, Fault> {
    let Verdict { keep, edits, mut added, alerts, resolved } = verdict;
    let count = detections.len();
    let known = |what: &str, index: u32| match (index as usize) < count {
        true => Ok(index as usize),
        false => Err(nonsense(format!("{what} detection {index} of {count} (counted from 0)"))),
    };
    for edit in &edits {
        known("edits", edit.index)?;
        edit.confidence.map_or(Ok(()), check_confidence)?;
        edit.label.as_deref().map_or(Ok(()), check_label)?;
    }
    let described = describe(&edits, detections)?;
    for detection in &mut added {
        check_label(&detection.label)?;
        check_confidence(detection.confidence)?;
        detection.bbox = detection.bbox.clamped().ok_or_else(|| {
            let b = detection.bbox;
            nonsense(format!(
                "adds a '{}' with the box x {}, y {}, width {}, height {}, of which nothing is in the picture (0..1)",
                detection.label, b.x, b.y, b.width, b.height
            ))
        })?;
    }
    for alert in &alerts {
        check_rule(&alert.rule)?;
        check_expires(alert.expires_seconds)?;
        alert.detections.iter().try_for_each(|i| known("raises an alert on", *i).map(drop))?;
    }
    for Resolve { rule, .. } in &resolved {
        if rule.is_empty() || rule.starts_with(ENGINE_RULES) {
            return Err(nonsense(format!("resolves the rule '{rule}', which is not its own")));
        }
    }
    for index in keep.iter().flatten() {
        known("keeps", *index)?;
    }

    for edit in edits {
        let detection = &mut detections[edit.index as usize];
        if let Some(label) = edit.label {
            detection.label = Arc::from(label);
        }
        detection.confidence = edit.confidence.unwrap_or(detection.confidence);
    }
    for (index, attributes) in described {
        detections[index].attributes = attributes;
    }
    let raised = alerts
        .into_iter()
        .map(|alert| Raised {
            rule: alert.rule,
            level: alert.level,
            key: alert.key,
            message: alert.message,
            detections: named(&alert.detections, detections),
            tags: alert.tags,
            picture: alert.picture,
            expires_seconds: alert.expires_seconds,
        })
        .collect();
    let mut applied = Applied { raised, resolved, ..Applied::default() };
    if let Some(keep) = keep {
        let mut stays = vec![false; count];
        keep.iter().for_each(|i| stays[*i as usize] = true);
        let gone = stays.iter().filter(|stays| !**stays).count();
        if filters {
            let mut stays = stays.iter();
            detections.retain(|_| stays.next() == Some(&true));
            applied.removed = gone;
        } else {
            applied.not_removed = gone;
        }
    }
    detections.append(&mut added);
    Ok(applied)
}

fn check_expires(seconds: Option<u32>) -> Result<(), Fault> {
    match seconds {
        Some(seconds) if !(1..=EXPIRES_SECONDS_MAX).contains(&seconds) => {
            let what =
                format!("raises an alert that is of use for {seconds} s; that is from 1 to {EXPIRES_SECONDS_MAX}");
            Err(nonsense(what))
        }
        _ => Ok(()),
    }
}

fn check_rule(rule: &str) -> Result<(), Fault> {
    if rule.is_empty() {
        return Err(nonsense("raises an alert without a rule".to_owned()));
    }
    match rule.starts_with(ENGINE_RULES) {
        true => Err(nonsense(format!("raises an alert of the rule '{rule}': `{ENGINE_RULES}…` is the engine's own"))),
        false => Ok(()),
    }
}

/// The attributes of the detections whose attributes are edited, after that. The indices are valid.
fn describe(edits: &[Edit], detections: &[Detection]) -> Result<BTreeMap<usize, Attributes>, Fault> {
    let mut described = BTreeMap::new();
    for Edit { index, attributes, .. } in edits.iter().filter(|edit| !edit.attributes.is_empty()) {
        let index = *index as usize;
        let all = described.entry(index).or_insert_with(|| detections[index].attributes.clone());
        for (name, value) in attributes {
            check_attribute(name, value.as_ref()).map_err(nonsense)?;
            match value {
                Some(value) => drop(all.insert(name.clone(), value.clone())),
                None => drop(all.remove(name)),
            }
        }
        check_attributes(all).map_err(nonsense)?;
    }
    Ok(described)
}

/// The detections at these valid indices, without duplicates, so that an alert is never larger than its frame.
fn named(indices: &[u32], detections: &[Detection]) -> Vec<Detection> {
    let mut named = vec![false; detections.len()];
    let first = indices.iter().filter(|i| !std::mem::replace(&mut named[**i as usize], true));
    first.map(|i| detections[*i as usize].clone()).collect()
}

fn check_confidence(confidence: f32) -> Result<(), Fault> {
    match (0.0..=1.0).contains(&confidence) {
        true => Ok(()),
        false => Err(nonsense(format!("gives the confidence {confidence}, which is not within 0..1"))),
    }
}

fn check_label(label: &str) -> Result<(), Fault> {
    if label.is_empty() { Err(nonsense("gives an empty label".to_owned())) } else { Ok(()) }
}

fn nonsense(what: String) -> Fault {
    Fault { kind: FaultKind::Verdict, message: format!("the verdict {what}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Edit;
    use crate::types::{AlertDraft, BBox};

    fn seen() -> Vec<Detection> {
        let bbox = BBox { x: 0.1, y: 0.1, width: 0.2, height: 0.2 };
        ["person", "car", "dog"].map(|label| Detection::new(label, 0, 0.5, bbox)).to_vec()
    }

    fn labels(detections: &[Detection]) -> Vec<&str> {
        detections.iter().map(|d| &*d.label).collect()
    }

    fn alert(detections: Vec<u32>) -> AlertDraft {
        let (rule, key, message) = ("r".into(), "k".into(), "m".into());
        let (tags, picture, expires_seconds) = (vec!["t".into()], None, None);
        AlertDraft { rule, level: None, key, message, detections, tags, picture, expires_seconds }
    }

    #[test]
    fn the_default_verdict_changes_nothing() {
        let mut detections = seen();
        assert_eq!(apply(Verdict::default(), true, &mut detections).unwrap(), Applied::default());
        assert_eq!(detections, seen());
    }

    #[test]
    fn removals_take_effect_only_where_the_strategy_filters() {
        let verdict = Verdict { keep: Some(vec![2, 0, 2]), ..Verdict::default() };
        let mut detections = seen();
        let applied = apply(verdict.clone(), false, &mut detections).unwrap();
        assert_eq!((labels(&detections), applied.not_removed), (vec!["person", "car", "dog"], 1));
        let applied = apply(verdict, true, &mut detections).unwrap();
        assert_eq!((labels(&detections), applied.removed), (vec!["person", "dog"], 1));
    }

    #[test]
    fn alerts_show_what_the_strategy_saw_with_its_edits_even_of_what_it_removes() {
        let verdict = Verdict {
            keep: Some(vec![]),
            edits: vec![Edit { index: 1, label: Some("van".into()), confidence: Some(0.9), ..Edit::default() }],
            added: vec![Detection::new("new", 9, 1.0, BBox { x: 0.9, y: 0.0, width: 0.5, height: 0.5 })],
            alerts: vec![alert(vec![1])],
            resolved: vec![Resolve { rule: "r".into(), key: None, after: 1 }],
        };
        let mut detections = seen();
        let applied = apply(verdict, true, &mut detections).unwrap();
        assert_eq!(labels(&applied.raised[0].detections), ["van"]);
        assert_eq!((&*applied.raised[0].tags, applied.resolved.len()), (&["t".to_owned()][..], 1));
        assert_eq!(labels(&detections), ["new"]);
        assert!((detections[0].bbox.right() - 1.0).abs() < 1e-6, "cut to the picture");
    }

    #[test]
    fn a_detection_that_an_alert_names_many_times_stands_behind_it_once() {
        let verdict = Verdict { alerts: vec![alert([2, 0].repeat(50_000))], ..Verdict::default() };
        let applied = apply(verdict, false, &mut seen()).unwrap();
        assert_eq!(labels(&applied.raised[0].detections), ["dog", "person"]);
    }

    #[test]
    fn nonsense_is_a_fault_and_changes_nothing() {
        let nan = BBox { x: f32::NAN, y: 0.0, width: 0.1, height: 0.1 };
        let ended = |rule: &str| Resolve { rule: rule.into(), key: None, after: 0 };
        let cases = [
            Verdict { keep: Some(vec![3]), ..Verdict::default() },
            Verdict { resolved: vec![ended("")], ..Verdict::default() },
            Verdict { resolved: vec![ended("system.cpu")], ..Verdict::default() },
            Verdict { alerts: vec![alert(vec![0, 7])], ..Verdict::default() },
            Verdict { alerts: vec![AlertDraft { rule: String::new(), ..alert(vec![]) }], ..Verdict::default() },
            Verdict { alerts: vec![AlertDraft { rule: "system.cpu".into(), ..alert(vec![]) }], ..Verdict::default() },
            Verdict { alerts: vec![AlertDraft { expires_seconds: Some(0), ..alert(vec![]) }], ..Verdict::default() },
            Verdict { edits: vec![Edit { index: 3, ..Edit::default() }], ..Verdict::default() },
            Verdict { edits: vec![Edit { index: 0, confidence: Some(1.5), ..Edit::default() }], ..Verdict::default() },
            Verdict {
                edits: vec![Edit { index: 0, label: Some(String::new()), ..Edit::default() }],
                ..Verdict::default()
            },
            Verdict { added: vec![Detection::new("x", 0, f32::NAN, BBox::default())], ..Verdict::default() },
            Verdict { added: vec![Detection::new("x", 0, 0.5, nan)], ..Verdict::default() },
            Verdict { added: vec![Detection::new("x", 0, 0.5, BBox::default())], ..Verdict::default() },
        ];
        for verdict in cases {
            let mut detections = seen();
            let fault = apply(verdict.clone(), true, &mut detections).expect_err(&format!("{verdict:?}"));
            assert_eq!(fault.kind, FaultKind::Verdict);
            assert_eq!(detections, seen());
        }
    }
}
