//! Rearranges a lane's list of rules, and restores the former one.

use std::sync::Arc;

use super::change::RuleSlot;
use super::rule::{Rule, RuleSettings};

/// A list of rules before it was rearranged.
pub(super) struct Former {
    order: Vec<(Arc<str>, RuleSettings)>,
    /// Rules that are no longer in the list.
    pub(super) gone: Vec<Rule>,
}

/// Removes the rule of this name from a list.
fn take(rules: &mut Vec<Rule>, name: &str) -> Option<Rule> {
    rules.iter().position(|rule| **rule.name() == *name).map(|at| rules.remove(at))
}

/// Rearranges a list; returns the former arrangement.
pub(super) fn arrange(rules: &mut Vec<Rule>, places: Vec<RuleSlot>) -> Former {
    let order = rules.iter().map(|rule| (Arc::clone(rule.name()), rule.settings.clone())).collect();
    let mut gone = std::mem::take(rules);
    for place in places {
        match place {
            RuleSlot::New(rule) => rules.push(*rule),
            RuleSlot::Keep { name, settings } => {
                rules.extend(take(&mut gone, &name).map(|mut rule| {
                    rule.set(settings);
                    rule
                }));
            }
        }
    }
    Former { order, gone }
}

/// Restores a list's former arrangement.
pub(super) fn restore(rules: &mut Vec<Rule>, former: Former) {
    let Former { order, mut gone } = former;
    let mut current = std::mem::take(rules);
    for (name, settings) in order {
        // A rule that was replaced by another of the same name is in `gone`.
        rules.extend(take(&mut gone, &name).or_else(|| take(&mut current, &name)).map(|mut rule| {
            rule.set(settings);
            rule
        }));
    }
    current.into_iter().for_each(Rule::dispose);
}
