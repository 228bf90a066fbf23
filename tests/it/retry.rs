//! `dsengine alerts retry`: dead letters that are sent again; and alerts that are of no use any more, which are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{get, request, until, write};
use crate::outbox::{LIMIT, LIVE, dsengine, folder, gives_up_each, listed, logged, posted};
use crate::webhooks::Peer;

/// A receiver that is gone until it is there again.
fn gone() -> (Peer, Arc<AtomicBool>) {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let peer = Peer::new(move |_, _| {
        let status = if is_up.load(Ordering::Relaxed) { "204 No Content" } else { "410 Gone" };
        format!("{status}\r\n")
    });
    (peer, up)
}

#[test]
fn dead_letters_go_out_with_the_next_run_where_none_runs() {
    let (peer, up) = gone();
    let dir = folder("trace:t.jsonl", "durability: sync", &peer.url("/"));
    gives_up_each(dir.path());
    dsengine(dir.path(), &["run"]).run().expect(1);
    let undelivered = || listed(dir.path(), &["--undelivered"]).json().as_array().unwrap().len();
    assert_eq!(undelivered(), 40);
    let shown = listed(dir.path(), &["--undelivered"]).json();
    let id = shown[0]["alert"]["id"].as_str().unwrap().to_owned();
    let attempts = &shown[0]["handlers"][1]["attempts"];
    assert!(attempts[0]["error"].as_str().unwrap().contains("410 Gone"), "{shown}");
    let wrong = dsengine(dir.path(), &["alerts", "retry", "--all", "--handler", "hok"]).run();
    assert!(wrong.code() != 0 && wrong.stderr.contains("did you mean 'hook'?"), "{}", wrong.stderr);
    let one = dsengine(dir.path(), &["alerts", "retry", &id]).run().expect(0);
    assert_eq!(one.stdout, format!("{id} goes to hook with the next run of this configuration\n"));
    assert_eq!((undelivered(), listed(dir.path(), &["--pending"]).json().as_array().unwrap().len()), (39, 1));
    let rest = dsengine(dir.path(), &["alerts", "retry", "--all", "--handler", "hook"]).run().expect(0);
    assert_eq!(rest.stdout.lines().count(), 39, "{}", rest.stdout);
    up.store(true, Ordering::Relaxed);
    dsengine(dir.path(), &["run"]).run().expect(0);
    assert_eq!((undelivered(), posted(&peer).len()), (0, 40));
    assert!(posted(&peer).values().all(|posts| posts.len() >= 2), "once refused, then taken");
    let none = dsengine(dir.path(), &["alerts", "retry", "--all"]).run().expect(0);
    assert!(none.stdout.starts_with("nothing to send again"), "{}", none.stdout);
}

