//! The sources as a block of a configuration.

use std::collections::BTreeSet;

use serde_json::Value;

use super::camera::{Camera, Profile};

/// The block for these cameras; `None` without a stream. With `has_user`, addresses take the user from variables.
pub(super) fn block(cameras: &[Camera], has_user: bool) -> Option<String> {
    let mut ids = BTreeSet::new();
    let entries: Vec<String> = cameras.iter().filter_map(|camera| entry(camera, has_user, &mut ids)).collect();
    if entries.is_empty() {
        return None;
    }
    let login = match has_user {
        true => "# The cameras' user and password are those of the variables CAMERA_USER and CAMERA_PASSWORD.\n",
        false => "",
    };
    Some(format!("{login}sources:\n{}", entries.join("\n")))
}

/// A camera: its largest stream, and its smallest one in a comment.
fn entry(camera: &Camera, has_user: bool, ids: &mut BTreeSet<String>) -> Option<String> {
    let of_its_own = || camera.profiles.iter().filter(|profile| profile.is_own && profile.uri.is_some());
    let main = of_its_own().next()?;
    let id = id(camera, ids);
    let uri = |profile: &Profile| quoted(&with_user(profile.uri.as_deref().unwrap_or_default(), has_user));
    let mut text = format!("  - id: {id}\n");
    if let Some(name) = &camera.name {
        text += &format!("    name: {}\n", quoted(&literal(name)));
    }
    text += &format!("    # {}\n    uri: {}", comment(&main.described()), uri(main));
    if let Some(sub) = of_its_own().next_back().filter(|sub| sub.pixels() < main.pixels()) {
        text += &format!("\n    # A smaller stream for detection, instead of `uri`: {}", comment(&sub.described()));
        text += &format!("\n    # streams:\n    #   detect: {}\n    #   evidence: {}", uri(sub), uri(main));
    }
    Some(text)
}

/// An id that no other has: from the name, or from the address.
fn id(camera: &Camera, ids: &mut BTreeSet<String>) -> String {
    let of = |text: &str| -> String {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
    };
    let name: String = of(camera.name.as_deref().unwrap_or_default()).chars().take(32).collect();
    let base = if name.is_empty() { format!("camera-{}", of(&camera.address)) } else { name };
    let mut id = base.clone();
    let mut n = 1;
    while !ids.insert(id.clone()) {
        n += 1;
        id = format!("{base}-{n}");
    }
    id
}

/// An address with the user from variables.
fn with_user(uri: &str, has_user: bool) -> String {
    let uri = literal(uri);
    match uri.split_once("://").filter(|_| has_user) {
        Some((scheme, place)) => format!("{scheme}://${{env:CAMERA_USER}}:${{env:CAMERA_PASSWORD}}@{place}"),
        None => uri,
    }
}

/// A camera's own text: a reference in it stays text.
fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

/// Text as a YAML value: every JSON string is one.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Text within a comment: it has no line breaks.
fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_yaml_stays_a_name() {
        let profile = |uri: &str, width| Profile {
            uri: Some(uri.into()),
            is_own: true,
            width,
            height: width / 2,
            ..Profile::default()
        };
        let camera = Camera {
            address: "192.0.2.7".into(),
            name: Some("a\"]\n- evil: ${file:/etc/passwd}".into()),
            profiles: vec![profile("rtsp://192.0.2.7/main", 800), profile("rtsp://192.0.2.7/${env:HOME}", 80)],
            ..Camera::default()
        };
        let other = Camera { name: None, ..camera.clone() };
        let block = block(&[camera.clone(), other, camera], true).unwrap();
        assert!(block.contains("- id: a-evil"), "{block}");
        assert!(block.contains("- id: camera-192-0-2-7\n"), "{block}");
        assert!(block.contains("uri: \"rtsp://${env:CAMERA_USER}:${env:CAMERA_PASSWORD}@192.0.2.7/main\""), "{block}");
        assert!(block.contains("$${env:HOME}"), "{block}");
        let ids: BTreeSet<&str> = block.lines().filter_map(|line| line.trim().strip_prefix("- id: ")).collect();
        assert_eq!(ids.len(), 3, "{block}");
        assert!(!block.lines().any(|line| line.starts_with("- evil")), "{block}");
    }
}
