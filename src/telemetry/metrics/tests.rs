//! The page has every metric of the table, and no series of what is gone.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use crate::telemetry::{AlertOutcome, EvidenceFigures, Stage};
use crate::types::TestClock;

/// A clock at a time of day.
pub(in crate::telemetry) fn clock() -> Arc<TestClock> {
    Arc::new(TestClock::at(1_700_000_000_000_000_000))
}

/// Metrics with at least one child in every family.
fn full() -> (Arc<TestClock>, Arc<Metrics>) {
    let clock = clock();
    let metrics = Metrics::new(clock.clone());
    let source = metrics.source(&"gate".into());
    for i in 0..90 {
        clock.pass_to(i * 33_333_333);
        source.frame_decoded(clock.unix_ns());
    }
    source.frames_judged.inc();
    source.dropped("late", 2);
    source.detections("person", 3);
    source.latency(Stage::Total).observe(0.01);
    source.alert("intrusion", AlertOutcome::Raised);
    source.state("running");
    source.reconnects.inc();
    source.failed("transient");
    let strategy = metrics.strategy("loitering", &"gate".into());
    strategy.off_schedule();
    strategy.fault("time");
    strategy.limited("alerts", 2);
    strategy.shadow("same");
    metrics.versions("loitering").reload("ok");
    strategy.call_seconds.observe(1e-5);
    metrics.model("yolo").seconds.observe(0.03);
    let handler = metrics.handler("console");
    handler.delivered.inc();
    handler.holds(1, 2);
    handler.limited("slow", 1);
    metrics.queue("inference").set(1);
    let dropped = [("no_key_frame", 1)].into();
    let figures = EvidenceFigures { state: Some("running"), reconnects: 1, seconds: 2.0, bytes: 3, dropped };
    metrics.evidence(&"gate".into(), &figures);
    metrics.set_deployment("gate", Some("1.2.0"), "production");
    (clock, metrics)
}

#[test]
fn every_row_of_the_table_is_on_the_page_and_nothing_else() {
    let page = full().1.render();
    let mut types: Vec<_> = page.lines().filter_map(|l| l.strip_prefix("# TYPE ")).collect();
    let mut table: Vec<_> =
        TABLE.iter().map(|d| format!("{} {}", d.name, format!("{:?}", d.kind).to_lowercase())).collect();
    types.sort_unstable();
    table.sort_unstable();
    assert_eq!(types, table);
    for d in TABLE {
        assert!(page.contains(&format!("# HELP {} {}", d.name, d.help)), "{} has its help", d.name);
        assert!(d.help.ends_with('.') && d.help.len() > 15, "{} says what it measures", d.name);
    }
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let mut child = match Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    {
        Ok(child) => child,
        Err(error) => {
            println!("SKIP promtool_finds_nothing_to_complain_about: promtool cannot be run ({error})");
            return;
        }
    };
    child.stdin.take().unwrap().write_all(full().1.render().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_removed_source_leaves_no_series_and_its_return_starts_at_zero() {
    let (_, metrics) = full();
    let other = metrics.source(&"yard".into());
    other.frames_judged.inc();
    assert!(metrics.render().contains("source=\"gate\""));
    metrics.remove_source(&"gate".into());
    let page = metrics.render();
    assert!(!page.contains("source=\"gate\""), "{page}");
    assert!(page.contains("dsengine_frames_total{source=\"yard\"} 1"));
    metrics.source(&"gate".into()).frames_judged.inc();
    assert!(metrics.render().contains("dsengine_frames_total{source=\"gate\"} 1"));
}

#[test]
fn what_is_alerted_on_is_there_before_it_happens() {
    let metrics = Metrics::new(clock());
    let source = metrics.source(&"gate".into());
    metrics.strategy("loitering", &"gate".into()).may_fault(["time", "memory"]);
    metrics.versions("loitering");
    let page = metrics.render();
    for series in [
        "dsengine_frames_dropped_total{reason=\"overload\",source=\"gate\"} 0",
        "dsengine_strategy_faults_total{kind=\"memory\",source=\"gate\",strategy=\"loitering\"} 0",
        "dsengine_strategy_reloads_total{result=\"rolled_back\",strategy=\"loitering\"} 0",
    ] {
        assert!(page.contains(series), "{series}: {page}");
    }
    assert!(source.drops().is_empty(), "what did not happen is on the page only");
}

#[test]
fn two_engines_in_one_process_count_apart() {
    let (_, a) = full();
    let b = Metrics::new(clock());
    assert!(a.render().contains("source=\"gate\""));
    assert!(!b.render().contains("source=\"gate\""));
}

#[test]
fn the_fps_gauge_reads_the_rate_of_the_source() {
    let page = full().1.render();
    let line = page.lines().find(|l| l.starts_with("dsengine_source_fps{")).unwrap();
    let fps: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((fps - 30.0).abs() < 0.01, "{line}");
}
