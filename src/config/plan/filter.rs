//! Which alerts a handler gets.

use crate::types::{Alert, Level};

/// Which alerts a handler gets; the default is all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertFilter {
    /// Alerts of a lower level are left out.
    pub min_level: Level,
    /// Only alerts of these sources; empty = all.
    pub sources: Vec<Pattern>,
    /// No alerts of these sources.
    pub not_sources: Vec<Pattern>,
    /// Only alerts of these rules; empty = all.
    pub rules: Vec<Pattern>,
    /// No alerts of these rules.
    pub not_rules: Vec<Pattern>,
    /// Only alerts with one of these tags; empty = all.
    pub tags: Vec<Pattern>,
}

impl Default for AlertFilter {
    fn default() -> Self {
        Self {
            min_level: Level::Low,
            sources: Vec::new(),
            not_sources: Vec::new(),
            rules: Vec::new(),
            not_rules: Vec::new(),
            tags: Vec::new(),
        }
    }
}

impl AlertFilter {
    /// Whether the handler gets this alert.
    pub fn passes(&self, alert: &Alert) -> bool {
        let Self { min_level, sources, not_sources, rules, not_rules, tags } = self;
        let any = |patterns: &[Pattern], text: &str| patterns.iter().any(|pattern| pattern.matches(text));
        let is_among =
            |only: &[Pattern], but: &[Pattern], text: &str| (only.is_empty() || any(only, text)) && !any(but, text);
        alert.level >= *min_level
            && is_among(sources, not_sources, alert.source.as_str())
            && is_among(rules, not_rules, &alert.rule)
            && (tags.is_empty() || alert.tags.iter().any(|tag| any(tags, tag)))
    }
}

/// A name in which each `*` stands for any text, also none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Whether it stands for any text somewhere; otherwise it is one name.
    pub fn is_open(&self) -> bool {
        self.0.contains('*')
    }

    /// Whether the whole text matches. Takes each part at its first place, so it never goes back over the text.
    pub fn matches(&self, text: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else { return self.0 == text };
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        let Some(text) = text.strip_prefix(head).and_then(|text| text.strip_suffix(tail)) else { return false };
        let mut left = text;
        middle.split('*').all(|part| match left.find(part) {
            Some(at) => {
                left = &left[at + part.len()..];
                true
            }
            None => false,
        })
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::AlertId;

    #[test]
    fn a_star_is_any_text_and_the_rest_is_word_for_word() {
        for (pattern, text, matches) in [
            ("gate", "gate", true),
            ("gate", "gates", false),
            ("gate", "Gate", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "any thing", true),
            ("**", "", true),
            ("gate*", "gate", true),
            ("gate*", "gate-2", true),
            ("gate*", "a-gate", false),
            ("*gate", "a-gate", true),
            ("*-gate-*", "a-gate-2", true),
            ("*-gate-*", "a-gate", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-bb-c-c", true),
            ("a*b*c", "ac", false),
            ("a*b*c", "acb", false),
            // The parts do not overlap.
            ("ab*ba", "aba", false),
            ("ab*b*ba", "abba", false),
            ("ab*b*ba", "abbba", true),
            ("a*bc*bc", "abc", false),
            ("ü*é", "ü-é", true),
            ("system.*", "system.cpu", true),
            ("a.c", "abc", false),
        ] {
            assert_eq!(Pattern::from(pattern).matches(text), matches, "{pattern} {text}");
        }
        let many = Pattern::from(&*"*a".repeat(1_000));
        assert!(many.matches(&"a".repeat(1_000)) && !many.matches(&"a".repeat(999)));
    }

    #[test]
    fn every_part_of_a_filter_must_pass() {
        let alert = |level, source: &str, rule: &str| Alert {
            id: AlertId::new(0, [0; 10]),
            level,
            rule: rule.into(),
            source: source.into(),
            key: "k".into(),
            time: "2026-01-01T00:00:00.000Z".into(),
            pts_ns: 0,
            seq: 0,
            message: "m".into(),
            detections: vec![],
            suppressed: 0,
            digest: None,
            tags: vec![],
            picture: false,
            evidence: None,
            expires_seconds: None,
        };
        let all = AlertFilter::default();
        assert!(Level::ALL.into_iter().all(|level| all.passes(&alert(level, "a", "r"))));
        let filter = AlertFilter {
            min_level: Level::High,
            sources: vec!["gate*".into(), "yard".into()],
            not_sources: vec!["gate-9".into()],
            rules: vec!["in*".into()],
            not_rules: vec!["intern".into()],
            ..AlertFilter::default()
        };
        for (level, source, rule, passes) in [
            (Level::High, "gate-1", "intrusion", true),
            (Level::Critical, "yard", "in", true),
            (Level::Medium, "gate-1", "intrusion", false),
            (Level::High, "gate-9", "intrusion", false),
            (Level::High, "roof", "intrusion", false),
            (Level::High, "gate-1", "loitering", false),
            (Level::High, "gate-1", "intern", false),
        ] {
            assert_eq!(filter.passes(&alert(level, source, rule)), passes, "{level} {source} {rule}");
        }
        let filter = AlertFilter { tags: vec!["night".into(), "dock-*".into()], ..AlertFilter::default() };
        for (tags, passes) in
            [(vec![], false), (vec!["day", "night"], true), (vec!["dock-2"], true), (vec!["dock"], false)]
        {
            let tags: Vec<String> = tags.into_iter().map(str::to_owned).collect();
            let tagged = Alert { tags: tags.clone(), ..alert(Level::Low, "a", "r") };
            assert_eq!(filter.passes(&tagged), passes, "{tags:?}");
        }
    }
}
