//! SIGINT, SIGTERM and SIGHUP, at any moment.
use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Dsengine, Running, alarming, bar, get, sample, signal, write};

/// Needs the machine for itself: a hundred runs, each of which has to end in time.
mod perf {
    use super::*;

    /// Whether SIGINT and SIGTERM have come to be caught.
    fn answers(pid: u32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigCgt:")?.trim(), 16).ok());
        // Signal n is bit n - 1.
        let both = (1 << (2 - 1)) | (1 << (15 - 1));
        mask.is_some_and(|mask| mask & both == both)
    }

    /// Runs at a time: the machine has few cores, and what is measured is that none hangs.
    const TOGETHER: usize = 4;

    #[test]
    fn a_hundred_signals_at_random_moments_each_end_it_within_five_seconds_with_exit_0() {
        let seed = 20_261_123;
        let workers: Vec<_> = (0..TOGETHER)
            .map(|worker| {
                std::thread::spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed + worker as u64);
                    for round in 0..100 / TOGETHER {
                        let sources = ["test", "scene:street?live=true", "test:pattern=ball,fps=60"];
                        let source = sources[random.usize(..sources.len())];
                        let mut run = Dsengine::new(["run", "--source", source, "--port", "0"]).start();
                        let moment = Duration::from_millis(random.u64(50..1500));
                        let early = Instant::now();
                        // A process that has not come to its first line yet cannot answer a signal.
                        while !answers(run.pid()) {
                            assert!(early.elapsed() < Duration::from_secs(20), "it never answers: {:?}", run.seen);
                            std::thread::sleep(Duration::from_millis(1));
                        }
                        let rest = moment.saturating_sub(early.elapsed());
                        assert!(run.end(rest).is_none(), "it ended by itself: {:?}", run.seen);
                        let signal = if random.bool() { "INT" } else { "TERM" };
                        let sent = Instant::now();
                        run.signal(signal);
                        let status = run.end(bar(Duration::from_secs(5)));
                        let case = format!("worker {worker} round {round}: {source}, {signal} after {moment:?}");
                        let status = status.unwrap_or_else(|| panic!("{case}: still there after {:?}", sent.elapsed()));
                        assert_eq!(status.code(), Some(0), "{case}: {status:?}\n{}", run.seen.join("\n"));
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
    }
}

#[test]
fn a_second_signal_ends_it_at_once_with_130() {
    // A webhook that accepts the connection and never answers keeps the first signal's drain waiting.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let webhook = format!("handlers: [{{ name: webhook, config: {{ url: 'http://{address}/x', timeout: 60 }} }}]");
    let dir = alarming("scene:street?live=true&pixels=false", &webhook, "");
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
    let accepted = std::thread::spawn(move || silent.accept().map(|(stream, _)| stream));
    let _stream = accepted.join().unwrap().unwrap();
    run.signal("TERM");
    run.wait_line(Duration::from_secs(20), |line| line.contains(" not delivered yet"));
    assert!(run.end(Duration::from_millis(700)).is_none(), "the first signal waits for the delivery: {:?}", run.seen);
    run.signal("TERM");
    let status = run.end(bar(Duration::from_secs(5))).expect("the second signal ends it at once");
    assert_eq!(status.code(), Some(130), "{}", run.seen.join("\n"));
}

/// Waits for the end by itself or after a signal; its exit code.
#[track_caller]
fn code(run: &mut Running, limit: Duration) -> Option<i32> {
    let sent = Instant::now();
    let status = run.end(limit);
    status.unwrap_or_else(|| panic!("still there after {:?}:\n{}", sent.elapsed(), run.seen.join("\n"))).code()
}

/// A pipe that takes no further byte.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'.'; 4096]).is_ok() {}
    while writer.write(b".").is_ok() {}
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::empty()).unwrap();
    (reader, writer)
}

