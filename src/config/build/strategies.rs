//! Builds strategies: models first, then those on the lane.

use super::{Site, hours, known_sources};
use crate::config::kinds::strategies::{self as kinds, Listed, Planned};
use crate::config::plan::{ENGINE_RULES, ModelPlan, SourcePlan, StrategyPlan};
use crate::config::schema::Detection;
use crate::types::{TimeZone, add_tags, wrong_tag};

pub(super) fn build(
    detection: Detection,
    sources: &[&SourcePlan],
    zone: &TimeZone,
    site: &mut Site<'_>,
) -> (Vec<ModelPlan>, Vec<StrategyPlan>) {
    let mut models = Vec::new();
    let mut strategies = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    if let Some(file) = &detection.model_engine_file {
        names.push("model");
        models.push(kinds::default_model(file, &detection, site));
    }
    for (index, entry) in detection.strategies.iter().enumerate() {
        let path = format!("detection.strategies[{index}]");
        let head = &entry.head;
        if names.contains(&head.name.as_str()) {
            let message = format!("two strategies are named `{}`", head.name);
            site.wrong(&format!("{path}.name"), message, "give each a name of its own");
        }
        if head.name.starts_with(ENGINE_RULES) {
            let message =
                format!("no rule may be named `{}`: the engine's own alerts begin with `{ENGINE_RULES}`", head.name);
            site.wrong(&format!("{path}.name"), message, "give it another name");
        }
        names.push(&head.name);
        let only = known_sources(&head.sources, &format!("{path}.sources"), sources, site);
        let schedule = hours::schedule(&head.schedule, &format!("{path}.schedule"), zone, site);
        let tags = tags(&head.tags, &format!("{path}.tags"), site);
        match kinds::plan(&Listed { entry, path: &path, only, detection: &detection }, site) {
            Some(Planned::Model(_)) if !tags.is_empty() => {
                no_effect("tags", &head.name, "a model raises no alerts: set `tags` on what judges it", &path, site);
            }
            Some(Planned::Model(model)) => models.push(ModelPlan { schedule, optional: head.optional, ..*model }),
            Some(Planned::Lane(strategy)) if strategy.shadow_of.is_some() && schedule.is_some() => {
                let message = format!("`schedule` of strategy `{}` has no effect: it is a shadow", head.name);
                let label = "it judges when the strategy beside it does: set `schedule` there";
                site.wrong_key(&format!("{path}.schedule"), message, label);
            }
            Some(Planned::Lane(strategy)) if strategy.shadow_of.is_some() && !tags.is_empty() => {
                no_effect(
                    "tags",
                    &head.name,
                    "a shadow raises no alerts: set `tags` on the strategy beside it",
                    &path,
                    site,
                );
            }
            Some(Planned::Lane(strategy)) => {
                let optional = head.optional;
                strategies.push(StrategyPlan { schedule, optional, tags, ..*strategy });
            }
            None => {}
        }
    }
    if !detection.strategies.iter().any(kinds::is_motion) {
        strategies.splice(0..0, kinds::motion_by_default(&models, sources, site));
    }
    (models, strategies)
}

/// Reports a key without an effect.
fn no_effect(key: &str, name: &str, label: &str, path: &str, site: &mut Site<'_>) {
    let message = format!("`{key}` of strategy `{name}` has no effect");
    site.wrong_key(&format!("{path}.{key}"), message, label);
}

/// Checks tags; each is kept once.
pub(super) fn tags(tags: &[String], path: &str, site: &mut Site<'_>) -> Vec<String> {
    let mut kept = Vec::new();
    for (index, tag) in tags.iter().enumerate() {
        if let Some(why) = wrong_tag(tag) {
            site.wrong(&format!("{path}[{index}]"), format!("`{path}[{index}]`: {why}"), "write a plain word");
        }
    }
    add_tags(&mut kept, tags);
    kept
}
