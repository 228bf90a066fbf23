//! Builds handlers from entries that are a name or a map.

use super::Site;
use crate::config::kinds::handlers;
use crate::config::plan::HandlerPlan;
use crate::config::schema::{Alerts, HandlerEntry};

pub(super) fn build(alerts: &Alerts, site: &mut Site<'_>) -> Vec<HandlerPlan> {
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
        if let Some(kind) = handlers::plan(handler, &path, site).filter(|_| head.enabled) {
            out.push(HandlerPlan { name: head.name.as_str().into(), kind });
        }
    }
    out
}
