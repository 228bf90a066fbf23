//! A plugin's manifest, read before its code runs: the `plugin.toml` in its folder, or a script's leading comments.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{BuildInputs, Limits, Needs, Settings, settings};
use crate::config::LimitPlan;
use crate::error::{Code, Error};
use crate::text;
use crate::types::one_line;

/// The plugin API version that this engine offers to scripts (`---@since 0.1`) and components (`dsengine:plugin@0.1`).
pub const API: (u32, u32) = (0, 1);
/// The manifest's file name.
const FILE: &str = "plugin.toml";

/// A plugin's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuestKind {
    /// Judges frames.
    Strategy,
    /// Delivers alerts.
    Handler,
}

/// The contents of a `plugin.toml`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Manifest {
    /// Its name; empty if absent.
    pub name: String,
    /// Its version; `0` if absent.
    pub version: String,
    /// Its kind, if given.
    pub kind: Option<GuestKind>,
    /// The file to load, if the manifest is a file of its own.
    pub entry: Option<PathBuf>,
    /// Requested capabilities.
    pub needs: Needs,
    /// Requested limits, capped by the configuration.
    pub limits: LimitPlan,
    /// Declared settings.
    pub settings: Settings,
    /// Whether a manifest was found. A component without one requests what it imports.
    pub found: bool,
}

/// The contents of `plugin.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Toml {
    name: String,
    version: String,
    #[serde(default)]
    api: Option<String>,
    #[serde(default)]
    kind: Option<GuestKind>,
    entry: PathBuf,
    #[serde(default)]
    needs: Needs,
    #[serde(default)]
    limits: LimitPlan,
    #[serde(default)]
    settings: BTreeMap<String, settings::Toml>,
}

impl Manifest {
    /// The manifest of a plugin whose module is `module`: the `plugin.toml` in its folder (or the one above `target`)
    /// if that names it as its entry, else a script's comments, else an empty one. It is read through `inputs`.
    ///
    /// # Errors
    /// [`Code::Plugin`] with file and line.
    pub fn of(module: &Path, script: Option<&str>, inputs: &BuildInputs) -> Result<Self, Error> {
        if let Some(mut found) = Self::in_a_file(module, inputs)? {
            if let Some(text) = script.filter(|_| found.settings.0.is_empty()) {
                found.settings = Self::of_script(text, &module.display().to_string())?.settings;
            }
            return Ok(found);
        }
        match script {
            Some(text) => Self::of_script(text, &module.display().to_string()),
            None => Ok(Self { version: "0".into(), ..Self::default() }),
        }
    }

    fn in_a_file(module: &Path, inputs: &BuildInputs) -> Result<Option<Self>, Error> {
        for folder in Self::folders(module) {
            let path = folder.join(FILE);
            if !path.is_file() {
                continue;
            }
            let read = || text::bytes(&path).map(|bytes| Some(bytes.into())).map_err(|e| e.to_string());
            let Ok(Some(bytes)) = inputs.once(&path, read) else { continue };
            let shown = path.display();
            let text =
                text::decode(&bytes).map_err(|e| Error::new(Code::Plugin, format!("{shown}:{}: {e}", e.line)))?;
            let found = Self::parse(&text, &shown.to_string())?;
            let entry = found.entry.as_ref().map(|entry| folder.join(entry));
            let same =
                |a: &Path, b: &Path| a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
            return Ok(entry.is_some_and(|entry| same(&entry, module)).then_some(found));
        }
        Ok(None)
    }

    /// The `plugin.toml` that a module's manifest is read from, if there is one.
    pub fn file_of(module: &Path) -> Option<PathBuf> {
        Self::folders(module).map(|folder| folder.join(FILE)).find(|path| path.is_file())
    }

    fn folders(module: &Path) -> impl Iterator<Item = &Path> {
        // A component built in place is a few folders below its manifest.
        module.ancestors().skip(1).take(4)
    }

