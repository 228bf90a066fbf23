//! Merges the layers of a configuration into one tree: file, sources file, profile, overlay, environment, flags.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::expand::{self, Vars};
use super::load::Request;
use super::overlay::{self, Reports};
use super::problem::{LoadError, Location, Origin, Problems};
use super::profile::Profiles;
use super::tree::{self, FILE_BYTES_MAX, Key, Node, Style, Value};
use super::{layer, sources};
use crate::text;

/// The merged layers.
pub(super) struct Layers {
    /// The resulting tree.
    pub(super) root: Node,
    /// The ids of the sources that the command line's source replaced.
    pub(super) replaced: Vec<String>,
    /// The unselected profiles, for checking.
    pub(super) profiles: Profiles,
    /// The file and the sources file as written, with ids added to sources without one.
    pub(super) file_tree: Json,
    /// The files that were read.
    pub(super) files: Vec<PathBuf>,
}

/// Reads the files and merges the layers; `None` if a text is not YAML.
pub(super) fn layers(request: &Request, schema: &Json, to: &mut Reports<'_>) -> Result<Option<Layers>, LoadError> {
    let env: BTreeMap<String, String> = request.env.iter().cloned().collect();
    let vars = Vars { env: &env, working_dir: &request.working_dir, files: RefCell::default() };
    let Some((mut root, profiles, file_tree)) = files(request, &vars, to)? else { return Ok(None) };
    let mut profiles = Profiles::new(profiles, request, &env, &root);
    let mut selected = profiles.take_selected();
    profiles.refuse_parts(selected.as_mut(), to.problems);
    if let Some(mut body) = selected {
        expand::expand(&mut body, "", &vars, to.problems);
        overlay::merge(&mut root, body);
    }
    let (mut root, replaced) = upper_layers(root, request, schema, &vars, to);
    profiles.check_name(&mut root, to.problems);
    let named = [&request.config, &request.sources].into_iter().flatten().map(|file| request.working_dir.join(file));
    let files = named.chain(vars.files.take()).collect();
    Ok(Some(Layers { root, replaced, profiles, file_tree, files }))
}

/// The config file with the sources file merged in, references replaced; also the profiles, and the tree as written.
#[allow(clippy::type_complexity, reason = "three values of one step, named where they are taken")]
fn files(
    request: &Request,
    vars: &Vars<'_>,
    to: &mut Reports<'_>,
) -> Result<Option<(Node, Vec<(Key, Node)>, Json)>, LoadError> {
    let read = match (&request.document, &request.config) {
        (Some(text), path) => {
            let name = path.as_ref().map_or_else(|| "document".to_owned(), |path| path.display().to_string());
            let text = text::bare(text);
            let origin = to.origins.add(Origin::File { name, text: text.to_owned() });
            tree::parse(text, origin, to.problems)
        }
        (None, Some(path)) => file(path, request, to)?,
        (None, None) => Some(Node::map(Location::nowhere())),
    };
    let Some(mut root) = read else { return Ok(None) };
    if root.is_nothing() {
        root = Node::map(root.place);
    }
    if !matches!(root.value, Value::Map(_)) {
        let place = Location { width: 1, ..root.place };
        to.problems.at_value(place, "the configuration is no map", "expected keys such as `sources:` and `detection:`");
        return Ok(None);
    }
    // The keys that decide about layers are gone once these are merged.
    #[cfg(feature = "mutate")]
    super::mutate::ignore(&mut root);
    let mut written = root.clone();
    let profiles = root.take_map("profiles");
    expand::expand(&mut root, "", vars, to.problems);
    if let Some(path) = &request.sources {
        let Some(mut node) = file(path, request, to)? else { return Ok(None) };
        // Problems are reported for the expanded one only.
        sources::from_file(&mut written, node.clone(), &mut Problems::default());
        expand::expand(&mut node, "", vars, to.problems);
        sources::from_file(&mut root, node, to.problems);
    }
    let mut file_tree = written.to_json();
    if let Some(Json::Array(entries)) = file_tree.get_mut("sources") {
        for (entry, id) in entries.iter_mut().zip(sources::ids(&root)) {
            if let Json::Object(keys) = entry {
                keys.insert("id".to_owned(), Json::String(id));
            }
        }
    }
    Ok(Some((root, profiles, file_tree)))
}

/// Applies the command line's source, the overlay, the environment and the flags; also returns the ids of the sources
/// that the command line's source replaced.
fn upper_layers(
    mut root: Node,
    request: &Request,
    schema: &Json,
    vars: &Vars<'_>,
    to: &mut Reports<'_>,
) -> (Node, Vec<String>) {
    let mut replaced = Vec::new();
    if let Some(uri) = &request.source_uri {
        replaced = sources::ids(&root);
        let origin = to.origins.add(Origin::Flag("--source".to_owned()));
        let place = Location { origin, line: 1, column: 1, width: 1 };
        if request.sources.is_some() {
            to.problems.at_value(place, "a source is named twice", "give one of --source and --sources");
        }
        let key = |text: &str| Key { text: text.to_owned(), place };
        let entry = Value::Map(vec![(key("uri"), Node::scalar(uri.clone(), Style::Quoted, place))]);
        let entry = Node { place, value: entry, template: None };
        root.replace(key("sources"), Node { place, value: Value::List(vec![entry]), template: None });
    }
    overlay::lay(&mut root, &request.overlay, schema, vars, to);
    let chosen = request.source_uri.as_ref().and_then(|_| root.get("sources").cloned());
    layer::environment(&mut root, &request.env, schema, to);
    // The environment may add keys to the sources of the command line and the overlay, but not replace them.
    if let Some(chosen) = chosen {
        let place = chosen.place;
        let said = root.get("sources").cloned();
        root.replace(Key { text: "sources".to_owned(), place }, with_details(chosen, said));
    }
    layer::flags(&mut root, &request.overrides, schema, to);
    (root, replaced)
}

/// The selected sources, with the keys that the environment set for them.
fn with_details(chosen: Node, said: Option<Node>) -> Node {
    let (Value::List(entries), Some(Value::List(said))) = (&chosen.value, said.map(|said| said.value)) else {
        return chosen;
    };
    let mut entries = entries.clone();
    for (entry, said) in entries.iter_mut().zip(said) {
        if let (Value::Map(own), Value::Map(more)) = (&mut entry.value, said.value) {
            let new = more.into_iter().filter(|(key, _)| key.text != "uri");
            let new: Vec<_> = new.filter(|(key, node)| !own.contains(&(key.clone(), node.clone()))).collect();
            own.retain(|(key, _)| !new.iter().any(|(other, _)| other.text == key.text));
            own.extend(new);
        }
    }
    Node { value: Value::List(entries), ..chosen }
}

fn file(path: &Path, request: &Request, to: &mut Reports<'_>) -> Result<Option<Node>, LoadError> {
    let name = path.display().to_string();
    let refuse = |reason: String| LoadError::plain(format!("{name} {reason}"));
    let opened = std::fs::File::open(request.working_dir.join(path));
    let opened = opened.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => refuse("does not exist".to_owned()),
        _ => refuse(format!("cannot be read: {error}")),
    })?;
    let mut bytes = Vec::new();
    opened
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| refuse(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(refuse(format!("is larger than {} KiB", FILE_BYTES_MAX / 1024)));
    }
    let text = text::decode(&bytes).map_err(|error| refuse(error.to_string()))?.into_owned();
    let origin = to.origins.add(Origin::File { name, text: text.clone() });
    Ok(tree::parse(&text, origin, to.problems))
}