#[test]
fn a_dead_letter_goes_out_at_once_where_the_engine_runs() {
    let (peer, up) = gone();
    let dir = folder(LIVE, "durability: sync", &peer.url("/"));
    let config = std::fs::read_to_string(dir.path().join("c.yaml")).unwrap();
    let config = config.replace("monitoring: { enabled: false }\n", "");
    std::fs::write(dir.path().join("c.yaml"), config).unwrap();
    let mut run = dsengine(dir.path(), &["run", "--port", "0"]).start();
    let page = run.page();
    let dead = || listed(dir.path(), &["--undelivered"]);
    until("a dead letter", || {
        let listed = dead();
        listed.code() == 0 && !listed.json().as_array().unwrap().is_empty()
    });
    let id = dead().json()[0]["alert"]["id"].as_str().unwrap().to_owned();
    up.store(true, Ordering::Relaxed);
    // It is found by its configuration, wherever it listens.
    assert!(!page.ends_with(":8000"), "{page}");
    let retried = dsengine(dir.path(), &["alerts", "retry", &id]).run().expect(0);
    assert_eq!(retried.stdout, format!("{id} goes to hook again\n"));
    until("it counts as delivered", || {
        let shown = dsengine(dir.path(), &["alerts", "show", &id, "--json"]).run().json();
        shown["handlers"][1]["outcome"] == "delivered"
    });
    assert_eq!(posted(&peer)[&id].len(), 2);
    // Whoever asks without the command gets the same words.
    let ask = |body: &str| {
        let (status, answer) = request("POST", &page, &format!("/api/v1/alerts/{id}/retry"), body);
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        (status, format!("{} {}", answer["message"].as_str().unwrap(), answer["hint"].as_str().unwrap()))
    };
    for body in [r#"{ "handler": "hook" }"#, r#"{ "handler": "file" }"#, r#"{ "handler": "no", "to": "file" }"#] {
        let (status, said) = ask(body);
        let wanted = "nothing to send again: every handler has delivered it, or is about to";
        assert!(status == 409 && said.starts_with(wanted), "{body}: {status} {said}");
    }
    let (status, said) = ask(r#"{ "handler": "file", "to": "hok" }"#);
    assert_eq!((status, &*said), (404, "there is no handler 'hok'; did you mean 'hook'? handlers: file, hook"));
    assert_eq!(posted(&peer)[&id].len(), 2, "none of these has sent it");
    let again = dsengine(dir.path(), &["alerts", "retry", &id, "--at", &page]).run().expect(0);
    assert!(again.stdout.starts_with("nothing to send again"), "{}", again.stdout);
    run.signal("TERM");
    assert_eq!(run.end(LIMIT).and_then(|status| status.code()), Some(0), "{}", run.seen.join("\n"));
}

#[test]
fn an_alert_of_no_use_any_more_is_not_sent_when_its_receiver_is_back() {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let peer = Peer::new(move |_, _| {
        let status = if is_up.load(Ordering::Relaxed) { "204 No Content" } else { "503 Service Unavailable" };
        format!("{status}\r\n")
    });
    let dir = folder(LIVE, "durability: sync", &peer.url("/"));
    let rule = "function detect(f)\n  f:alert{ rule = 'r', key = f.seq, message = 'm', expires_seconds = 1 }\nend\n";
    write(dir.path(), "r.lua", rule);
    let mut run = dsengine(dir.path(), &["run"]).start();
    let expired = || {
        let undelivered = listed(dir.path(), &["--undelivered"]);
        let undelivered = if undelivered.code() == 0 { undelivered.json() } else { return None };
        // On a busy machine the file, too, may be late.
        let outcome = |kept: &serde_json::Value, at: usize| kept["handlers"][at]["outcome"].clone();
        let is_late = |kept: &&serde_json::Value| outcome(kept, 0) == "delivered" && outcome(kept, 1) == "expired";
        undelivered.as_array().unwrap().iter().find(is_late).cloned()
    };
    let mut kept = None;
    until("an alert expires", || {
        kept = expired();
        kept.is_some()
    });
    let kept = kept.unwrap();
    assert_eq!(kept["alert"]["expires_seconds"], 1, "{kept}");
    let id = kept["alert"]["id"].as_str().unwrap();
    let posts = |id: &str| posted(&peer).get(id).map_or(0, Vec::len);
    let (before, all) = (posts(id), posted(&peer).len());
    up.store(true, Ordering::Relaxed);
    until("later alerts are sent", || posted(&peer).len() > all + 3);
    assert_eq!(posts(id), before);
    run.signal("TERM");
    assert!(run.end(LIMIT).is_some(), "{}", run.seen.join("\n"));
}

/// A receiver that answers 404 to everything, because its address changed, must not cost the whole backlog.
#[test]
fn a_receiver_that_refuses_everything_is_waited_for_and_costs_a_few_alerts() {
    let (peer, up) = gone();
    let dir = folder(LIVE, "durability: sync", &peer.url("/"));
    let config = std::fs::read_to_string(dir.path().join("c.yaml")).unwrap();
    std::fs::write(dir.path().join("c.yaml"), config.replace("monitoring: { enabled: false }\n", "")).unwrap();
    let mut run = dsengine(dir.path(), &["run", "--port", "0"]).start();
    let page = run.page();
    until("it is told, with what to do", || {
        let health = get(&page, "/health").1;
        health.contains("handler hook: ") && health.contains("5 alerts in a row were refused")
    });
    until("a backlog", || posted(&peer).len() >= 5 && logged(dir.path()).len() >= 40);
    let before = logged(dir.path());
    up.store(true, Ordering::Relaxed);
    until("the backlog is taken", || {
        let taken = posted(&peer);
        before.iter().filter(|id| !taken.contains_key(*id)).count() == 0
    });
    run.signal("TERM");
    assert!(run.end(LIMIT).is_some(), "{}", run.seen.join("\n"));
    let lost = listed(dir.path(), &["--undelivered"]).json();
    assert_eq!(lost.as_array().unwrap().len(), 4, "the fifth is the first that waits: {lost}");
    assert!(listed(dir.path(), &["--pending"]).json().as_array().unwrap().is_empty());
}

/// A handler that was renamed must not strand what waits for it.
#[test]
fn what_a_renamed_handler_left_is_told_and_goes_to_another_one() {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let peer = Peer::new(move |_, _| match is_up.load(Ordering::Relaxed) {
        true => "204 No Content\r\n".into(),
        false => "503 Away\r\n".into(),
    });
    let dir = folder(LIVE, "durability: sync", &peer.url("/"));
    let run = dsengine(dir.path(), &["run"]).start();
    until("some alerts wait", || logged(dir.path()).len() >= 5);
    run.signal("KILL");
    drop(run);
    let ids = || -> Vec<String> {
        let shown = listed(dir.path(), &["--undelivered"]).json();
        shown.as_array().unwrap().iter().map(|kept| kept["alert"]["id"].as_str().unwrap().to_owned()).collect()
    };
    let config = std::fs::read_to_string(dir.path().join("c.yaml")).unwrap();
    let config = config.replace("monitoring: { enabled: false }\n", "").replace("name: hook", "name: desk");
    std::fs::write(dir.path().join("c.yaml"), config).unwrap();
    up.store(true, Ordering::Relaxed);
    let mut run = dsengine(dir.path(), &["run", "--port", "0"]).start();
    let line = run.wait_line(LIMIT, |line| line.contains("there is no such handler"));
    assert!(line.contains("hook") && line.contains("alerts retry --all --handler OLD --to NEW"), "{line}");
    let page = run.page();
    until("it is noticed", || get(&page, "/health").1.contains("left by handler hook, which is gone"));
    until("they are listed", || ids().len() >= 5);
    let all = ids();
    // The running engine is asked.
    let wrong = dsengine(dir.path(), &["alerts", "retry", &all[0], "--handler", "hook", "--to", "nobody"]).run();
    assert!(wrong.code() != 0 && wrong.stderr.contains("there is no handler 'nobody'"), "{}", wrong.stderr);
    let wrong =
        dsengine(dir.path(), &["alerts", "retry", &all[0], "--handler", "hook", "--to", "dask"]).run().expect(1);
    let told = "there is no handler 'dask'; did you mean 'desk'?\n  hint: handlers: file, desk\n";
    assert!(wrong.stderr.ends_with(told), "{}", wrong.stderr);
    let one = dsengine(dir.path(), &["alerts", "retry", &all[0], "--handler", "hook", "--to", "desk"]).run().expect(0);
    assert_eq!(one.stdout, format!("{} goes to desk\n", all[0]));
    until("it is taken", || posted(&peer).contains_key(&all[0]) && ids().len() == all.len() - 1);
    run.signal("TERM");
    assert!(run.end(LIMIT).is_some(), "{}", run.seen.join("\n"));
    // Where none runs, the configuration says which handlers there are.
    let wrong = dsengine(dir.path(), &["alerts", "retry", "--all", "--handler", "hook", "--to", "nobody"]).run();
    assert!(wrong.code() != 0 && wrong.stderr.contains("handlers: file, desk"), "{}", wrong.stderr);
    let rest = dsengine(dir.path(), &["alerts", "retry", "--all", "--handler", "hook", "--to", "desk"]).run().expect(0);
    assert_eq!(rest.stdout.matches(" goes to desk with the next run").count(), all.len() - 1, "{}", rest.stdout);
    assert!(ids().is_empty(), "{:?}", ids());
    assert_eq!(listed(dir.path(), &["--pending"]).json().as_array().unwrap().len(), all.len() - 1);
    let mut run = dsengine(dir.path(), &["run", "--port", "0"]).start();
    until("all are taken", || {
        let taken = posted(&peer);
        all.iter().all(|id| taken.contains_key(id))
    });
    run.signal("TERM");
    assert_eq!(run.end(LIMIT).and_then(|status| status.code()), Some(0), "{}", run.seen.join("\n"));
    let none = dsengine(dir.path(), &["alerts", "retry", "--all", "--handler", "hook", "--to", "desk"]).run().expect(0);
    assert!(none.stdout.starts_with("nothing to send again"), "{}", none.stdout);
}
