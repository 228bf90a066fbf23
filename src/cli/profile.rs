//! Where the time of a run went, from its metrics: by stage, model and rule.

use std::collections::BTreeMap;

/// Seconds by `infer;MODEL`, `judge`, `judge;RULE`.
pub(crate) fn spent(page: &str) -> BTreeMap<String, f64> {
    let mut spent = BTreeMap::new();
    let rows = [
        ("dsengine_inference_seconds_sum", "model", "infer"),
        ("dsengine_strategy_call_seconds_sum", "strategy", "judge"),
    ];
    for (series, label, stage) in rows {
        for (labels, seconds) in samples(page, series) {
            let Some(name) = value_of(labels, label) else { continue };
            *spent.entry(format!("{stage};{name}")).or_default() += seconds;
        }
    }
    let rules: f64 =
        spent.iter().filter(|(key, _)| key.starts_with("judge;")).map(|(_, seconds)| seconds).sum::<f64>() + 0.0;
    let judge = sum(page, "dsengine_frame_latency_seconds_sum", &["stage=\"judge\""]);
    spent.insert("judge".to_owned(), (judge - rules).max(0.0));
    spent
}

/// The samples of a series: labels and value.
fn samples<'a>(page: &'a str, series: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    page.lines().filter_map(move |line| {
        let (name, value) = line.rsplit_once(' ')?;
        let labels = name.strip_prefix(series)?;
        (labels.is_empty() || labels.starts_with('{')).then_some((labels, value.parse().ok()?))
    })
}

/// The sum of a series over the samples with all of these labels.
pub(crate) fn sum(page: &str, series: &str, with: &[&str]) -> f64 {
    samples(page, series).filter(|(labels, _)| with.iter().all(|label| labels.contains(label))).map(|(_, n)| n).sum::<f64>()
        // The sum of nothing is -0.
        + 0.0
}

fn value_of<'a>(labels: &'a str, label: &str) -> Option<&'a str> {
    labels.split_once(&format!("{label}=\""))?.1.split('"').next()
}

/// Folded stacks for flame graphs: `dsengine;STAGE;NAME MICROSECONDS`.
pub(crate) fn folded(spent: &BTreeMap<String, f64>) -> Vec<String> {
    spent.iter().map(|(stack, s)| format!("dsengine;{stack} {:.0}", s * 1e6)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spent_time_is_read_from_the_metrics() {
        let page = "\
dsengine_inference_seconds_sum{model=\"m\"} 2.5
dsengine_strategy_call_seconds_sum{source=\"a\",strategy=\"r\"} 0.25
dsengine_strategy_call_seconds_sum{source=\"b\",strategy=\"r\"} 0.25
dsengine_frame_latency_seconds_sum{source=\"a\",stage=\"judge\"} 0.75
dsengine_frame_latency_seconds_sum{source=\"a\",stage=\"queue\"} 9
process_cpu_seconds_total 3
";
        let wanted = [("infer;m", 2.5), ("judge", 0.25), ("judge;r", 0.5)].map(|(key, s)| (key.to_owned(), s));
        assert_eq!(spent(page), BTreeMap::from(wanted));
        assert_eq!(sum(page, "process_cpu_seconds_total", &[]), 3.0);
    }
}
