//! Statistics of the boots of many instances, from their evidence: duration, slowest step, causes of failures.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::content::{Content, Key};

/// The phase of a document without phases, and the last phase of the others.
const SERVE: &str = "serve";

/// One boot.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Boot {
    pub(crate) instance: String,
    pub(crate) began: Timestamp,
    /// Duration in milliseconds, until ingot finished or failed.
    pub(crate) took: f64,
    /// `warm` or `serve`.
    pub(crate) phase: String,
    /// The first failure, if the boot failed.
    pub(crate) reason: Option<String>,
    /// The step that took longest, and its duration in milliseconds.
    pub(crate) slowest: Option<(String, f64)>,
}

/// The group that a boot belongs to. `None` if its deployment is not known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Of {
    pub(crate) release: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) phase: String,
}

/// Statistics of the boots of one release, image and phase. Times are in milliseconds and cover successful boots only.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Sum {
    #[serde(flatten)]
    pub(crate) of: Of,
    pub(crate) boots: usize,
    pub(crate) failed: usize,
    /// `None` if no boot succeeded.
    pub(crate) times_ms: Option<Times>,
    pub(crate) slowest: Option<Slowest>,
    /// Failures by cause, the most frequent first.
    pub(crate) causes: Vec<Cause>,
}

/// Percentiles of the duration.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Times {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
}

/// The step that was most often the slowest, its median duration in those boots, and their number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Slowest {
    pub(crate) step: String,
    pub(crate) p50_ms: f64,
    pub(crate) boots: usize,
}

/// A cause of failed boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Cause {
    pub(crate) cause: String,
    pub(crate) boots: usize,
}

impl Boot {
    /// Reads a boot from its evidence. Returns `None` if the report has another format.
    pub(crate) fn of(key: &Key, content: &Content) -> Option<Self> {
        #[derive(Deserialize)]
        struct Report {
            elapsed_ms: f64,
            phase: Option<String>,
            #[serde(default)]
            steps: Vec<Step>,
        }
        #[derive(Deserialize)]
        struct Step {
            address: String,
            started_ms: Option<f64>,
            finished_ms: Option<f64>,
            #[serde(default)]
            beside: bool,
        }
        let report = Report::deserialize(&content.report).ok()?;
        // A background step does not delay the boot.
        let took = report.steps.into_iter().filter(|step| !step.beside);
        let took = took.filter_map(|step| Some((step.address, step.finished_ms? - step.started_ms?)));
        Some(Self {
            instance: key.instance.clone(),
            began: key.began,
            took: report.elapsed_ms,
            phase: report.phase.unwrap_or_else(|| SERVE.to_owned()),
            reason: content.reason.clone(),
            slowest: took.max_by(|(_, a), (_, b)| a.total_cmp(b)),
        })
    }
}

/// Computes the statistics of each group, ordered by its newest boot, newest first.
pub(crate) fn sums(boots: &[(Of, Boot)]) -> Vec<Sum> {
    let mut of: BTreeMap<&Of, Vec<&Boot>> = BTreeMap::new();
    for (key, boot) in boots {
        of.entry(key).or_default().push(boot);
    }
    let newest = |boots: &[&Boot]| boots.iter().map(|boot| boot.began).max();
    let mut all: Vec<(&Of, Vec<&Boot>)> = of.into_iter().collect();
    all.sort_by_key(|(_, boots)| std::cmp::Reverse(newest(boots)));
    all.into_iter().map(|(of, boots)| sum(of, &boots)).collect()
}

fn sum(of: &Of, boots: &[&Boot]) -> Sum {
    let good: Vec<&Boot> = boots.iter().copied().filter(|boot| boot.reason.is_none()).collect();
    let mut times: Vec<f64> = good.iter().map(|boot| boot.took).collect();
    times.sort_by(f64::total_cmp);
    let mut causes: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in boots.iter().filter_map(|boot| boot.reason.as_deref()) {
        *causes.entry(reason.lines().next().unwrap_or_default()).or_default() += 1;
    }
    let mut causes: Vec<Cause> = causes.into_iter().map(|(cause, boots)| Cause { cause: cause.to_owned(), boots }).collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.boots));
    Sum {
        of: of.clone(),
        boots: boots.len(),
        failed: boots.len() - good.len(),
        times_ms: (!times.is_empty()).then(|| Times { p50: share(&times, 50), p90: share(&times, 90), p99: share(&times, 99) }),
        slowest: slowest(&good),
        causes,
    }
}

