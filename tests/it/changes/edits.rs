//! Edits by chance, each of one kind or of several, from a seed: an edit that fails can be repeated.

use super::site::{Rule, Site, source};

/// An edit of a [`Site`].
#[derive(Debug, Clone)]
pub(super) struct Edit {
    /// What it does.
    pub(super) what: String,
    /// What becomes of the site.
    pub(super) next: Site,
    /// Of one that cannot be taken: the part that its error names.
    pub(super) wrong: Option<String>,
    /// Of one that cannot be taken: some lanes may judge by it until others have refused it.
    pub(super) late: bool,
}

type Change = fn(&mut Site, &mut fastrand::Rng, usize);

/// Edits that can be taken, by name. None names one of the untouched sources.
const VALID: &[(&str, Change)] = &[
    ("stamp", |site, _, n| site.stamp = 100 + n as u64),
    ("fps", |site, rng, _| {
        let fps = rng.u32(1..30);
        site.source("e0").rest = format!(", realtime: true, fps: {fps}");
    }),
    ("zones of one", |site, rng, n| {
        let (fps, stamp) = (rng.u32(5..30), site.stamp);
        let own = format!("door{n}: [[0, 0], [1, 0], [1, 1]], z{stamp}: [[0, 0], [0.5, 0], [0.5, 1]]");
        site.source("e1").rest = format!(", fps: {fps}, zones: {{ {own} }}");
    }),
    ("confidence and retries", |site, rng, _| {
        let (confidence, retries) = (rng.u32(1..9), rng.u32(1..9));
        site.source("e1").rest = format!(", confidence_threshold: 0.{confidence}, max_retries: {retries}");
    }),
    ("input", |site, rng, _| {
        let seed = rng.u32(1..1000);
        site.source("e0").uri = format!("scene:scene.yaml?pixels=false&seed={seed}");
    }),
    ("source added", |site, rng, n| {
        let live = rng.bool();
        let kind = if live { "&live=true" } else { "" };
        let rest = if live { "" } else { ", realtime: true" };
        site.sources.push(source(&format!("x{n}"), &format!("scene:scene.yaml?pixels=false{kind}"), rest));
    }),
    ("source removed", |site, rng, _| {
        let ids: Vec<usize> = (0..site.sources.len()).filter(|at| site.sources[*at].id.starts_with('x')).collect();
        if let Some(at) = rng.choice(ids) {
            site.sources.remove(at);
        }
    }),
    ("sources reordered", |site, _, _| site.sources.rotate_left(1)),
    ("rule added", |site, rng, n| {
        let mut rule = Rule::new(&format!("r{n}"));
        if rng.bool() {
            rule.only = vec!["e0".into(), "l0".into()];
        }
        let at = rng.usize(..=rules(site).len());
        site.rules.insert(at, rule);
    }),
    ("rule removed", |site, rng, _| {
        let beside: Vec<String> = site.rules.iter().filter_map(|rule| rule.shadow_of.clone()).collect();
        let stays = |name: &String| ["keep", "r0"].contains(&name.as_str()) || beside.contains(name);
        let free = rules(site).into_iter().filter(|at| !stays(&site.rules[*at].name));
        if let Some(at) = rng.choice(free.collect::<Vec<_>>()).filter(|_| rules(site).len() > 1) {
            site.rules.remove(at);
        }
    }),
    ("rules reordered", |site, _, _| {
        let count = rules(site).len();
        site.rules[..count].rotate_left(1);
    }),
    ("rule in another file", |site, rng, _| {
        // One stays with the file that edits of scripts save.
        let free: Vec<usize> = rules(site).into_iter().filter(|at| site.rules[*at].name != "keep").collect();
        if let Some(at) = rng.choice(free) {
            let module = &mut site.rules[at].module;
            *module = if module == "rule.lua" { "other.lua" } else { "rule.lua" }.to_owned();
        }
    }),
    ("rule's settings", |site, rng, n| {
        let at = rng.usize(..rules(site).len());
        site.rules[at].config = format!(", other: {n}");
    }),
    ("rule's place", |site, rng, _| {
        let at = rng.usize(..rules(site).len());
        let rule = &mut site.rules[at];
        rule.filters = !rule.filters;
        rule.only = if rule.only.is_empty() { vec!["w1".into(), "e1".into(), "l0".into()] } else { Vec::new() };
    }),
    ("shadow", |site, rng, n| match site.rules.iter().position(|rule| rule.shadow_of.is_some()) {
        Some(at) => drop(site.rules.remove(at)),
        None => {
            let at = rng.usize(..site.rules.len());
            let of = site.rules[at].name.clone();
            site.rules.push(Rule { shadow_of: Some(of), ..Rule::new(&format!("s{n}")) });
        }
    }),
    ("handler added", |site, rng, n| {
        let entry = match rng.u32(..3) {
            0 => ", module: desk.lua".to_owned(),
            1 => format!(", type: file, config: {{ log_file: alerts-{n}.jsonl }}"),
            _ => ", type: webhook, config: { url: 'http://127.0.0.1:9/x' }".to_owned(),
        };
        site.handlers.push((format!("h{n}"), entry));
    }),
    ("handler changed", |site, rng, n| {
        let count = site.handlers.len();
        if count > 0 {
            site.handlers[rng.usize(..count)].1 = format!(", type: file, config: {{ log_file: changed-{n}.jsonl }}");
        }
    }),
    ("handler removed", |site, rng, _| {
        let count = site.handlers.len();
        if count > 0 {
            site.handlers.remove(rng.usize(..count));
        }
    }),
    ("policy", |site, rng, _| site.throttle = rng.u32(1..600)),
    ("tracking", |site, _, _| site.tracking = !site.tracking),
    ("name", |site, _, n| site.name = format!("site {n}")),
    ("model", |site, rng, _| match site.models.pop() {
        Some((name, entry)) if rng.bool() => {
            let confidence = rng.u32(2..9);
            let model = entry.split(',').next().unwrap().to_owned();
            site.models.push((name, format!("{model}, sources: [e1], confidence_threshold: 0.{confidence}")));
        }
        Some(_) => {}
        None => {
            let model = crate::harness::root().join("models/street.onnx").display().to_string();
            site.models.push(("street".into(), format!("model_path: {model}, sources: [e1]")));
        }
    }),
    ("source with pictures", |site, _, _| {
        let source = site.source("e1");
        let pictures = !source.uri.contains("pixels=true");
        source.uri = format!("scene:scene.yaml?pixels={pictures}&live=true");
        source.rest = ", fps: 2".into();
    }),
];

