//! Capabilities: what a guest requests, what the configuration grants, and the intersection.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::config::GrantPlan;
use crate::error::{Code, Error};

/// The capabilities that a guest requests. The default is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Needs {
    /// Hosts for HTTP requests, `host` or `host:port`, exactly as in the URL; prefixed with `https://` or `http://`,
    /// for that scheme only.
    pub http: Vec<String>,
    /// State over all its sources.
    pub shared_state: bool,
    /// The frame's picture.
    pub pixels: bool,
    /// Environment variables that it reads.
    pub env: Vec<String>,
    /// Files and folders that it reads.
    pub files: Vec<PathBuf>,
}

/// A guest's effective capabilities: requested and granted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// Its capabilities.
    pub has: Needs,
    /// Values of the environment variables that it may read and that are set.
    pub env: BTreeMap<String, String>,
    /// Secrets that HTTP requests may use as `${secret:NAME}`. The values are hidden from the guest, unless a granted
    /// host returns one in another form.
    pub secrets: BTreeMap<String, String>,
    /// Hosts that are granted and not requested, for the error message when the guest tries one.
    pub unasked_hosts: Vec<String>,
}

impl Grants {
    /// Everything that the configuration grants: for a component without a manifest, whose imports are its requests.
    pub fn all(granted: &GrantPlan) -> Self {
        let GrantPlan { http, shared_state, pixels, env, files, secrets } = granted.clone();
        let values = env.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))).collect();
        Self { has: Needs { http, shared_state, pixels, env, files }, env: values, secrets, unasked_hosts: Vec::new() }
    }

    /// Describes what the configuration grants and the guest does not request.
    pub fn unasked(&self, granted: &GrantPlan) -> Vec<String> {
        let has = &self.has;
        let hosts = unused(&granted.http, &has.http).map(|host| format!("http {host}"));
        let names = granted.env.iter().filter(|name| !has.env.contains(name)).map(|name| format!("env {name}"));
        let mut unasked: Vec<String> = hosts.chain(names).collect();
        for (granted, has, word) in [
            (granted.shared_state, has.shared_state, "shared_state"),
            (granted.pixels, has.pixels, "pixels"),
            (!granted.files.is_empty(), !has.files.is_empty(), "files"),
        ] {
            if granted && !has {
                unasked.push(word.to_owned());
            }
        }
        unasked
    }

    /// The effective capabilities of `plugin`, which requests `asked` where the configuration grants `granted`.
    ///
    /// # Errors
    /// [`Code::Plugin`] with everything that is requested and not granted, and how to grant it.
    pub fn of(plugin: &str, asked: &Needs, granted: &GrantPlan) -> Result<Self, Error> {
        let (mut what, mut lacks, mut ports) = (Vec::new(), Needs::default(), Vec::new());
        let mut http = Vec::new();
        for host in &asked.http {
            let had = hosts(&granted.http, host);
            if had.is_empty() {
                what.push(format!("requests to {host}"));
                match granted.http.iter().find(|entry| is_with_port(entry, host)) {
                    Some(entry) => ports.push(entry.as_str()),
                    None => lacks.http.push(host.clone()),
                }
            }
            http.extend(had);
        }
        if asked.shared_state && !granted.shared_state {
            what.push("state over all sources".to_owned());
            lacks.shared_state = true;
        }
        if asked.pixels && !granted.pixels {
            what.push("pixels".to_owned());
            lacks.pixels = true;
        }
        for name in asked.env.iter().filter(|name| !granted.env.contains(name)) {
            what.push(format!("the environment variable {name}"));
            lacks.env.push(name.clone());
        }
        for path in asked.files.iter().filter(|path| !may_read(granted, path)) {
            let leads = real(path).unwrap_or_else(|| path.clone());
            let way = if leads == *path { String::new() } else { format!(" (it leads to {})", leads.display()) };
            what.push(format!("reading {}{way}", path.display()));
            lacks.files.push(leads);
        }
        if !what.is_empty() {
            let what = format!("{plugin} asks for {}, which is not granted", what.join(", "));
            return Err(Error::new(Code::Plugin, what).hint(hint(asked, &lacks, &ports)));
        }
        let env = asked.env.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))).collect();
        let unasked_hosts = unused(&granted.http, &http).cloned().collect();
        let has = Needs { http, ..asked.clone() };
        Ok(Self { has, env, secrets: granted.secrets.clone(), unasked_hosts })
    }
}