fn slowest(boots: &[&Boot]) -> Option<Slowest> {
    let mut of: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (step, took) in boots.iter().filter_map(|boot| boot.slowest.as_ref()) {
        of.entry(step).or_default().push(*took);
    }
    let sum = |times: &[f64]| times.iter().sum::<f64>();
    let (step, mut times) = of.into_iter().max_by(|(_, a), (_, b)| a.len().cmp(&b.len()).then(sum(a).total_cmp(&sum(b))))?;
    times.sort_by(f64::total_cmp);
    Some(Slowest { step: step.to_owned(), p50_ms: share(&times, 50), boots: times.len() })
}

/// Returns a percentile by the nearest-rank method.
fn share(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent).div_ceil(100).saturating_sub(1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(at: i64, took: f64, reason: Option<&str>, slowest: &str) -> Boot {
        let began = Timestamp::from_second(1_700_000_000 + at).unwrap();
        let (phase, reason) = (SERVE.to_owned(), reason.map(str::to_owned));
        Boot { instance: format!("i-{at}"), began, took, phase, reason, slowest: Some((slowest.to_owned(), took / 2.0)) }
    }

    fn of(release: &str) -> Of {
        Of { release: Some(release.to_owned()), image: Some("ami-1".into()), phase: SERVE.to_owned() }
    }

    #[test]
    fn shares_are_nearest_ranks() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!([50, 90, 99].map(|percent| share(&hundred, percent)), [50.0, 90.0, 99.0]);
        assert_eq!([50, 90, 99].map(|percent| share(&[7.0], percent)), [7.0; 3]);
        assert_eq!([50, 90, 99].map(|percent| share(&[1.0, 2.0, 3.0], percent)), [2.0, 3.0, 3.0]);
    }

    #[test]
    fn each_release_has_its_times_and_its_causes() {
        let mut boots: Vec<(Of, Boot)> = (0..10).map(|n| (of("v1"), boot(n, 1000.0 + n as f64, None, "bundles.app"))).collect();
        boots.push((of("v1"), boot(10, 90_000.0, Some("services.shop: exit status 5\nmore"), "services.shop")));
        boots.push((of("v1"), boot(11, 80_000.0, Some("services.shop: exit status 5"), "services.shop")));
        boots.push((of("v1"), boot(12, 9.0, Some("secrets.a: denied"), "secrets.a")));
        boots.push((of("v2"), boot(99, 500.0, None, "files./etc/a")));
        let sums = sums(&boots);
        assert_eq!(sums.iter().map(|sum| sum.of.release.as_deref().unwrap()).collect::<Vec<_>>(), ["v2", "v1"], "the newest first");
        let v1 = &sums[1];
        assert_eq!((v1.boots, v1.failed), (13, 3));
        assert_eq!(v1.times_ms, Some(Times { p50: 1004.0, p90: 1008.0, p99: 1009.0 }), "of those that went well");
        assert_eq!(v1.slowest, Some(Slowest { step: "bundles.app".into(), p50_ms: 502.0, boots: 10 }));
        let causes: Vec<(&str, usize)> = v1.causes.iter().map(|cause| (cause.cause.as_str(), cause.boots)).collect();
        assert_eq!(causes, [("services.shop: exit status 5", 2), ("secrets.a: denied", 1)]);
    }

    #[test]
    fn failed_boots_have_no_times() {
        let sums = sums(&[(of("v1"), boot(0, 5.0, Some("x"), "a"))]);
        assert_eq!((sums[0].times_ms, sums[0].failed), (None, 1));
    }

    #[test]
    fn a_report_says_how_long_and_what_took_longest() {
        let key = Key::read("shop/prod/2026/11/30/200102Z-i-0a1b-0123abcd-serve.json.zst").unwrap();
        let text = r#"{"version": 1, "moment": "end", "written_at": "2026-11-30T20:00:00Z", "reason": null, "report": {
            "elapsed_ms": 812.5, "steps": [
                {"address": "bundles.app", "started_ms": 10, "finished_ms": 300}, {"address": "services.a", "started_ms": 300, "finished_ms": 800},
                {"address": "preload./srv", "started_ms": 0, "finished_ms": 9000, "beside": true}, {"address": "files./a", "started_ms": null}
            ] } }"#;
        let content = Content::read(&zstd::encode_all(text.as_bytes(), 0).unwrap()).unwrap();
        let boot = Boot::of(&key, &content).unwrap();
        assert_eq!((boot.took, boot.phase.as_str(), boot.slowest), (812.5, "serve", Some(("services.a".to_owned(), 500.0))));
        let other = Content { report: serde_json::json!({}), ..content };
        assert_eq!(Boot::of(&key, &other), None);
    }
}
