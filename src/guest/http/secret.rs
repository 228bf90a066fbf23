//! Secrets in requests: where a placeholder may stand, which secret it is replaced by, and how copies are masked.

use super::Failure;
use crate::guest::Grants;
use crate::telemetry::redact::MASK;

/// The prefix of a secret placeholder.
pub(super) const OPEN: &str = "${secret:";
/// Minimum length of a secret that is masked in responses: shorter ones occur in any text.
const SECRET_BYTES_MIN: usize = 4;

/// Whether a URL's scheme and host are literal, so that secrets come after them. Characters that a URL parser ignores
/// (spaces, line ends, an extra slash) do not count as a host.
pub(super) fn writes_host(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let host = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    host.bytes().any(|b| b.is_ascii_graphic()) && !host.contains(OPEN) && !scheme.contains(OPEN)
}

/// The names of a URL's host by which a secret may be bound to it: `host:port`, and `host` on the usual port.
pub(super) fn named_hosts(url: &url::Url) -> Vec<String> {
    let host = url.host_str().unwrap_or_default();
    let with_port = format!("{host}:{}", url.port_or_known_default().unwrap_or(0));
    let alone = url.port().is_none().then(|| [host, host.trim_start_matches('[').trim_end_matches(']')]);
    std::iter::once(with_port).chain(alone.into_iter().flatten().map(str::to_owned)).collect()
}

/// Substitutes `${secret:NAME}` in the text of a request to a host with these names.
pub(super) fn fill(text: &str, grants: &Grants, hosts: &[String]) -> Result<String, Failure> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once(OPEN) {
        let (name, after) = after.split_once('}').ok_or_else(|| Failure::Invalid(format!("'{OPEN}' is not closed")))?;
        out.push_str(before);
        out.push_str(find(name, grants, hosts)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The secret of this name for a host: the one that is bound to it (`NAME@HOST`), else the one that is bound to none.
fn find<'g>(name: &str, grants: &'g Grants, hosts: &[String]) -> Result<&'g str, Failure> {
    // A guest names no host: it could take one secret for another.
    let is_name = !name.contains('@');
    let bound = hosts.iter().find_map(|host| grants.secrets.get(&format!("{name}@{host}")));
    if let Some(secret) = bound.or_else(|| grants.secrets.get(name)).filter(|_| is_name) {
        return Ok(secret);
    }
    let others = grants.secrets.keys().filter_map(|key| key.split_once('@')).filter(|(bound, _)| *bound == name);
    let others: Vec<&str> = others.map(|(_, host)| host).collect();
    Err(match others.is_empty() {
        true => Failure::Invalid(format!(
            "there is no secret '{name}'; set it in the configuration: secrets: {{{name}: …}}"
        )),
        false => Failure::Denied(format!(
            "the secret '{name}' is for {} only; for another host, add {name}@HOST to the secrets",
            others.join(", ")
        )),
    })
}

/// The secrets to mask, the longest first: one may be a prefix of another.
pub(super) fn secrets(grants: &Grants) -> Vec<&str> {
    let mut secrets: Vec<&str> = grants.secrets.values().map(|secret| &**secret).collect();
    secrets.retain(|secret| secret.len() >= SECRET_BYTES_MIN);
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

/// Replaces every occurrence of the secret with the mask.
pub(super) fn masked(bytes: Vec<u8>, secret: &[u8]) -> Vec<u8> {
    let next = |from: usize| bytes[from..].windows(secret.len()).position(|window| window == secret);
    let Some(mut at) = next(0) else { return bytes };
    let (mut out, mut from) = (Vec::with_capacity(bytes.len()), 0);
    loop {
        out.extend_from_slice(&bytes[from..at]);
        out.extend_from_slice(MASK.as_bytes());
        from = at + secret.len();
        match next(from) {
            Some(further) => at = from + further,
            None => break,
        }
    }
    out.extend_from_slice(&bytes[from..]);
    out
}
