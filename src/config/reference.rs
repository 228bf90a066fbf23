//! References (`${env:NAME}`, `${file:/path}`) in place of secrets: where they may stand, and how they are shown.

use super::expand::{end_of, without_fallbacks};
use super::secret::{MASK, in_text, is_secret_path, masked};

/// Whether a text is a single reference without a fallback.
pub(super) fn is_lone_reference(text: &str) -> bool {
    let is_reference = text.starts_with("${env:") || text.starts_with("${file:");
    is_reference && text.find('}') == Some(text.len() - 1) && !text.contains(":-")
}

/// The original text of a substituted value, for display: a lone reference without its fallback, or the text masked as
/// any is.
pub(super) fn in_template(template: &str) -> String {
    if is_lone(template) { without_fallbacks(template) } else { in_text(template) }
}

/// The original text of a substituted secret, for display: a lone reference, or the mask.
pub(super) fn in_secret_template(template: &str) -> String {
    if is_lone(template) { without_fallbacks(template) } else { MASK.to_owned() }
}

/// Whether a text is a reference in any form, and nothing else.
pub(super) fn is_lone(template: &str) -> bool {
    template.starts_with("${") && end_of(template) == Some(template.len() - 1)
}

/// Whether a value is a literal secret: a secret by its path that is not a lone reference, or an address with a user, a
/// password or a query.
pub(super) fn is_written_out(path: &str, value: &str) -> bool {
    if is_lone_reference(value) || value.is_empty() {
        return false;
    }
    if is_secret_path(path) {
        return true;
    }
    let mut bare = value.to_owned();
    while let Some((start, end)) = reference(&bare) {
        bare.replace_range(start..end, "");
    }
    let mut bare = bare.replace("://:@", "://").replace("://@", "://");
    // A user's name alone is no secret where the password is a reference.
    if bare != value
        && let Some((from, to)) = user_without_password(&bare)
    {
        bare.replace_range(from..to, "");
    }
    let is_web = bare.starts_with("http://") || bare.starts_with("https://");
    // `in_text` masks the path of a web address, too.
    let may_be_seen = is_web && !bare.contains(['@', '?']);
    !may_be_seen && masked(&bare) != bare
}

/// The location of `name:@` in an address.
fn user_without_password(address: &str) -> Option<(usize, usize)> {
    let from = address.find("://")? + 3;
    let to = from + address[from..].find(":@")?;
    let is_name = address[from..to].chars().all(|c| c.is_alphanumeric() || "._-".contains(c));
    is_name.then_some((from, to + 2))
}

/// Whether a value may be a reference or contain one: it names a secret by its path, or the references are for user,
/// password or query of an address.
pub(super) fn may_refer(path: &str, value: &str) -> bool {
    let value = value.replace("$${", "");
    let Some(last) = value.rfind("${") else { return true };
    if is_secret_path(path) {
        return true;
    }
    let Some((scheme, rest)) = value.split_once("://") else { return false };
    let last = last.saturating_sub(scheme.len() + 3);
    let (first, at) = (rest.find("${").unwrap_or(0), rest.rfind('@'));
    let in_user = at.is_some_and(|at| last < at) && !rest[..first].contains(['/', '?', '#']);
    let in_query = rest.find('?').is_some_and(|query| query < first);
    !scheme.contains("${") && (in_user || in_query)
}

/// Whether a value may hold a reference of any form: `$${` is none.
pub(super) fn refers(value: &str) -> bool {
    value.replace("$${", "").contains("${")
}

/// The location of a reference without a fallback.
fn reference(text: &str) -> Option<(usize, usize)> {
    let starts = text.match_indices("${").map(|(start, _)| start);
    let found = starts.filter_map(|start| Some((start, start + text[start..].find('}')? + 1)));
    found.into_iter().find(|(start, end)| !text[*start..*end].contains(":-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_shown_without_its_secrets() {
        assert_eq!(in_template("${env:PASSWORD}"), "${env:PASSWORD}");
        assert_eq!(in_template("${env:PASSWORD:-hunter2}"), "${env:PASSWORD:-***}");
        assert_eq!(in_template("rtsp://${env:USER}:hunter2@h/s"), "rtsp://***@h/s");
        assert_eq!(in_template("${env:A:-hunter2}/${env:B:-hunter2"), "${env:A:-***}/${env:B:-***");
        assert_eq!(in_template("${env:A:-${env:B:-hunter2}hunter2}"), "${env:A:-***}");
        assert_eq!(in_secret_template("${env:A}hunter2"), MASK);
    }
}
