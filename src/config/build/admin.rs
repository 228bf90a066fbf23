//! Builds the HTTP listener: its address, its tokens and its metrics page.

use std::net::IpAddr;

use super::{Site, known_sources};
use crate::config::plan::{AdminPlan, Public, SourcePlan, TokenPlan};
use crate::config::reference;
use crate::config::schema::{Monitoring, PublicPart, Token};
use crate::config::warning::{Severity, Warning};

/// Minimum length of a token's text.
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

/// The address to bind; any but loopback needs a token.
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
    if !is_wide && !monitoring.tokens.is_empty() {
        let message = format!("the tokens are not asked for: {address} is reached from this machine only, without one");
        let warning = Warning::new("tokens-on-loopback", Severity::Warning, message);
        site.warn("monitoring.tokens", warning.hint("set `monitoring.listen` to be reached from other machines"));
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
        // Only checks that they exist: disabled sources stay in the list, since an empty list would mean all.
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

/// Checks that a token's text is a reference, is hard to guess and is unique.
fn check_text(token: &Token, earlier: &[Token], path: &str, site: &mut Site<'_>) {
    let Token { name, token, .. } = token;
    if !site.places.template(path).is_some_and(reference::is_lone_reference) {
        let label = "write a reference alone: `${env:NAME}` or `${file:/path}`";
        return site.wrong(path, format!("the token of `{name}` is written out"), label);
    }
    if token.len() < TOKEN_CHARS_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let label = format!(
            "expected at least {TOKEN_CHARS_MIN} letters, digits and signs, such as `openssl rand -hex 24` gives"
        );
        return site.wrong(path, format!("the token of `{name}` cannot be used"), label);
    }
    if let Some(other) = earlier.iter().find(|other| other.token == *token) {
        site.wrong(path, format!("`{name}` has the token of `{}`", other.name), "give each a text of its own");
    }
}

/// Whether another page of `admin` always has this path.
fn is_taken(path: &str) -> bool {
    matches!(path, "/" | "/livez" | "/readyz" | "/health" | "/healthz" | "/live")
        || ["/live/", "/api/", "/assets/"].iter().any(|folder| path.starts_with(folder))
}

/// The nested or the flat form of a Prometheus key; both only if they agree.
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

#[cfg(test)]
mod tests {
    use crate::config::{Request, Scope, load};

    const TEXT: &str = "0123456789abcdef";

    /// The problems of these keys under `monitoring`; the plan's part if there are none.
    fn read(keys: &str) -> Result<crate::config::AdminPlan, String> {
        let document = Some(format!("sources: [{{ id: gate, uri: 'scene:street' }}]\nmonitoring:\n{keys}"));
        let env = [("A", TEXT), ("B", "fedcba9876543210"), ("SHORT", "short")];
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = Request { document, env, ..Request::default() };
        load(&request).map(|loaded| loaded.plan.admin).map_err(|error| error.to_string())
    }

    #[test]
    fn tokens_without_effect_are_warned_of() {
        let loaded = |listen: &str| {
            let document = Some(format!(
                "sources: [{{ id: gate, uri: 'scene:street' }}]\nmonitoring:\n{listen}  tokens: [{{ name: a, token: \
                 '${{env:A}}', scopes: [read] }}]\n"
            ));
            let env = [("A".to_owned(), TEXT.to_owned())].into();
            load(&Request { document, env, ..Request::default() }).unwrap()
        };
        let is_told = |listen| loaded(listen).warnings.iter().any(|warning| warning.name == "tokens-on-loopback");
        assert!(is_told("") && !is_told("  listen: 0.0.0.0\n"));
    }

    #[test]
    fn an_address_beyond_loopback_asks_for_a_token() {
        assert_eq!(read("  listen: '::1'\n").map(|admin| admin.listen.to_string()), Ok("::1".to_owned()));
        let refused = read("  listen: 0.0.0.0\n").unwrap_err();
        assert!(refused.contains("document:3:11: 0.0.0.0 is reached from other machines"), "{refused}");
        assert!(refused.contains("add one under `monitoring.tokens`"), "{refused}");
        assert!(read("  enabled: false\n  listen: 0.0.0.0\n").is_ok());
        assert!(read("  listen: here\n").unwrap_err().contains("`here` is no IP address"));
        let tokens = "  tokens: [{ name: a, token: '${env:A}', scopes: [read, publish], sources: [gate] }]\n";
        let admin = read(&format!("  listen: 0.0.0.0\n{tokens}  public: [metrics]\n")).unwrap();
        let token = &admin.tokens[0];
        assert_eq!((token.token.as_str(), &token.scopes[..]), (TEXT, &[Scope::Read, Scope::Publish][..]));
        assert_eq!(
            (&token.sources[..], admin.public.probes, admin.public.metrics),
            (&["gate".to_owned()][..], false, true)
        );
    }

    #[test]
    fn a_literal_short_shared_or_useless_token_is_refused_at_its_location() {
        for (entries, expected) in [
            ("[{ name: a, token: 0123456789abcdefgeheim, scopes: [read] }]", "the token of `a` is written out"),
            ("[{ name: a, token: '${env:A}geheim', scopes: [read] }]", "the token of `a` is written out"),
            ("[{ name: a, token: '${env:A:-geheim}', scopes: [read] }]", "the token of `a` is written out"),
            ("[{ name: a, token: '${env:SHORT}', scopes: [read] }]", "the token of `a` cannot be used"),
            ("[{ name: a, token: '${env:A}', scopes: [] }]", "`monitoring.tokens[0].scopes` has 0 entries"),
            ("[{ name: a, token: '${env:A}', scopes: [reed] }]", "did you mean `read`?"),
            ("[{ name: a, token: '${env:A}', scopes: [read], sources: [gatte] }]", "did you mean `gate`?"),
            (
                "[{ name: a, token: '${env:A}', scopes: [read] }, { name: b, token: '${env:A}', scopes: [read] }]",
                "`b` has the token of `a`",
            ),
            (
                "[{ name: a, token: '${env:A}', scopes: [read] }, { name: a, token: '${env:B}', scopes: [read] }]",
                "two tokens are named `a`",
            ),
        ] {
            let refused = read(&format!("  tokens: {entries}\n")).unwrap_err();
            assert!(refused.contains(expected) && refused.contains("document:3:"), "{entries}: {refused}");
            assert!(!refused.contains("geheim") && !refused.contains(TEXT), "{refused}");
        }
    }
}
