//! The located tree: a YAML file parsed once, every key and value with its line and column, scalars as written.
//!
//! The YAML crate's serde support types scalars by its own, laxer rules (`yes`, `1_000`) and drops tags, so this reads
//! the events of its parser. Scalars are typed later, by their key.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::Value as Json;

use super::problem::{Location, Problems};

/// Maximum file size.
pub(super) const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Maximum nesting of lists and maps.
pub(super) const DEPTH_MAX: usize = 64;
/// Maximum number of values in a file, including copies for anchors and aliases. 1,024 sources with a zone each take
/// some 20,000.
pub(super) const NODES_MAX: usize = 100_000;

/// The notation of a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Without quotes: may be a number, a boolean or null.
    Plain,
    /// Quoted or a block: text, whatever it looks like.
    Quoted,
    /// From the environment, a flag or a `${…}`: typed by its key.
    Raw,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) place: Location,
    pub(super) value: Value,
    /// The text before `${…}` was replaced, if it was: shown instead of the value everywhere.
    pub(super) template: Option<String>,
}

/// The contents of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Scalar { text: String, style: Style },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) place: Location,
}

impl Node {
    pub(super) fn scalar(text: impl Into<String>, style: Style, place: Location) -> Self {
        Self { place, value: Value::Scalar { text: text.into(), style }, template: None }
    }

    pub(super) fn map(place: Location) -> Self {
        Self { place, value: Value::Map(Vec::new()), template: None }
    }