/// Whether a granted entry is the requested host with a port, which the request lacks.
fn is_with_port(entry: &str, asked: &str) -> bool {
    let port = bare(entry).strip_prefix(bare(asked)).and_then(|rest| rest.strip_prefix(':'));
    port.is_some_and(|port| port.parse::<u16>().is_ok())
}

/// An entry without its scheme.
fn bare(entry: &str) -> &str {
    entry.split_once("://").map_or(entry, |(_, host)| host)
}

/// The keys of the configuration that grant these, on one line.
fn keys(lacks: &Needs) -> String {
    let Needs { http, shared_state, pixels, env, files } = lacks;
    let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    let list =
        |key: &str, entries: &[String]| (!entries.is_empty()).then(|| format!("{key}: [{}]", entries.join(", ")));
    let switch = |key: &str, is_lacking: bool| is_lacking.then(|| format!("{key}: true"));
    let keys = [
        list("http", http),
        switch("shared_state", *shared_state),
        switch("pixels", *pixels),
        list("env", env),
        list("files", &files),
    ];
    keys.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// How to grant what is lacking, or to request what is granted with a port (`ports`); points out a placeholder host of
/// the template.
fn hint(asked: &Needs, lacks: &Needs, ports: &[&str]) -> String {
    let ask = ports.iter().map(|host| {
        format!(
            "the grant {host} has a port, so the request needs it, too: `---@needs http {host}`, or [needs] of \
             plugin.toml"
        )
    });
    let grant = format!("grant it in the configuration, beside its name: grants: {{{}}}", keys(lacks));
    let grant = ask.chain((*lacks != Needs::default()).then_some(grant)).collect::<Vec<_>>().join("; ");
    match asked.http.iter().find(|host| host.ends_with(".example.com")) {
        Some(host) => format!(
            "{grant}; but {host} stands for your receiver: write its own host into [needs] of plugin.toml first"
        ),
        None => grant,
    }
}

/// The granted entries that match a requested host, each as the narrower of the two. A request for `http://` must be
/// granted with that scheme.
pub fn hosts(granted: &[String], asked: &str) -> Vec<String> {
    let had = |entry: &String| match (entry.split_once("://"), asked.split_once("://")) {
        _ if entry == asked => Some(entry.clone()),
        (Some((_, host)), None) if host == asked => Some(entry.clone()),
        (None, Some(("https", host))) if host == entry => Some(asked.to_owned()),
        _ => None,
    };
    granted.iter().filter_map(had).collect()
}

/// The granted hosts that the guest does not request.
fn unused<'g>(granted: &'g [String], has: &'g [String]) -> impl Iterator<Item = &'g String> {
    let is_used = |host: &str| has.iter().any(|had| had == host || had.strip_prefix("https://") == Some(host));
    granted.iter().filter(move |host| !is_used(host))
}

/// Whether the granted files contain `path`. Both are resolved, so that neither a link nor a `..` reaches outside the
/// grant.
pub fn may_read(granted: &GrantPlan, path: &Path) -> bool {
    let Some(path) = real(path) else { return false };
    granted.files.iter().filter_map(|root| real(root)).any(|root| path.starts_with(root))
}

/// Resolves a path. Components that do not exist are appended to the resolved parent; a dangling link resolves to
/// nothing, since it may lead anywhere later.
fn real(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    for there in path.ancestors() {
        match there.canonicalize() {
            Ok(real) => {
                let rest = path.strip_prefix(there).ok()?;
                let plain = rest.components().all(|part| matches!(part, Component::Normal(_)));
                return plain.then(|| real.components().chain(rest.components()).collect());
            }
            Err(_) if there.symlink_metadata().is_ok() => return None,
            Err(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_a_grant_is_refused_by_name() {
        let asked = Needs {
            http: vec!["a.example".into(), "b.example:8443".into()],
            pixels: true,
            files: vec!["/etc/site/zones.json".into()],
            ..Needs::default()
        };
        let granted =
            GrantPlan { http: vec!["a.example".into()], files: vec!["/etc/site".into()], ..GrantPlan::default() };
        let error = Grants::of("p", &asked, &granted).unwrap_err();
        assert_eq!(error.message(), "p asks for requests to b.example:8443, pixels, which is not granted");
        assert!(error.to_string().contains("grants: {http: [b.example:8443], pixels: true}"), "{error}");
    }

    #[test]
    fn what_is_granted_in_one_list_is_one_key_of_the_hint() {
        let two = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let asked = Needs { http: two("a.example", "b.example"), env: two("A", "B"), ..Needs::default() };
        let error = Grants::of("p", &asked, &GrantPlan::default()).unwrap_err().to_string();
        assert!(error.contains("grants: {http: [a.example, b.example], env: [A, B]}"), "{error}");
    }

    #[test]
    fn a_port_of_the_grant_that_the_request_lacks_is_to_be_requested() {
        let asks = |host: &str, granted: &str| {
            let asked = Needs { http: vec![host.into()], ..Needs::default() };
            let granted = GrantPlan { http: vec![granted.into()], ..GrantPlan::default() };
            Grants::of("chat", &asked, &granted).unwrap_err().to_string()
        };
        for host in ["127.0.0.1", "http://127.0.0.1"] {
            let error = asks(host, "127.0.0.1:18241");
            assert!(error.contains("`---@needs http 127.0.0.1:18241`") && !error.contains("grants: {"), "{error}");
        }
        let error = asks("127.0.0.1:18241", "127.0.0.1");
        assert!(error.contains("grants: {http: [127.0.0.1:18241]}"), "{error}");
        assert!(asks("127.0.0.1", "127.0.0.10:80").contains("grants: {http: [127.0.0.1]}"));
    }

    #[test]
    fn a_grant_without_a_request_has_no_effect() {
        let granted = GrantPlan { pixels: true, shared_state: true, ..GrantPlan::default() };
        let grants = Grants::of("p", &Needs { pixels: true, ..Needs::default() }, &granted).unwrap();
        assert_eq!((grants.has.pixels, grants.has.shared_state), (true, false));
        assert_eq!(grants.unasked(&granted), ["shared_state"]);
    }

    #[test]
    fn neither_a_link_nor_a_parent_step_leaves_the_grant() {
        let lab = tempfile::tempdir().unwrap();
        let grant = lab.path().join("grant");
        std::fs::create_dir_all(grant.join("in")).unwrap();
        std::fs::write(lab.path().join("secret"), "x").unwrap();
        for (to, link) in [(lab.path(), "out"), (Path::new("nothing"), "dangling"), (Path::new("in"), "same")] {
            std::os::unix::fs::symlink(to, grant.join(link)).unwrap();
        }
        let granted = GrantPlan { files: vec![grant.clone()], ..GrantPlan::default() };
        let asks = |path: &str| {
            Grants::of("p", &Needs { files: vec![grant.join(path)], ..Needs::default() }, &granted).map(|g| g.has.files)
        };
        for path in ["", "in", "same", "later", "later/too"] {
            assert_eq!(asks(path).unwrap(), [grant.join(path)], "as it was written");
        }
        for path in ["..", "../secret", "in/../..", "out", "out/secret", "dangling", "dangling/x", "later/../../secret"]
        {
            let error = asks(path).unwrap_err();
            assert!(error.message().contains("which is not granted"), "{path}: {error}");
        }
        // A granted link grants its target.
        let granted = GrantPlan { files: vec![grant.join("out")], ..GrantPlan::default() };
        assert!(may_read(&granted, &lab.path().join("secret")));
    }
}
