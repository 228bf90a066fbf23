//! On a machine with four times as much to do as it has cores for: a busy machine convicts nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Dsengine, bar, get, quantile, root, sample, soak, street, write};

const SOURCES: usize = 4;
/// How long it lasts: in `./dev soak`, and in `./dev test`.
const LASTS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(30)];
const LIMIT: Duration = Duration::from_secs(60);
/// Threads that do nothing but use the processor, for each core.
const TIMES: usize = 4;

/// Some real work: a selection, state, and 0.3 ms of arithmetic.
const RULE: &str = "function detect(frame)\n  local n = 0\n  for i in frame:select{ label = 'person', zone = 'gate' } do n += 1 end\n  \
                    state.set('calls', (state.get('calls') or 0) + n)\n  local x = 0\n  for k = 1, 30000 do x += k % 7 end\nend\n";

/// Threads that spin until this is dropped.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(threads: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let spin = || {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let threads = (0..threads).map(|_| spin()).collect();
        Self { stop, threads }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| _ = thread.join());
    }
}

#[test]
fn no_innocent_guest_is_convicted_on_a_machine_with_four_times_its_work() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "scene.yaml", &street(3000, 30));
    write(dir.path(), "rule.lua", RULE);
    let crowd = std::fs::read(root().join("plugins/prebuilt/crowd.wasm")).unwrap();
    std::fs::write(dir.path().join("crowd.wasm"), &crowd).unwrap();
    let sources: String =
        (0..SOURCES).map(|i| format!("  - {{ id: s{i}, uri: 'scene:scene.yaml?live=true&pixels=false' }}\n")).collect();
    let config = format!(
        "sources:\n{sources}detection:\n  strategies:\n    - {{ name: rule, module: rule.lua }}\n\
         \x20   - {{ name: crowd, module: crowd.wasm, config: {{ zone: gate, most: 99 }} }}\n\
         zones: {{ gate: [[0, 0], [1, 0], [1, 1], [0, 1]] }}\n\
         monitoring: {{ prometheus: {{ port: 0 }} }}\nlogging: {{ format: text }}\n"
    );
    write(dir.path(), "config.yaml", &config);
    let args = ["run", "--config", "config.yaml", "--judgements", "judged.jsonl"];
    let cache = dir.path().join("cache").display().to_string();
    let mut run = Dsengine::new(args).cwd(dir.path()).env("XDG_CACHE_HOME", &cache).start();
    let page = run.page();

    let lasts = LASTS[usize::from(!soak())];
    let cores = std::thread::available_parallelism().unwrap().get();
    let load = Load::start(TIMES * cores);
    let started = Instant::now();
    assert!(run.end(lasts / 3).is_none(), "{}", run.seen.join("\n"));
    // A reload of each, with all of it going on.
    write(dir.path(), "rule.lua", &format!("-- second\n{RULE}"));
    run.wait_line(bar(LIMIT), |line| line.contains("script reloaded") && line.contains("rule.lua"));
    // The same component with a section of its own at the end.
    let marked = [&crowd[..], &[0, 5, 4], b"mark"].concat();
    std::fs::write(dir.path().join("crowd.wasm"), marked).unwrap();
    run.wait_line(bar(LIMIT), |line| line.contains("script reloaded") && line.contains("crowd.wasm"));
    let reloads = started.elapsed() - lasts / 3;
    assert!(run.end(lasts.saturating_sub(started.elapsed())).is_none(), "{}", run.seen.join("\n"));
    drop(load);

    let status: Value = serde_json::from_str(&get(&page, "/api/v1/status").1).unwrap();
    let metrics = get(&page, "/metrics").1;
    run.signal("INT");
    assert_eq!(run.end(LIMIT).and_then(|s| s.code()), Some(0), "{}", run.seen.join("\n"));
    let text = std::fs::read_to_string(dir.path().join("judged.jsonl")).unwrap();
    let judged: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut lane: Vec<u64> = judged.iter().map(|line| line["lane_ns"].as_u64().unwrap()).collect();
    let slow: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("dsengine_strategy_limited_total{") && line.contains("slow_calls"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    println!(
        "oversubscribed: {} spinning threads on {cores} cores for {lasts:?}: {} frames judged, time on the lane p50 {:.2} ms, \
         p99 {:.1} ms, longest {:.1} ms; both reloads within {:.1} s; {slow} slow calls",
        TIMES * cores,
        judged.len(),
        quantile(&mut lane, 0.5) as f64 / 1e6,
        quantile(&mut lane, 0.99) as f64 / 1e6,
        quantile(&mut lane, 1.0) as f64 / 1e6,
        reloads.as_secs_f64(),
    );
    for strategy in status["strategies"].as_array().unwrap() {
        assert_eq!(strategy["faults"], 0, "{strategy}");
        assert_eq!((&strategy["degraded"], &strategy["generation"]), (&false.into(), &2.into()), "{strategy}");
    }
    assert_eq!(sample(&metrics, "dsengine_strategy_faults_total{").unwrap_or(0.0), 0.0);
    for bad in ["rolled back", "not reloaded", "keeps failing"] {
        assert!(!run.seen.iter().any(|line| line.contains(bad)), "{}", run.seen.join("\n"));
    }
    let least = 1000 * lasts.as_secs() / 60;
    assert!(judged.len() as u64 > least, "{} frames of four sources in {lasts:?}", judged.len());
}
