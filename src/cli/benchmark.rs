//! `dsengine benchmark`: measures this machine's throughput for a number of sources with the real engine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::after;
use dsengine::config::{self, Plan, SourcePlan};
use dsengine::engine::{Engine, Judged, Observer};
use dsengine::infer;
use dsengine::types::SourceId;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::exit::{Exit, failed, refused};
use super::input::{self, Input};
use super::profile::{self, spent, sum};
use super::run::time;
use super::signals::Stop;

/// Poll interval for the end of the run.
const POLL_EVERY: Duration = Duration::from_millis(20);
/// Longest wait for frames in flight at the end.
const DRAIN: Duration = Duration::from_secs(5);
const SECOND_NS: u64 = 1_000_000_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// So many copies of the source at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    sources: u16,
    /// The source: a file, rtsp://…, test, scene:NAME, trace:FILE
    #[arg(long, value_name = "URI", default_value = "scene:street?live=true&loop=true")]
    source: String,
    /// For so long: 30 (seconds), 90s, 5m
    #[arg(long, value_name = "TIME", default_value = "10", value_parser = time)]
    duration: Duration,
    /// The configuration whose models, rules and policy judge them. Its own sources and handlers are left out
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Detect with this model: detection.model_engine_file
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Number of inference workers. Without it, thread_pool_size, or one per core
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Also print where the time went, as folded stacks in microseconds
    #[arg(long)]
    profile: bool,
    /// What to print
    #[arg(long, value_name = "KIND", default_value = "text")]
    output: Kind,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Kind {
    Text,
    Json,
    Csv,
}

/// Completion times and latencies of judged frames, by source.
#[derive(Default)]
struct Seen(Mutex<BTreeMap<SourceId, Vec<(u64, u64)>>>);

impl Observer for Seen {
    fn judged(&self, judged: &Judged<'_>) {
        let (frame, latency_ns) = (judged.frame, judged.waited_ns + judged.lane_ns);
        let mut seen = self.0.lock();
        seen.entry(frame.source.clone()).or_default().push((frame.arrived_ns + latency_ns, latency_ns));
    }
}

pub(crate) fn run(args: &Args, stop: &Stop) -> Exit {
    let plan = match plan(args) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    let _log = match input::log(&plan.logging, false) {
        Ok(log) => log,
        Err(error) => return refused(&error),
    };
    let seen = Arc::new(Seen::default());
    let builder = Engine::builder(plan).search(infer::Search::of_process(None));
    let engine = match builder.observer(Arc::clone(&seen) as Arc<dyn Observer>).start() {
        Ok(engine) => engine,
        Err(error) => return refused(&error),
    };
    stop.graceful();
    let over = after(args.duration);
    while over.is_empty() && !stop.asked() && !engine.handle().wait(POLL_EVERY) {}
    let page = engine.handle().metrics().render();
    let summary = engine.drain(DRAIN);
    let measured = measure(&std::mem::take(&mut *seen.0.lock()), &page, &summary);
    print(args, &measured);
    match measured.broken {
        Some(why) => failed(&why),
        None => Exit::Fine,
    }
}

/// The plan: copies of one source, without handlers.
fn plan(args: &Args) -> Result<Plan, Exit> {
    let input = Input { source: Some(args.source.clone()), sources: None, config: args.config.clone() };
    let mut overrides = vec![("logging.level".to_owned(), "error".to_owned())];
    if let Some(model) = &args.model {
        overrides.push(("detection.model_engine_file".to_owned(), model.display().to_string()));
    }
    if let Some(workers) = args.workers {
        overrides.push(("thread_pool_size".to_owned(), workers.to_string()));
    }
    let mut loaded = input.load(overrides)?;
    loaded.warnings.extend(config::check(&loaded));
    loaded.warnings.retain(|warning| warning.name != "no-model");
    if input::show(&loaded.warnings) {
        return Err(Exit::Usage);
    }
    let mut plan = loaded.plan;
    plan.handlers.clear();
    let copies = plan.sources.first().cloned().into_iter().flat_map(|one| {
        (0..args.sources).map(move |n| SourcePlan { id: format!("{}-{n}", one.id).into(), ..one.clone() })
    });
    plan.sources = copies.collect();
    Ok(plan)
}

/// One source's results.
struct Figures {
    source: SourceId,
    judged: usize,
    dropped: u64,
    /// Judged frames per second: the mean, and the fifth percentile of the whole seconds.
    fps: [f64; 2],
    /// Latency from arrival to the end of the judgement in milliseconds: p50, p95, p99.
    latency_ms: [f64; 3],
}

struct Measured {
    sources: Vec<Figures>,
    cpu_seconds: f64,
    rss_mib: f64,
    /// Seconds spent, by stage, model and rule.
    spent: BTreeMap<String, f64>,
    broken: Option<dsengine::error::Error>,
}

