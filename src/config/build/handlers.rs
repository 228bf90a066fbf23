//! Builds handlers from entries that are a name or a map.

use std::time::Duration;

use super::{Site, is_known_source};
use crate::config::kinds::handlers;
use crate::config::plan::{AlertFilter, ENGINE_SOURCE, HandlerKind, HandlerPlan, Pattern, SourcePlan};
use crate::config::schema::{Alerts, HandlerEntry, Overflow, Where};
use crate::config::warning::{Severity, Warning};

pub(super) fn build(alerts: &Alerts, sources: &[&SourcePlan], site: &mut Site<'_>) -> Vec<HandlerPlan> {
    warn_of_live(alerts, sources, site);
    let mut out: Vec<HandlerPlan> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for (index, HandlerEntry(handler)) in alerts.handlers.iter().enumerate() {
        let path = format!("alerts.handlers[{index}]");
        let head = &handler.head;
        if names.contains(&head.name.as_str()) {
            let message = format!("two handlers are named `{}`", head.name);
            site.wrong(&path, message, "give each a name of its own, and its kind as `type`");
        }
        names.push(&head.name);
        let filter = filter(&head.filter, &format!("{path}.where"), sources, site);
        if let Some(kind) = handlers::plan(handler, &path, site).filter(|_| head.enabled) {
            if let HandlerKind::File { path: own, .. } = &kind
                && out.iter().any(|other| matches!(&other.kind, HandlerKind::File { path, .. } if path == own))
            {
                let message = format!("two handlers write the file {}", own.display());
                site.wrong(&path, message, "give each a log_file of its own");
            }
            let max_age = head.max_age_seconds.map(Duration::from_secs_f64);
            let oldest = max_age.unwrap_or_else(|| Duration::from_secs_f64(alerts.max_age_seconds));
            if let HandlerKind::Email(mail) = &kind
                && !oldest.is_zero()
                && mail.min_interval > oldest
            {
                let (wait, oldest) = (mail.min_interval.as_secs_f64(), oldest.as_secs_f64());
                let message = format!(
                    "alerts expire before they are mailed: they wait up to {wait} s for each other \
                     (`min_interval_seconds`), and expire after {oldest} s (`max_age_seconds`)"
                );
                site.wrong(&path, message, "make min_interval_seconds the smaller one");
            }
            out.push(HandlerPlan { name: head.name.as_str().into(), kind, filter, max_age });
        }
    }
    out
}

/// Warns where a source cannot wait for room in a handler's queue.
fn warn_of_live(alerts: &Alerts, sources: &[&SourcePlan], site: &mut Site<'_>) {
    let goes_on = |source: &&&SourcePlan| source.input.is_live() || source.repeat || source.realtime;
    if alerts.when_full != Overflow::Block {
        return;
    }
    if let Some(source) = sources.iter().find(goes_on) {
        let message = format!(
            "`when_full: block` holds for sources that end; {} never waits, and a full queue gives up its alerts as with \
             `drop_lowest_level`",
            source.id
        );
        let hint = "raise max_queued, or say drop_lowest_level";
        site.warn("alerts.when_full", Warning::new("block-of-live", Severity::Warning, message).hint(hint));
    }
}

/// Builds a handler's filter; reports names of sources that do not exist.
fn filter(filter: &Where, path: &str, known: &[&SourcePlan], site: &mut Site<'_>) -> AlertFilter {
    let Where { min_level, sources, not_sources, rules, not_rules, tags } = filter;
    let patterns = |names: &[String]| -> Vec<Pattern> { names.iter().map(|name| name.as_str().into()).collect() };
    for (key, names) in [("sources", sources), ("not_sources", not_sources)] {
        for (index, name) in names.iter().enumerate() {
            // The engine itself raises alerts, too; a pattern may be for sources that come later.
            if name != ENGINE_SOURCE && !Pattern::from(name.as_str()).is_open() {
                is_known_source(name, &format!("{path}.{key}[{index}]"), known, site);
            }
        }
    }
    AlertFilter {
        min_level: (*min_level).into(),
        sources: patterns(sources),
        not_sources: patterns(not_sources),
        rules: patterns(rules),
        not_rules: patterns(not_rules),
        tags: patterns(tags),
    }
}
