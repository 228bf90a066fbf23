//! Which part of the log a review reads: the newest decisions of a source and a time, and where those before them end.

use std::sync::Arc;

use super::{Records, Review};
use crate::alert::Decided;

/// Decisions that a review reads, if nothing else is said.
pub const REVIEW_USUAL: usize = 1_000;
/// Maximum decisions that a review reads.
pub const REVIEW_MAX: usize = 10_000;

/// What a review is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The source.
    pub source: String,
    /// Of this rule only.
    pub rule: Option<String>,
    /// From this moment on, in Unix milliseconds.
    pub from_ms: u64,
    /// Up to this moment, which is included.
    pub to_ms: u64,
    /// How many decisions are read at most, the newest. Those of one moment stay together.
    pub most: usize,
}

impl Asked {
    /// All decisions on a source.
    pub fn all(source: &str) -> Self {
        Self { source: source.to_owned(), rule: None, from_ms: 0, to_ms: u64::MAX, most: usize::MAX }
    }

    fn is_about(&self, decided: &Decided) -> bool {
        let is_rule = |rule: &String| decided.rule.is_empty() || *rule == decided.rule;
        *decided.source.as_str() == *self.source
            && (self.from_ms..=self.to_ms).contains(&decided.at_ms)
            && self.rule.as_ref().is_none_or(is_rule)
    }
}

/// The newest decisions of those that were asked for.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The decisions, oldest first.
    pub decided: Vec<Arc<Decided>>,
    /// The moment of the newest decision that is left out, in Unix milliseconds; `None` if none is.
    pub next_ms: Option<u64>,
}

impl Page {
    /// Adds what is in memory, which may contain some of the same, and leaves out what are too many again.
    #[must_use]
    pub fn with(self, asked: &Asked, memory: Records) -> Self {
        // What lies before is on the next page, in memory or not.
        let from_ms = self.next_ms.map_or(0, |next_ms| next_ms.saturating_add(1));
        let is_in = |decided: &Arc<Decided>| decided.at_ms >= from_ms && asked.is_about(decided);
        let newer = Records { decided: memory.decided.into_iter().filter(is_in).collect(), ..Records::default() };
        let Records { mut decided, .. } = Records { decided: self.decided, ..Records::default() }.with(newer);
        decided.sort_by_key(|decided| decided.at_ms);
        let too_many = decided.len().saturating_sub(asked.most);
        let first_ms = decided.get(too_many).map_or(0, |first| first.at_ms);
        let left_out = decided.partition_point(|decided| decided.at_ms < first_ms);
        if too_many == 0 || left_out == 0 {
            return Self { decided, ..self };
        }
        let rest = decided.split_off(left_out);
        Self { next_ms: decided.last().map(|last| last.at_ms), decided: rest }
    }

    /// What was raised, and what held it back.
    pub fn review(self, asked: &Asked) -> Review {
        let from_ms = self.next_ms.map_or(asked.from_ms, |next_ms| next_ms.saturating_add(1));
        let records = Records { decided: self.decided, ..Records::default() };
        let review = records.review(&asked.source, asked.rule.as_deref(), from_ms, asked.to_ms);
        Review { next_ms: self.next_ms, ..review }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::AlertId;

    fn decided(number: u64, at_ms: u64, rule: &str) -> Arc<Decided> {
        let (source, contents) = ("gate".into(), number.to_string());
        Arc::new(Decided { source, rule: rule.into(), at_ms, id: AlertId::new(number, [number as u8; 10]), contents })
    }

    fn numbers(page: &Page) -> Vec<u64> {
        page.decided.iter().map(|decided| decided.contents.parse().unwrap()).collect()
    }

    #[test]
    fn pages_have_each_decision_once_and_keep_those_of_a_moment_together() {
        // Two decisions at each of five moments.
        let all: Vec<_> = (0..10).map(|number| decided(number, 100 + number / 2, "r")).collect();
        let mut asked = Asked { most: 3, ..Asked::all("gate") };
        let mut pages = Vec::new();
        loop {
            let page = Page::default().with(&asked, Records { decided: all.clone(), ..Records::default() });
            pages.push(numbers(&page));
            let Some(next_ms) = page.next_ms else { break };
            asked.to_ms = next_ms;
        }
        assert_eq!(pages, [vec![6, 7, 8, 9], vec![2, 3, 4, 5], vec![0, 1]]);
    }

    #[test]
    fn what_is_in_memory_is_added_once_and_nothing_before_what_was_left_out() {
        let kept = Page { decided: vec![decided(5, 105, "r"), decided(6, 106, "r")], next_ms: Some(104) };
        let memory = [(3, 103), (4, 104), (6, 106), (7, 107)].map(|(number, ms)| decided(number, ms, "r"));
        let memory = Records { decided: memory.to_vec(), ..Records::default() };
        let page = kept.clone().with(&Asked { most: 10, ..Asked::all("gate") }, memory.clone());
        assert_eq!((numbers(&page), page.next_ms), (vec![5, 6, 7], Some(104)));
        let page = kept.with(&Asked { most: 2, ..Asked::all("gate") }, memory);
        assert_eq!((numbers(&page), page.next_ms), (vec![6, 7], Some(105)));
        assert_eq!(page.review(&Asked::all("gate")).next_ms, Some(105));
    }

    #[test]
    fn only_what_was_asked_for_counts() {
        let decided = vec![decided(1, 101, "r"), decided(2, 102, "q"), decided(3, 103, ""), decided(4, 104, "r")];
        let memory = Records { decided, ..Records::default() };
        let of = |asked: &Asked| numbers(&Page::default().with(asked, memory.clone()));
        assert_eq!(of(&Asked { rule: Some("r".into()), ..Asked::all("gate") }), [1, 3, 4], "what was judged is of all");
        assert_eq!(of(&Asked { from_ms: 102, to_ms: 103, ..Asked::all("gate") }), [2, 3]);
        assert!(of(&Asked::all("yard")).is_empty());
    }
}
