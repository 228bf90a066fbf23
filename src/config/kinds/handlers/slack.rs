//! `slack`: the script that comes with the program, with the address of its webhook.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Position, Url};

use super::Type;
use crate::config::build::Site;
use crate::config::plan::{GrantPlan, HandlerKind, LimitPlan, ModulePlan};
use crate::config::schema::Handler;
use crate::config::warning::{Severity, Warning};

/// The script, and where it is in the repository.
const SCRIPT: &str = include_str!("../../../../scripts/handlers/slack.lua");
const PATH: &str = "scripts/handlers/slack.lua";
/// The name under which the script's requests get the secret part of the address.
const SECRET: &str = "SLACK";

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(default)]
pub(super) struct Slack {
    /// slack: the incoming webhook's address. Default none. Example: "${env:SLACK_WEBHOOK}".
    webhook_url: Option<String>,
}

impl Type for Slack {
    const WORD: &'static str = "slack";

    fn plan(self, handler: &Handler, path: &str, site: &mut Site<'_>) -> Option<HandlerKind> {
        let Some(address) = self.webhook_url.filter(|address| !address.is_empty()) else {
            if handler.head.enabled {
                let message = format!("the slack handler `{}` has no webhook_url", handler.head.name);
                let hint = "set its config.webhook_url, or take it off the list";
                site.warn(path, Warning::new("webhook-without-url", Severity::Refusal, message).hint(hint));
            }
            return None;
        };
        let url = Url::parse(&address).ok().filter(|url| {
            let has_user = !url.username().is_empty() || url.password().is_some();
            matches!(url.scheme(), "http" | "https") && url.has_host() && !has_user
        });
        let Some(url) = url else {
            let at = format!("{path}.config.webhook_url");
            // It is a secret, so it is not repeated.
            site.wrong(&at, format!("`{at}` is no web address"), "expected https://hooks.slack.com/services/…");
            return None;
        };
        // The script sees where it posts to, and not the rest.
        let host = &url[..Position::BeforePath];
        let rest = url[Position::BeforePath..Position::AfterQuery].trim_start_matches('/');
        let module = ModulePlan {
            path: PathBuf::from(PATH),
            class: Some("SlackHandler".to_owned()),
            config: serde_json::json!({ "url": format!("{host}/${{secret:{SECRET}}}") }),
            limits: LimitPlan::default(),
            grants: GrantPlan {
                http: vec![host.to_owned()],
                secrets: BTreeMap::from([(SECRET.to_owned(), rest.to_owned())]),
                ..GrantPlan::default()
            },
            persist_state: false,
            extensions: Default::default(),
        };
        Some(HandlerKind::Shipped { module: Box::new(module), text: SCRIPT })
    }
}
