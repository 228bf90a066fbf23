//! Profiles are switched while the engine runs: by the command line and by the API, as one change, over restarts.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Dsengine, request, write};
use crate::site::Site;

const LIMIT: Duration = Duration::from_secs(20);

/// A source that never ends and costs little.
fn source(id: &str) -> String {
    format!("{{ id: {id}, uri: 'scene:street?live=true&pixels=false' }}")
}

/// A site that watches `hall` at home, `gate` also while everyone is away, and `yard` also at night.
fn config(selected: &str) -> String {
    let [hall, gate, yard] = ["hall", "gate", "yard"].map(source);
    format!(
        "{selected}sources: [{hall}]\nmonitoring: {{ prometheus: {{ port: 0 }} }}\nalerts: {{ handlers: [] }}\n\
         profiles:\n  home: {{ alerts: {{ enabled: false }} }}\n\
         \x20 away:\n    sources: [{gate}]\n    alerts: {{ throttle_seconds: 7 }}\n  night: {{ sources: [{yard}] }}\n"
    )
}

impl Site {
    fn switch(&self, query: &str, body: &Value) -> (u16, Value) {
        self.post(&format!("/api/v1/profile{query}"), body)
    }

    /// The profile that applies, by each page that shows it.
    #[track_caller]
    fn profile(&self) -> Value {
        let from = Instant::now();
        loop {
            let profile = self.json("/api/v1/profile")["profile"].clone();
            let status = self.json("/api/v1/status")["profile"].clone();
            let config = self.json("/api/v1/config")["config"].get("profile").cloned().unwrap_or_default();
            // They are read one after the other, during a switch perhaps.
            if status == profile && config == profile {
                return profile;
            }
            assert!(from.elapsed() < LIMIT, "the profile is {profile}, in the status {status}, shown {config}");
        }
    }
}

#[test]
fn a_switch_changes_all_that_the_profiles_differ_in_and_outlasts_a_restart() {
    let mut site = Site::new(&config("profile: home\n"));
    site.until_sources(&["hall"]);
    let listed = site.ask(&["profile"]).expect(0).stdout;
    assert_eq!(listed, "* home\n  away\n  night\n");
    assert_eq!(site.json("/api/v1/config")["config"]["alerts"]["enabled"], false);

    let said = site.ask(&["profile", "away"]).expect(0).stdout;
    for part in ["source gate added", "alerts changed", "profile changed", "saved: it lasts over a restart"] {
        assert!(said.contains(part), "{said}");
    }
    site.until_sources(&["gate", "hall"]);
    assert_eq!(site.profile(), "away");
    let alerts = site.json("/api/v1/config")["config"]["alerts"].clone();
    assert_eq!((&alerts["enabled"], &alerts["throttle_seconds"]), (&json!(true), &json!(7.0)));
    let shown = site.ask(&["config", "show"]).expect(0).stdout;
    assert!(shown.contains("# changed while it runs, saved: profile\n"), "{shown}");
    let audit = site.json("/api/v1/audit");
    let line = audit.as_array().unwrap().iter().find(|line| line["what"] == "switch to profile away, to be kept");
    assert!(line.is_some_and(|line| line["taken"] == true), "{audit}");
    assert!(site.ask(&["profile", "away"]).expect(0).stdout.contains("nothing changes"));

    let mut site = site.restart();
    site.until_sources(&["gate", "hall"]);
    assert_eq!(site.profile(), "away");
    // Until the restart only.
    let (status, outcome) = site.switch("?save=false", &json!({ "name": "home" }));
    assert_eq!((status, &outcome["saved"]), (200, &json!(false)), "{outcome}");
    site.until_sources(&["hall"]);
    assert_eq!(site.profile(), "home");
    let mut site = site.restart();
    site.until_sources(&["gate", "hall"]);

    site.ask(&["profile", "--none"]).expect(0);
    site.until_sources(&["hall"]);
    assert_eq!(site.profile(), Value::Null);
    let mut site = site.restart();
    site.until_sources(&["hall"]);
    assert_eq!(site.profile(), Value::Null, "although the file selects one");
}