    /// Whether it is null: `key:`, `key: ~`, `key: null`.
    pub(super) fn is_nothing(&self) -> bool {
        match &self.value {
            Value::Scalar { text, style: Style::Plain } => {
                matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|(k, _)| k.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Sets a key's value.
    pub(super) fn replace(&mut self, key: Key, node: Self) {
        if let Value::Map(entries) = &mut self.value {
            entries.retain(|(old, _)| old.text != key.text);
            entries.push((key, node));
        }
    }

    /// Removes and returns the map under a key; anything but a map stays.
    pub(super) fn take_map(&mut self, key: &str) -> Vec<(Key, Self)> {
        let Value::Map(entries) = &mut self.value else { return Vec::new() };
        let found = entries.iter().position(|(k, node)| k.text == key && matches!(node.value, Value::Map(_)));
        match found.map(|index| entries.remove(index).1.value) {
            Some(Value::Map(inner)) => inner,
            _ => Vec::new(),
        }
    }

    /// The value as JSON, typed by its notation; `null` if empty.
    pub(super) fn to_json(&self) -> Json {
        match &self.value {
            _ if self.is_nothing() => Json::Null,
            Value::Scalar { text, style: Style::Plain } => match serde_json::from_str(text) {
                Ok(plain @ (Json::Bool(_) | Json::Number(_))) => plain,
                _ => Json::String(text.clone()),
            },
            Value::Scalar { text, .. } => Json::String(text.clone()),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries.iter().map(|(key, node)| (key.text.clone(), node.to_json())).collect(),
        }
    }

    fn size(&self) -> usize {
        match &self.value {
            Value::Scalar { .. } => 1,
            Value::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Value::Map(entries) => 1 + entries.iter().map(|(_, node)| node.size()).sum::<usize>(),
        }
    }

    fn depth(&self) -> usize {
        match &self.value {
            Value::Scalar { .. } => 0,
            Value::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Value::Map(entries) => 1 + entries.iter().map(|(_, node)| node.depth()).max().unwrap_or(0),
        }
    }
}

/// Parses one document. `None` if the text is not YAML; the reason is then among the problems.
pub(super) fn parse(text: &str, origin: usize, problems: &mut Problems) -> Option<Node> {
    let options = granit_parser::options! {
        emit_comments: false,
        disallow_directives: true,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let parser = Parser::new_from_str_with_options(text, options);
    Reader { origin, problems, open: Vec::new(), root: None, anchors: HashMap::new(), nodes: 0 }.read(parser)
}

struct Reader<'p> {
    origin: usize,
    problems: &'p mut Problems,
    open: Vec<Open>,
    root: Option<Node>,
    /// Anchored nodes by the parser's id; `None` while one is still open, so that it cannot contain itself.
    anchors: HashMap<usize, Option<Node>>,
    nodes: usize,
}

/// An unfinished collection.
struct Open {
    place: Location,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map(OpenMap),
}

/// An unfinished map.
#[derive(Default)]
struct OpenMap {
    entries: Vec<(Key, Node)>,
    /// The key whose value comes next.
    key: Option<Key>,
    /// The line of each key.
    lines: HashMap<String, usize>,
}

/// Parsing stopped; the reason is among the problems.
struct Stop;

impl Reader<'_> {
    fn read<'t>(mut self, parser: impl Iterator<Item = granit_parser::ParseResult<'t>>) -> Option<Node> {
        let mut documents = 0;
        for event in parser {
            let (event, span) = match event {
                Ok(event) => event,
                Err(error) => {
                    let (line, column) = (error.marker().line().max(1), error.marker().col() + 1);
                    let place = Location { origin: self.origin, line, column, width: 1 };
                    self.problems.at_syntax(place, "this is not YAML", error.info());
                    return None;
                }
            };
            if let Event::DocumentStart(..) = event {
                documents += 1;
                if documents > 1 {
                    let place = self.place(span);
                    self.problems.at_syntax(place, "a second document begins here", "one file holds one document");
                    return None;
                }
            }
            if self.event(event, span).is_err() {
                return None;
            }
        }
        let start = Location { origin: self.origin, line: 1, column: 1, width: 1 };
        Some(self.root.unwrap_or_else(|| Node::map(start)))
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let place = self.place(span);
        if let (Some(tag), Some(start)) = (event.tag(), span.tag_start()) {
            let width = tag.original().chars().count();
            let place = Location { origin: self.origin, line: start.line(), column: start.col() + 1, width };
            self.problems.at_syntax(place, "a tag has no meaning here", "write a value that begins with `!` in quotes");
        }
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let style = if style == ScalarStyle::Plain { Style::Plain } else { Style::Quoted };
                let node = Node::scalar(text.into_owned(), style, place);
                self.count(1, place)?;
                self.keep(anchor, &node)?;
                self.put(node)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(place, anchor, OpenKind::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => self.begin(place, anchor, OpenKind::Map(OpenMap::default())),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor, place),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, place: Location, anchor: usize, kind: OpenKind) -> Result<(), Stop> {
        self.count(1, place)?;
        self.check_depth(self.open.len() + 1, place)?;
        if anchor > 0 {
            self.anchors.insert(anchor, None);
        }
        self.open.push(Open { place, anchor, kind });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        let Some(Open { place, anchor, kind }) = self.open.pop() else { return Ok(()) };
        let value = match kind {
            OpenKind::List(items) => Value::List(items),
            OpenKind::Map(map) => Value::Map(map.entries),
        };
        let node = Node { place, value, template: None };
        self.keep(anchor, &node)?;
        self.put(node)
    }

    fn alias(&mut self, anchor: usize, place: Location) -> Result<(), Stop> {
        let Some(Some(node)) = self.anchors.get(&anchor) else {
            self.problems.at_value(place, "an alias inside its own anchor", "this would never end");
            return Err(Stop);
        };
        // Checked before copying, since a YAML bomb relies on the copies.
        let (size, depth) = (node.size(), node.depth());
        let copy = Node { place, ..node.clone() };
        self.count(size, place)?;
        self.check_depth(self.open.len() + depth, place)?;
        self.put(copy)
    }

    /// Keeps a copy of an anchored node for its aliases; it counts as one repetition.
    fn keep(&mut self, anchor: usize, node: &Node) -> Result<(), Stop> {
        if anchor > 0 {
            self.count(node.size(), node.place)?;
            self.anchors.insert(anchor, Some(node.clone()));
        }
        Ok(())
    }

    fn put(&mut self, node: Node) -> Result<(), Stop> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.kind {
            OpenKind::List(items) => items.push(node),
            OpenKind::Map(OpenMap { key: key @ None, .. }) => match node.value {
                Value::Scalar { text, .. } => *key = Some(Key { text, place: node.place }),
                _ => {
                    self.problems.at_value(node.place, "a key is a word", "a list or map cannot be a key");
                    return Err(Stop);
                }
            },
            OpenKind::Map(OpenMap { entries, key, lines }) => {
                let Some(key) = key.take() else { return Ok(()) };
                match lines.get(&key.text) {
                    Some(line) => {
                        let label = format!("first set in line {line}");
                        self.problems.at_key(key.place, format!("the key `{}` is set twice", key.text), label);
                    }
                    None => {
                        lines.insert(key.text.clone(), key.place.line);
                        entries.push((key, node));
                    }
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, more: usize, place: Location) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > NODES_MAX {
            let label =
                format!("a file holds at most {NODES_MAX} values, those that anchors and aliases repeat included");
            self.problems.at_value(place, "too many values", label);
            return Err(Stop);
        }
        Ok(())
    }

    fn check_depth(&mut self, depth: usize, place: Location) -> Result<(), Stop> {
        if depth > DEPTH_MAX {
            self.problems.at_value(place, "too deep", format!("lists and maps nest at most {DEPTH_MAX} deep"));
            return Err(Stop);
        }
        Ok(())
    }

    fn place(&self, span: Span) -> Location {
        let (start, end) = (span.start, span.end);
        let width = if end.line() == start.line() { end.col().saturating_sub(start.col()) } else { 1 };
        Location { origin: self.origin, line: start.line().max(1), column: start.col() + 1, width: width.max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Node>, Problems) {
        let mut problems = Problems::default();
        let node = parse(text, 0, &mut problems);
        (node, problems)
    }

    #[test]
    fn keys_and_values_have_their_location_and_style() {
        let (node, problems) = read("a:\n  b: \"4\"\n  c: [1, yes]\n");
        assert!(problems.is_empty());
        let node = node.unwrap();
        let b = node.get("a").unwrap().get("b").unwrap();
        assert_eq!((b.place.line, b.place.column, b.place.width), (2, 6, 3));
        assert_eq!(b.value, Value::Scalar { text: "4".into(), style: Style::Quoted });
        let Value::List(items) = &node.get("a").unwrap().get("c").unwrap().value else { panic!("a list") };
        assert_eq!(items[1].value, Value::Scalar { text: "yes".into(), style: Style::Plain });
    }

    #[test]
    fn an_alias_repeats_its_anchor_and_a_bomb_is_refused_early() {
        let (node, problems) = read("a: &x [1, 2]\nb: *x\n");
        assert!(problems.is_empty());
        assert!(matches!(&node.unwrap().get("b").unwrap().value, Value::List(items) if items.len() == 2));

        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..9 {
            let refs = vec![format!("*a{}", i - 1); 10].join(", ");
            bomb.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        let (node, problems) = read(&bomb);
        assert!(node.is_none());
        assert_eq!(problems.list[0].message, "too many values");
    }

    #[test]
    fn copies_for_anchors_count() {
        let values = vec!["x"; 9_000].join(", ");
        let nested = |count: usize| {
            let open: String = (0..count).map(|n| format!("&a{n} [")).collect();
            format!("a: {open}{values}{}\n", "]".repeat(count))
        };
        assert!(read(&nested(2)).0.is_some());
        let (node, problems) = read(&nested(20));
        assert!(node.is_none());
        assert_eq!(problems.list[0].message, "too many values");
    }

    #[test]
    fn depth_is_bounded() {
        let (node, problems) = read(&format!("{}{}", "[".repeat(70), "]".repeat(70)));
        assert!(node.is_none());
        assert_eq!(problems.list.len(), 1);
        let (node, _) = read(&format!("{}{}", "[".repeat(60), "]".repeat(60)));
        assert!(node.is_some());
    }
}