    /// Parses a `plugin.toml`; `file` is its name in messages.
    ///
    /// # Errors
    /// [`Code::Plugin`] with file, line and column.
    pub fn parse(text: &str, file: &str) -> Result<Self, Error> {
        let Toml { name, version, api, kind, entry, needs, limits, settings } = toml::from_str(text).map_err(|e| {
            let place = e.span().map_or_else(String::new, |span| {
                let before = &text[..span.start.min(text.len())];
                let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
                let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
                format!(":{line}:{column}")
            });
            Error::new(Code::Plugin, format!("{file}{place}: {}", e.message()))
        })?;
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !plain {
            return Err(Error::new(Code::Plugin, format!("{file}: the name '{name}' is none"))
                .hint("names are lower-case letters, digits and hyphens"));
        }
        let paths = std::iter::once(&entry).chain(&needs.files).map(|path| path.to_string_lossy());
        let words = [&version].into_iter().chain(&needs.http).chain(&needs.env).map(|word| word.as_str().into());
        if paths.chain(words).any(|text| matches!(one_line(&text), Cow::Owned(_))) {
            return Err(Error::new(Code::Plugin, format!("{file}: a value holds a control character"))
                .hint("`version`, `entry` and what it needs are words and paths of one line each"));
        }
        if let Some(api) = api {
            check_api(&api, file)?;
        }
        Limits::check(&limits).map_err(|what| Error::new(Code::Plugin, format!("{file}: {what}")))?;
        let settings =
            Settings::of_toml(settings).map_err(|what| Error::new(Code::Plugin, format!("{file}: {what}")))?;
        Ok(Self { name, version, kind, entry: Some(entry), needs, limits, settings, found: true })
    }

    /// Parses a script's leading comments: `---@since 0.1`, `---@version 1.2`, `---@needs http hooks.example.com`,
    /// `---@setting seconds number = 10`.
    ///
    /// # Errors
    /// [`Code::Plugin`] with file and line.
    pub fn of_script(text: &str, file: &str) -> Result<Self, Error> {
        let mut manifest = Self { version: "0".into(), ..Self::default() };
        let comments = text.lines().enumerate().take_while(|(_, l)| l.trim().is_empty() || l.starts_with("--"));
        for (number, line) in comments {
            let place = format!("{file}:{}", number + 1);
            let Some((_, tag)) = line.split_once("---@") else { continue };
            let (tag, rest) = tag.split_once(' ').unwrap_or((tag, ""));
            match tag.trim() {
                "since" => check_api(rest.trim(), &place)?,
                "version" => rest.trim().clone_into(&mut manifest.version),
                "needs" => {
                    manifest.found = true;
                    need(&mut manifest.needs, rest.trim(), &place)?;
                }
                "setting" => {
                    let added = manifest.settings.add_line(rest.trim());
                    added.map_err(|what| Error::new(Code::Plugin, format!("{place}: ---@setting: {what}")))?;
                }
                _ => {}
            }
        }
        Ok(manifest)
    }
}

/// Parses one `---@needs` line.
fn need(needs: &mut Needs, rest: &str, place: &str) -> Result<(), Error> {
    let (what, names) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let names = names.split([' ', ',', '\t']).filter(|name| !name.is_empty());
    match what {
        "http" => needs.http.extend(names.map(str::to_owned)),
        "env" => needs.env.extend(names.map(str::to_owned)),
        "files" => needs.files.extend(names.map(PathBuf::from)),
        "shared_state" | "shared-state" => needs.shared_state = true,
        "pixels" => needs.pixels = true,
        _ => {
            return Err(Error::new(Code::Plugin, format!("{place}: '---@needs {rest}' asks for nothing known"))
                .hint("what can be asked for: http HOST, shared_state, pixels, env NAME, files PATH"));
        }
    }
    Ok(())
}