/// Edits that cannot be taken, with the part that is wrong.
const WRONG: &[(&str, &str, Change)] = &[
    ("a script that is not there", "detection.strategies[bad]", |site, _, _| {
        site.rules.push(Rule { module: "nowhere.lua".into(), ..Rule::new("bad") });
    }),
    ("a script with an error", "detection.strategies[bad]", |site, _, _| {
        site.rules.push(Rule { module: "error.lua".into(), ..Rule::new("bad") });
    }),
    ("a zone that is not there", "detection.strategies[r0]", |site, _, _| {
        rule(site, "r0").config = ", zone: nowhere".into();
    }),
    ("a zone that a new source does not have", "detection.strategies[bad]", |site, _, n| {
        let square = "[[0, 0], [1, 0], [1, 1]]";
        site.sources.push(source(
            "bad",
            "scene:scene.yaml?pixels=false&live=true",
            &format!(", zones: {{ own: {square} }}"),
        ));
        let config = format!(", zone: own, n: {n}");
        site.rules.push(Rule { config, ..Rule::new("bad") });
    }),
    ("a handler that cannot be built", "alerts.handlers[bad]", |site, _, _| {
        site.handlers.push(("bad".into(), ", module: error.lua".into()));
    }),
    ("a model that is not there", "detection.strategies[bad]", |site, _, _| {
        site.models.push(("bad".into(), "model_path: nowhere.onnx, sources: [e1]".into()));
    }),
    ("a new source that its backend refuses", "sources[bad]", |site, _, _| {
        site.sources.push(source("bad", "scene:broken-scene.yaml?pixels=false&live=true", ""));
    }),
    ("another input that its backend refuses", "sources[e0]", |site, _, _| {
        site.source("e0").uri = "scene:broken-scene.yaml?pixels=false".into();
    }),
    (LATE, "detection.strategies[r0]", |site, _, _| rule(site, "r0").config = ", refuse_on: w1".into()),
];

