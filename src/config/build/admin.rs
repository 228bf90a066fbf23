//! The HTTP listener: where it listens, and who may ask what.

use std::net::IpAddr;

use super::{Site, known_sources};
use crate::config::plan::{AdminPlan, Public, SourcePlan, TokenPlan};
use crate::config::schema::{Monitoring, PublicPart, Token};
use crate::config::secret;

/// Fewest characters of a token's text.
const TOKEN_CHARS_MIN: usize = 16;

pub(super) fn build(monitoring: &Monitoring, sources: &[&SourcePlan], site: &mut Site<'_>) -> AdminPlan {
    let nested = &monitoring.prometheus;
    let port = one_of("port", nested.port, monitoring.prometheus_port, site).unwrap_or(8000);
    let path = one_of("path", nested.path.clone(), monitoring.prometheus_path.clone(), site);
    let prometheus = one_of("enabled", nested.enabled, monitoring.prometheus_enabled, site).unwrap_or(true);
    if let Some(path) = path.as_deref().filter(|path| is_taken(path)) {
        let key = if nested.path.is_some() { "monitoring.prometheus.path" } else { "monitoring.prometheus_path" };
        site.wrong(key, format!("{path} is a page of its own"), "name another path, such as /metrics");
    }
    AdminPlan {
        enabled: monitoring.enabled,
        listen: address(monitoring, site),
        port,
        allowed_hosts: monitoring.allowed_hosts.clone(),
        tokens: tokens(&monitoring.tokens, sources, site),
        public: Public {
            probes: monitoring.public.contains(&PublicPart::Probes),
            metrics: monitoring.public.contains(&PublicPart::Metrics),
        },
        metrics: monitoring.metrics_enabled && prometheus,
        metrics_path: path.unwrap_or_else(|| "/metrics".to_owned()),
    }
}

/// The address to bind; one beyond loopback needs a token.
fn address(monitoring: &Monitoring, site: &mut Site<'_>) -> IpAddr {
    let key = "monitoring.listen";
    let Ok(address) = monitoring.listen.parse::<IpAddr>() else {
        let label = "expected 127.0.0.1, ::1, 0.0.0.0 for every interface, or the address of one";
        site.wrong(key, format!("`{}` is no IP address", monitoring.listen), label);
        return AdminPlan::default().listen;
    };
    let is_wide = !address.to_canonical().is_loopback();
    if is_wide && monitoring.enabled && monitoring.tokens.is_empty() {
        let message = format!("{address} is reached from other machines, and nobody has a token");
        let label = "add one under `monitoring.tokens`, or listen on 127.0.0.1";
        site.wrong(key, message, label);
        site.problems.note("tokens: [{ name: viewer, token: \"${env:VIEWER_TOKEN}\", scopes: [read] }]");
    }
    address
}

fn tokens(tokens: &[Token], sources: &[&SourcePlan], site: &mut Site<'_>) -> Vec<TokenPlan> {
    for (index, token) in tokens.iter().enumerate() {
        let path = format!("monitoring.tokens[{index}]");
        let earlier = &tokens[..index];
        if earlier.iter().any(|other| other.name == token.name) {
            let message = format!("two tokens are named `{}`", token.name);
            site.wrong(&format!("{path}.name"), message, "give each a name of its own");
        }
        // Only whether they exist: one that is switched off stays, for none at all would mean all.
        known_sources(&token.sources, &format!("{path}.sources"), sources, site);
        check_text(token, earlier, &format!("{path}.token"), site);
    }
    let plan = |token: &Token| TokenPlan {
        name: token.name.clone(),
        token: token.token.clone(),
        scopes: token.scopes.iter().map(|scope| (*scope).into()).collect(),
        sources: token.sources.clone(),
    };
    tokens.iter().map(plan).collect()
}

/// A token's text is never written out, cannot be guessed and is nobody else's.
fn check_text(token: &Token, earlier: &[Token], path: &str, site: &mut Site<'_>) {
    let Token { name, token, .. } = token;
    if !site.places.template(path).is_some_and(|template| secret::is_lone_reference(template)) {
        let label = "write a reference alone: `${env:NAME}` or `${file:/path}`";
        return site.wrong(path, format!("the token of `{name}` is written out"), label);
    }
    if token.len() < TOKEN_CHARS_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let label = format!("expected at least {TOKEN_CHARS_MIN} letters, digits and signs, such as `openssl rand -hex 24` gives");
        return site.wrong(path, format!("the token of `{name}` cannot be used"), label);
    }
    if let Some(other) = earlier.iter().find(|other| other.token == *token) {
        site.wrong(path, format!("`{name}` has the token of `{}`", other.name), "give each a text of its own");
    }
}

/// Whether a path of the pages is another's: `admin` answers there whatever the configuration says.
fn is_taken(path: &str) -> bool {
    matches!(path, "/" | "/livez" | "/readyz" | "/health" | "/healthz" | "/live")
        || ["/live/", "/api/", "/assets/"].iter().any(|folder| path.starts_with(folder))
}

/// The nested or the flat form of a Prometheus key; both only where they agree.
fn one_of<T: PartialEq>(key: &str, nested: Option<T>, flat: Option<T>, site: &mut Site<'_>) -> Option<T> {
    match (nested, flat) {
        (Some(nested), Some(flat)) if nested != flat => {
            let message = format!("`monitoring.prometheus.{key}` and `monitoring.prometheus_{key}` differ");
            site.wrong(&format!("monitoring.prometheus_{key}"), message, "set one of the two");
            None
        }
        (nested, flat) => nested.or(flat),
    }
}