fn measure(seen: &BTreeMap<SourceId, Vec<(u64, u64)>>, page: &str, summary: &dsengine::engine::Summary) -> Measured {
    let of = |source: &dsengine::engine::SourceSummary| {
        let id = SourceId::from(source.source.as_str());
        let frames = seen.get(&id).map_or(&[][..], Vec::as_slice);
        let mut latency: Vec<f64> = frames.iter().map(|(_, ns)| *ns as f64 / 1e6).collect();
        latency.sort_by(f64::total_cmp);
        let latency_ms = [0.5, 0.95, 0.99].map(|share| quantile(&latency, share));
        Figures {
            source: id,
            judged: frames.len(),
            dropped: source.dropped.values().sum(),
            fps: fps(frames),
            latency_ms,
        }
    };
    let broken = summary.sources.iter().find_map(|source| {
        let why = source.broken.as_ref()?;
        Some(dsengine::error::Error::new(dsengine::error::Code::SourceBroken, format!("{}: {why}", source.source)))
    });
    Measured {
        sources: summary.sources.iter().map(of).collect(),
        cpu_seconds: sum(page, "process_cpu_seconds_total", &[]),
        rss_mib: sum(page, "process_resident_memory_bytes", &[]) / f64::from(1 << 20),
        spent: spent(page),
        broken,
    }
}

/// Frames per second: the mean, and the fifth percentile of the whole seconds.
fn fps(frames: &[(u64, u64)]) -> [f64; 2] {
    let (Some((first, _)), Some((last, _))) = (frames.first(), frames.last()) else { return [0.0; 2] };
    let took_s = (last - first) as f64 / 1e9;
    let mean = if took_s > 0.0 { (frames.len() - 1) as f64 / took_s } else { 0.0 };
    let mut seconds = vec![0_u32; ((last - first) / SECOND_NS) as usize];
    for (at, _) in frames {
        if let Some(second) = seconds.get_mut(((at - first) / SECOND_NS) as usize) {
            *second += 1;
        }
    }
    let mut seconds: Vec<f64> = seconds.into_iter().map(f64::from).collect();
    seconds.sort_by(f64::total_cmp);
    [mean, if seconds.is_empty() { mean } else { quantile(&seconds, 0.05) }]
}

/// The quantile of sorted values.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(0.0)
}

fn print(args: &Args, measured: &Measured) {
    let Measured { sources, cpu_seconds, rss_mib, spent, .. } = measured;
    let folded = profile::folded(spent);
    match args.output {
        Kind::Json => println!("{:#}", as_json(measured, args.profile.then(|| folded.clone()))),
        Kind::Csv => {
            println!("source,judged,dropped,fps_mean,fps_p5,latency_p50_ms,latency_p95_ms,latency_p99_ms");
            for Figures { source, judged, dropped, fps: [mean, p5], latency_ms: [p50, p95, p99] } in sources {
                println!("{source},{judged},{dropped},{mean:.2},{p5:.2},{p50:.3},{p95:.3},{p99:.3}");
            }
        }
        Kind::Text => {
            println!(
                "{:<20} {:>8} {:>8} {:>8} {:>8}   LATENCY p50, p95, p99 (ms)",
                "SOURCE", "JUDGED", "DROPPED", "FPS", "FPS p5"
            );
            for Figures { source, judged, dropped, fps: [mean, p5], latency_ms: [p50, p95, p99] } in sources {
                println!("{source:<20} {judged:>8} {dropped:>8} {mean:>8.1} {p5:>8.1}   {p50:.1}, {p95:.1}, {p99:.1}");
            }
            println!("CPU time {cpu_seconds:.1} s since the start; resident {rss_mib:.0} MiB");
            for (stack, seconds) in spent {
                println!("{:<30} {seconds:>8.2} s", stack.replace(';', " "));
            }
        }
    }
    match args.output {
        Kind::Text if args.profile => folded.iter().for_each(|line| println!("{line}")),
        // On standard error, so that standard output remains CSV.
        Kind::Csv if args.profile => folded.iter().for_each(|line| eprintln!("{line}")),
        _ => {}
    }
}

fn as_json(measured: &Measured, folded: Option<Vec<String>>) -> Value {
    let Measured { sources, cpu_seconds, rss_mib, spent, .. } = measured;
    let sources: Vec<Value> = sources
        .iter()
        .map(|Figures { source, judged, dropped, fps: [mean, p5], latency_ms: [p50, p95, p99] }| {
            json!({
                "source": source.as_str(), "judged": judged, "dropped": dropped,
                "fps": { "mean": mean, "p5": p5 }, "latency_ms": { "p50": p50, "p95": p95, "p99": p99 },
            })
        })
        .collect();
    json!({ "sources": sources, "cpu_seconds": cpu_seconds, "rss_mib": rss_mib, "spent_seconds": spent, "folded": folded })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_a_second_are_counted_in_whole_seconds() {
        // Ten per second for four seconds, except five in the third.
        let at = (0..=40_u64).filter(|n| !(20..30).contains(n) || n % 2 == 0).map(|n| n * SECOND_NS / 10);
        let frames: Vec<(u64, u64)> = at.map(|at| (at, 0)).collect();
        let [mean, p5] = fps(&frames);
        assert!((mean - 8.75).abs() < 0.01 && p5 == 5.0, "{mean} {p5}");
        assert_eq!(fps(&[]), [0.0; 2]);
    }
}
