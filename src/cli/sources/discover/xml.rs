//! Reads XML of others: no DTD, so no entities; a bounded number of nodes and of characters.

use roxmltree::{Document, Node, ParsingOptions};

/// Most nodes of a document: a camera's whole list of profiles has some thousand.
const NODES_MAX: u32 = 50_000;
/// Most characters of a value, and of a list.
const VALUE_MAX: usize = 512;
const LIST_MAX: usize = 16_384;

/// Parses a document.
///
/// # Errors
/// Why it is refused.
pub(super) fn parse(text: &str) -> Result<Document<'_>, String> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|error| format!("its answer is not readable XML ({error})"))
}

/// The elements of this local name below `node`, whatever their namespace: makers differ in them.
pub(super) fn all<'a, 'd>(node: Node<'a, 'd>, name: &'static str) -> impl Iterator<Item = Node<'a, 'd>> {
    node.descendants().filter(move |node| node.is_element() && node.tag_name().name() == name)
}

/// The text of the first element on a path of local names below `node`, shortened, without control characters.
pub(super) fn text(node: Node<'_, '_>, path: &[&'static str]) -> Option<String> {
    shortened(node, path, VALUE_MAX)
}

/// The words of such an element.
pub(super) fn list(node: Node<'_, '_>, path: &[&'static str]) -> Vec<String> {
    let text = shortened(node, path, LIST_MAX).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

fn shortened(node: Node<'_, '_>, path: &[&'static str], max: usize) -> Option<String> {
    let mut at = node;
    for name in path {
        at = all(at, name).next()?;
    }
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = at.text()?.trim().chars().map(plain).take(max).collect();
    (!text.is_empty()).then_some(text)
}

/// Text as the content of an element.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_and_endless_documents_are_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bbbbbbbb\"><!ENTITY c \"&b;&b;&b;&b;\">]><a>&c;</a>";
        assert!(parse(bomb).is_err());
        assert!(parse(&format!("<a>{}</a>", "<b/>".repeat(60_000))).is_err());
        let long = format!("<x:a xmlns:x='y'><x:b>{}</x:b></x:a>", "z".repeat(2_000));
        let document = parse(&long).unwrap();
        assert_eq!(text(document.root(), &["a", "b"]).unwrap().len(), VALUE_MAX);
        assert_eq!(text(document.root(), &["c"]), None);
    }

    #[test]
    fn text_of_ours_stays_text() {
        let document = format!("<a>{}</a>", escaped("p<&>\"w'"));
        assert_eq!(text(parse(&document).unwrap().root(), &["a"]).as_deref(), Some("p<&>\"w'"));
    }
}
