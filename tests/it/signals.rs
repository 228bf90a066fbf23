//! SIGINT and SIGTERM, at any moment.
use std::time::{Duration, Instant};

use crate::harness::{Dsengine, write};

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
                        let status = run.end(Duration::from_secs(5));
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
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "always.lua",
        "function detect(frame) frame:alert{ rule = 'always', key = tostring(frame.seq), message = 'x' } end",
    );
    let config = format!(
        "sources: [{{ id: cam, type: scene, uri: 'scene:street?live=true&pixels=false' }}]\n\
         detection: {{ strategies: [{{ name: always, module: always.lua }}] }}\n\
         alerts: {{ throttle_seconds: 1, handlers: [{{ name: webhook, config: {{ url: 'http://{}/x', timeout: 60 }} }}] }}\n\
         monitoring: {{ prometheus: {{ port: 0 }} }}\n",
        silent.local_addr().unwrap()
    );
    write(dir.path(), "config.yaml", &config);
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
    let accepted = std::thread::spawn(move || silent.accept().map(|(stream, _)| stream));
    let _stream = accepted.join().unwrap().unwrap();
    run.signal("TERM");
    run.wait_line(Duration::from_secs(20), |line| line.contains("alerts are not delivered yet"));
    assert!(run.end(Duration::from_millis(700)).is_none(), "the first signal waits for the delivery: {:?}", run.seen);
    run.signal("TERM");
    let status = run.end(Duration::from_secs(5)).expect("the second signal ends it at once");
    assert_eq!(status.code(), Some(130), "{}", run.seen.join("\n"));
}