#[test]
fn a_switch_that_cannot_be_made_changes_nothing_and_says_why() {
    let mut site = Site::new(&config("profile: home\n"));
    site.until_sources(&["hall"]);
    let out = site.ask(&["profile", "awya"]).expect(1);
    let told = ["there is no profile `awya`", "did you mean `away`?"];
    assert!(told.iter().all(|part| out.stderr.contains(part)), "{}", out.stderr);
    let (status, body) = site.switch("", &json!({ "name": "office" }));
    assert_eq!((status, &body["hint"]), (404, &json!("known are home, away, night")), "{body}");
    for body in [json!({}), json!({ "name": 5 }), json!({ "profile": "away" }), json!({ "name": "away", "x": 1 })] {
        assert_eq!(site.switch("", &body).0, 422, "{body}");
    }
    site.ask(&["profile", "--no-save"]).expect(2);
    assert_eq!(site.profile(), "home");
    // What was changed for one profile only waits for it.
    site.ask(&["profile", "away"]).expect(0);
    site.until_sources(&["gate", "hall"]);
    site.ask(&["sources", "set", "gate", "fps=3"]).expect(0);
    site.ask(&["profile", "home"]).expect(0);
    site.until_sources(&["hall"]);
    site.ask(&["profile", "away"]).expect(0);
    site.until_sources(&["gate", "hall"]);
    let sources = site.json("/api/v1/sources");
    let gate = sources.as_array().unwrap().iter().find(|source| source["id"] == "gate").cloned().unwrap();
    assert_eq!(gate["config"]["fps"], 3.0, "{gate}");
}

#[test]
fn a_flag_prevails_over_a_variable_a_switch_and_the_file() {
    let variable = [("DSENGINE_PROFILE", "away")];
    for (args, variables, profile, by) in [
        (&[][..], &variable[..], "away", "DSENGINE_PROFILE"),
        (&["--profile", "night"][..], &variable[..], "night", "--profile"),
        (&["--profile", "night"][..], &[][..], "night", "--profile"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "config.yaml", &config("profile: home\n"));
        let command = Site::command(dir.path(), args);
        let command = variables.iter().fold(command, |command, (name, value)| command.env(name, value));
        let site = Site::by(dir, command);
        assert_eq!(site.profile(), profile);
        let (status, body) = site.switch("", &json!({ "name": "home" }));
        let told = format!("the profile cannot be switched: {by} sets it");
        assert_eq!((status, &body["message"]), (409, &json!(told)), "{body}");
        let listed = site.ask(&["profile"]).expect(0).stdout;
        assert!(listed.contains(&format!("* {profile}\n")) && listed.contains(&format!("{by} sets it")), "{listed}");
    }
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "config.yaml", &config(""));
    let validate =
        |profile| Dsengine::new(["validate", "config.yaml", "--syntax", "--profile", profile]).cwd(dir.path()).run();
    validate("night").expect(0);
    let out = validate("nihgt").expect(2);
    assert!(out.stderr.contains("did you mean `night`?"), "{}", out.stderr);
}

#[test]
fn a_later_edit_of_the_file_prevails_over_a_switch() {
    let mut site = Site::new(&config("profile: home\n"));
    site.until_sources(&["hall"]);
    site.ask(&["profile", "away"]).expect(0);
    site.until_sources(&["gate", "hall"]);
    // What a profile has is not the choice of one.
    write(
        site.folder(),
        "config.yaml",
        &config("profile: home\n").replace("throttle_seconds: 7", "throttle_seconds: 8"),
    );
    site.run.wait_line(LIMIT, |line| line.contains("alerts changed") && !line.contains("gate"));
    assert_eq!(site.profile(), "away");
    write(site.folder(), "config.yaml", &config("profile: night\n"));
    site.until_sources(&["hall", "yard"]);
    assert_eq!(site.profile(), "night");
}