#[test]
fn signals_end_it_although_nobody_reads_what_it_prints() {
    for (grace, signals, expected) in [(1, 1, 0), (60, 2, 130)] {
        let rest = format!("graceful_shutdown_timeout: {grace}\nlogging: {{ level: error }}");
        let dir = alarming("scene:street?live=true&pixels=false", "handlers: [console]", &rest);
        let (_reader, writer) = full_pipe();
        let mut child = Command::new(env!("CARGO_BIN_EXE_dsengine"))
            .args(["run", "--config", "config.yaml"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let page = said.find_map(|line| Some(line.strip_prefix("page: http://")?.trim_end_matches('/').to_owned()));
        let page = page.expect("it starts");
        let limit = Instant::now() + Duration::from_secs(20);
        // With two alerts waiting, the first of them is being written.
        let pending = || {
            let status: serde_json::Value = serde_json::from_str(&get(&page, "/api/v1/status").1).unwrap();
            status["alerts"]["pending"].as_u64().unwrap()
        };
        while pending() < 2 {
            assert!(Instant::now() < limit, "no alerts");
            std::thread::sleep(Duration::from_millis(20));
        }
        for _ in 0..signals {
            signal(child.id(), "TERM");
            std::thread::sleep(Duration::from_millis(300));
        }
        let limit = Instant::now() + bar(Duration::from_secs(5));
        let status = loop {
            match child.try_wait().unwrap() {
                None if Instant::now() < limit => std::thread::sleep(Duration::from_millis(20)),
                status => break status,
            }
        };
        let _ = (child.kill(), child.wait());
        assert_eq!(status.and_then(|status| status.code()), Some(expected), "after {signals} signals");
    }
}

#[test]
fn a_signal_does_not_wait_for_a_reload() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "rule.lua", "function detect(frame) end\n");
    let config = "sources: [{ id: a, uri: 'scene:street?live=true&pixels=false' }]\n\
                  detection: { strategies: [{ name: rule, module: rule.lua, limits: { hard_ms: 9000 } }] }\n\
                  monitoring: { prometheus: { port: 0 } }\n";
    write(dir.path(), "config.yaml", config);
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
    let page = run.page();
    let judged = || sample(&get(&page, "/metrics").1, "dsengine_frames_total{source=\"a\"}").unwrap_or(0.0);
    while judged() < 5.0 {
        assert!(run.end(Duration::from_millis(50)).is_none(), "{}", run.seen.join("\n"));
    }
    // Tried on the last frames, it spends its whole budget on the first.
    write(dir.path(), "rule.lua", "function detect(frame) while true do end end\n");
    assert!(run.end(Duration::from_millis(1500)).is_none(), "{}", run.seen.join("\n"));
    run.signal("TERM");
    assert_eq!(code(&mut run, Duration::from_secs(6)), Some(0), "{}", run.seen.join("\n"));
}

/// A command that waits for its configuration, which comes through the pipe that is returned.
fn waiting(dir: &Path, command: &[&str]) -> (Running, std::fs::File) {
    let fifo = dir.join("config.yaml");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let run = Dsengine::new(command).cwd(dir).start();
    // Returns once the command has opened the other end.
    (run, OpenOptions::new().write(true).open(&fifo).unwrap())
}

#[test]
fn sighup_during_the_start_does_not_end_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut run, mut config) = waiting(dir.path(), &["run", "--port", "0", "--config", "config.yaml"]);
    run.signal("HUP");
    assert!(run.end(Duration::from_millis(200)).is_none(), "{}", run.seen.join("\n"));
    config.write_all(b"sources: [{ id: a, uri: 'test:fps=10' }]\n").unwrap();
    drop(config);
    run.page();
    run.signal("INT");
    assert_eq!(code(&mut run, bar(Duration::from_secs(5))), Some(0));
}

#[test]
fn the_first_signal_ends_a_command_that_has_nothing_to_finish() {
    for (command, expected) in
        [(&["validate", "config.yaml"][..], 130), (&["run", "--port", "0", "--config", "config.yaml"], 0)]
    {
        let dir = tempfile::tempdir().unwrap();
        let (mut run, _config) = waiting(dir.path(), command);
        run.signal("INT");
        assert_eq!(code(&mut run, bar(Duration::from_secs(2))), Some(expected), "{command:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "rule.lua", "---@since 0.1\nfunction detect(frame) end\n");
    let mut bench = Dsengine::new(["plugin", "bench", "rule.lua", "--calls", "100000000"]).cwd(dir.path()).start();
    assert!(bench.end(Duration::from_secs(1)).is_none(), "{}", bench.seen.join("\n"));
    bench.signal("INT");
    assert_eq!(code(&mut bench, bar(Duration::from_secs(2))), Some(130));
}

#[test]
fn after_the_sources_have_ended_the_first_signal_ends_it_at_once() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hook = format!("'http://{}/x'", silent.local_addr().unwrap());
    let handlers = format!("handlers: [{{ name: webhook, config: {{ url: {hook}, timeout: 60 }} }}]");
    let dir = alarming("test:frames=3,size=64x64", &handlers, "");
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
    run.wait_line(Duration::from_secs(20), |line| line.contains("a signal stops at once"));
    run.signal("TERM");
    assert_eq!(code(&mut run, bar(Duration::from_secs(2))), Some(130), "{}", run.seen.join("\n"));
}