/// Some lanes may judge by it until this one refuses it.
const LATE: &str = "a version that a lane refuses";

/// Where the rules that judge stand; shadows come after them.
fn rules(site: &Site) -> Vec<usize> {
    (0..site.rules.len()).filter(|at| site.rules[*at].shadow_of.is_none()).collect()
}

fn rule<'a>(site: &'a mut Site, name: &str) -> &'a mut Rule {
    if !site.rules.iter().any(|rule| rule.name == name) {
        site.rules.insert(0, Rule::new(name));
    }
    site.rules.iter_mut().find(|rule| rule.name == name).unwrap()
}

/// One or more things that can be taken.
pub(super) fn valid(site: &Site, rng: &mut fastrand::Rng, n: usize) -> Edit {
    let mut next = site.clone();
    let mut what = Vec::new();
    // Every kind has its turn; some come with others.
    let first = n % VALID.len();
    let more = if rng.u32(..4) == 0 { rng.usize(1..3) } else { 0 };
    let others: Vec<usize> = (0..more).map(|_| rng.usize(..VALID.len())).collect();
    for at in [first].into_iter().chain(others) {
        let (name, change) = VALID[at];
        change(&mut next, rng, n);
        what.push(name);
    }
    dedup(&mut next);
    Edit { what: format!("{n}: {}", what.join(" and ")), next, wrong: None, late: false }
}

/// Something that cannot be taken, among things that can.
pub(super) fn wrong(site: &Site, rng: &mut fastrand::Rng, n: usize) -> Edit {
    let Edit { what, mut next, .. } = valid(site, rng, rng.clone().usize(..1000) * 1000 + n);
    let (name, part, change) = WRONG[n % WRONG.len()];
    change(&mut next, rng, n);
    let late = name == LATE;
    Edit { what: format!("{what}, with {name}"), next, wrong: Some(part.to_owned()), late }
}

/// Most rules, handlers and further sources: what an engine needs at most does not grow with the number of edits.
const RULES_MAX: usize = 5;
const HANDLERS_MAX: usize = 3;
const SOURCES_MAX: usize = 3;

/// Names are used once, and the oldest of many go.
fn dedup(site: &mut Site) {
    let beside: Vec<String> = site.rules.iter().filter_map(|rule| rule.shadow_of.clone()).collect();
    let goes = |rule: &Rule| {
        rule.shadow_of.is_none() && !["keep", "r0"].contains(&rule.name.as_str()) && !beside.contains(&rule.name)
    };
    while site.rules.len() > RULES_MAX {
        let Some(at) = site.rules.iter().position(goes) else { break };
        site.rules.remove(at);
    }
    while site.handlers.len() > HANDLERS_MAX {
        site.handlers.remove(0);
    }
    while site.sources.iter().filter(|source| source.id.starts_with('x')).count() > SOURCES_MAX {
        let at = site.sources.iter().position(|source| source.id.starts_with('x')).unwrap();
        site.sources.remove(at);
    }
    let mut seen = Vec::new();
    site.sources.retain(|source| {
        !seen.contains(&source.id) && {
            seen.push(source.id.clone());
            true
        }
    });
    let mut seen = Vec::new();
    site.rules.retain(|rule| {
        !seen.contains(&rule.name) && {
            seen.push(rule.name.clone());
            true
        }
    });
    let mut seen = Vec::new();
    site.handlers.retain(|(name, _)| {
        !seen.contains(name) && {
            seen.push(name.clone());
            true
        }
    });
}