#[test]
fn a_profile_applies_by_itself_in_its_hours() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let today = dsengine::types::TimeZone::utc().at(u64::try_from(now).unwrap()).weekday;
    let other = dsengine::types::Weekday::ALL[(today as usize + 3) % 7].as_str();
    let config = |hours: &str| config(&format!("profile: home\nprofile_schedule: {hours}\n"));
    let mut site = Site::new(&config("{ profile: away, days: [mon-sun] }"));
    site.until_sources(&["gate", "hall"]);
    assert_eq!(site.profile(), "away");
    let by_itself = |line: &Value| line["who"] == "schedule" && line["what"] == "switch to profile away";
    site.until("audited", |site| site.json("/api/v1/audit").as_array().unwrap().iter().any(by_itself));
    // The first that holds decides, and none is that of the file.
    let list =
        "[{ profile: night, from: \"00:00\", to: \"12:00\" }, { profile: night, from: \"12:00\" }, { profile: away }]";
    write(site.folder(), "config.yaml", &config(list));
    site.until_sources(&["hall", "yard"]);
    // Hours that are over.
    let hour = now / 3_600_000_000_000 % 24;
    let (zone, hour) = if hour == 0 { ("Etc/GMT-6", 6) } else { ("UTC", hour) };
    let over = format!("[{{ profile: night, from: \"00:00\", to: \"{hour:02}:00\" }}, {{ profile: away }}]");
    write(site.folder(), "config.yaml", &config(&format!("{over}\ntimezone: {zone}")));
    site.until_sources(&["gate", "hall"]);
    write(site.folder(), "config.yaml", &config(&format!("{{ profile: night, days: [{other}] }}")));
    site.until_sources(&["hall"]);
    assert_eq!(site.profile(), "home");
    let dir = tempfile::tempdir().unwrap();
    for (hours, told) in [
        ("{ profile: awya }", "did you mean `away`?"),
        ("{ days: [mon] }", "`profile` is needed"),
        ("[{ profile: away, from: \"9\" }]", "`profile_schedule[0].from` is no time of day"),
    ] {
        write(dir.path(), "config.yaml", &config(hours));
        let out = Dsengine::new(["validate", "config.yaml", "--syntax"]).cwd(dir.path()).run().expect(2);
        assert!(out.stderr.contains(told), "{hours}: {}", out.stderr);
    }
}

#[test]
fn a_saved_switch_ends_with_the_hours_that_passed_while_nothing_ran() {
    // At every time of day one of the two is due.
    let hours = "[{ profile: away, from: \"00:00\", to: \"12:00\" }, { profile: night, from: \"12:00\" }]";
    let mut site = Site::new(&config(&format!("profile_schedule: {hours}\n")));
    let by_hours = |site: &Site| ["away", "night"].iter().any(|name| site.profile() == *name);
    let from = Instant::now();
    while !by_hours(&site) {
        assert!(site.run.end(Duration::from_millis(10)).is_none() && from.elapsed() < LIMIT);
    }
    assert_eq!(site.switch("", &json!({ "name": "home" })).0, 200);
    let files = || std::fs::read_dir(site.folder().join("state")).unwrap().map(|entry| entry.unwrap().path());
    let switched =
        files().find(|path| path.extension().is_some_and(|end| end == "switched")).expect("the switch's time");
    let noted: u64 = std::fs::read_to_string(&switched).unwrap().parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(noted) < 600, "{noted}, and it is {now}");
    // As if it had been made the day before yesterday.
    std::fs::write(&switched, (now - 2 * 86_400).to_string()).unwrap();
    let mut site = site.restart();
    let from = Instant::now();
    while !by_hours(&site) {
        assert!(site.run.end(Duration::from_millis(10)).is_none() && from.elapsed() < LIMIT, "{}", site.profile());
    }
}

#[test]
fn what_decides_about_profiles_is_in_none() {
    let dir = tempfile::tempdir().unwrap();
    for key in ["timezone: UTC", "profile_schedule: []", "profile: home", "profiles: {}"] {
        for selected in ["", "profile: home\n"] {
            let text = format!("{selected}profiles:\n  home:\n    {key}\n  away: {{}}\n");
            write(dir.path(), "config.yaml", &text);
            let out = Dsengine::new(["validate", "config.yaml", "--syntax"]).cwd(dir.path()).run().expect(2);
            let name = key.split(':').next().unwrap();
            let told = format!("`{name}` cannot be in a profile");
            assert!(out.stderr.contains(&told), "{text}: {}", out.stderr);
            let line = if selected.is_empty() { "config.yaml:3:5" } else { "config.yaml:4:5" };
            assert!(out.stderr.contains(line), "{text}: {}", out.stderr);
        }
    }
}

#[test]
fn an_edit_gives_way_to_a_change_of_the_profile_that_was_switched_to() {
    let text = config("profile: home\n");
    let mut site = Site::new(&text);
    assert_eq!(site.switch("", &json!({ "name": "away" })).0, 200);
    let patch = json!({ "alerts": { "throttle_seconds": 9 } }).to_string();
    let throttle = |site: &Site| site.json("/api/v1/config")["config"]["alerts"]["throttle_seconds"].clone();
    let (status, said) = request("POST", &site.page, "/api/v1/config/apply", &patch);
    assert_eq!((status, throttle(&site)), (200, json!(9.0)), "{said}");
    write(site.folder(), "config.yaml", &text.replace("throttle_seconds: 7", "throttle_seconds: 8"));
    site.run.wait_line(LIMIT, |line| line.contains("earlier edits are dropped") && line.contains("throttle_seconds"));
    assert_eq!((throttle(&site), site.profile()), (json!(8.0), json!("away")));
}