/// Checks the API version. While the major version is 0, a minor version may break, so only the same major with at most
/// our minor is accepted.
fn check_api(wanted: &str, place: &str) -> Result<(), Error> {
    let mut parts = wanted.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
        return Err(Error::new(Code::Plugin, format!("{place}: '{wanted}' is no version of the plugin API"))
            .hint(format!("write {}.{}", API.0, API.1)));
    };
    if major != API.0 || minor > API.1 {
        return Err(Error::new(
            Code::Plugin,
            format!("{place}: the plugin wants API {major}.{minor}, this engine offers {}.{}", API.0, API.1),
        )
        .hint("use a newer dsengine, or a version of the plugin for this one"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_steers_the_terminal_is_refused() {
        let toml = |version: &str, entry: &str, env: &str| {
            format!("name = \"a\"\nversion = \"{version}\"\nentry = \"{entry}\"\n[needs]\nenv = [\"{env}\"]\n")
        };
        assert!(Manifest::parse(&toml("1", "a.lua", "A"), "plugin.toml").is_ok());
        for text in
            [toml("1\\n2026 CRITICAL", "a.lua", "A"), toml("1", "a\\u001b[2J.lua", "A"), toml("1", "a.lua", "A\\nB")]
        {
            let error = Manifest::parse(&text, "plugin.toml").unwrap_err().message().to_owned();
            assert_eq!(error, "plugin.toml: a value holds a control character", "{text}");
        }
    }

    const TOML: &str = "name = \"crowd\"\nversion = \"1.2.0\"\napi = \"0.1\"\nkind = \"strategy\"\nentry = \"crowd.lua\"\n\
                        [needs]\npixels = true\nhttp = [\"hooks.example.com\"]\n[limits]\nhard_ms = 10\n";

    #[test]
    fn a_manifest_has_a_plugins_kind_and_requests() {
        let manifest = Manifest::parse(TOML, "plugin.toml").unwrap();
        assert_eq!((&*manifest.name, &*manifest.version), ("crowd", "1.2.0"));
        assert_eq!((manifest.kind, manifest.needs.pixels), (Some(GuestKind::Strategy), true));
        assert_eq!(manifest.limits.hard_ms, Some(10.0));
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        let error = Manifest::parse(&TOML.replace("pixels", "pixel"), "plugin.toml").unwrap_err();
        assert!(error.message().starts_with("plugin.toml:7:1: unknown field `pixel`"), "{error}");
        let error = Manifest::parse(&TOML.replace("0.1\"", "0.3\""), "plugin.toml").unwrap_err();
        assert_eq!(error.message(), "plugin.toml: the plugin wants API 0.3, this engine offers 0.1");
        let error = Manifest::of_script("---@since 0.1\n---@needs wings\n", "x.lua").unwrap_err();
        assert_eq!(error.message(), "x.lua:2: '---@needs wings' asks for nothing known");
    }

    #[test]
    fn a_limit_out_of_range_is_refused_and_lifts_nothing() {
        for (limit, expected) in [
            ("hard_ms = -1", "limits.hard_ms is out of range: got -1, expected 1..10000"),
            ("hard_ms = inf", "limits.hard_ms is out of range: got inf, expected 1..10000"),
            ("memory_mb = 0", "limits.memory_mb is out of range: got 0, expected 1..4096"),
            ("memory_mb = nan", "limits.memory_mb is out of range: got NaN, expected 1..4096"),
        ] {
            let error = Manifest::parse(&TOML.replace("hard_ms = 10", limit), "plugin.toml").unwrap_err();
            assert_eq!(error.message(), format!("plugin.toml: {expected}"));
        }
    }

    #[test]
    fn a_script_requests_capabilities_in_its_comments() {
        let text =
            "---@since 0.1\n---@version 3\n---@needs http a.example b.example:81\n---@needs pixels\nfunction f() end";
        let manifest = Manifest::of_script(text, "x.lua").unwrap();
        assert_eq!(manifest.needs.http, ["a.example", "b.example:81"]);
        assert_eq!((manifest.needs.pixels, &*manifest.version), (true, "3"));
    }
}
