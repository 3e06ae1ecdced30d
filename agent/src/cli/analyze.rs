//! `ingot analyze`: where the time of a boot was spent, in the manner of systemd-analyze.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueHint};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::cli::output::{self, data, talk};
use crate::document::encoding::as_far_as_it_goes;
use crate::exit::Exit;
use crate::failure::Explanation;
use crate::host::Files;
use crate::host::environment::absolute;
use crate::host::files::DiskFiles;
use crate::json::of_bytes;
use crate::report::timeline::picture::svg;
use crate::report::timeline::{Link, mark, spoken};
use crate::report::{IdleKind, REPORT, Report};

/// The largest report that is read, in bytes. A report of ten thousand steps is smaller.
const REPORT_LIMIT: u64 = 64 * 1024 * 1024;

/// Show where the time of a boot was spent
///
/// Without a command, prints one line about the whole boot.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    of: Of,
}

#[derive(Debug, Clone, Default, clap::Args)]
struct Of {
    /// Report or evidence of any machine, as a file [default: /run/ingot/report.json]
    #[arg(value_name = "REPORT", value_hint = ValueHint::FilePath)]
    report: Option<PathBuf>,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// List the steps by duration, longest first
    Blame(Of),
    /// Show the chain of steps that determined the duration of the boot
    Chain(Of),
    /// Print a timeline as SVG
    Plot(Of),
}

/// The part of evidence that holds the times.
#[derive(Deserialize)]
struct Evidence<'a> {
    #[serde(borrow)]
    report: &'a RawValue,
}

pub(crate) async fn run(args: Args, as_json: bool) -> Exit {
    let Of { report } = match &args.verb {
        Some(Verb::Blame(of) | Verb::Chain(of) | Verb::Plot(of)) => of.clone(),
        None => args.of.clone(),
    };
    let path = report.map_or_else(|| PathBuf::from(REPORT), |path| absolute(&path));
    let report = match read(&path).await {
        Ok(report) => report,
        Err((exit, message)) => {
            talk(&message);
            return exit;
        }
    };
    match (&args.verb, as_json) {
        (None, false) => data(&whole(&report)),
        (None, true) => {
            output::json(&json!({ "elapsed_ms": report.elapsed_ms, "phases_ms": report.phases_ms, "startup": report.startup }));
        }
        (Some(Verb::Blame(_)), false) => data(&blame(&report)),
        (Some(Verb::Blame(_)), true) => output::json(&blame_json(&report)),
        (Some(Verb::Chain(_)), false) => data(&chain(&report)),
        (Some(Verb::Chain(_)), true) => output::json(&chain_json(&report)),
        (Some(Verb::Plot(_)), _) => data(&svg(&report)),
    }
    Exit::Done
}

async fn read(path: &Path) -> Result<Report, (Exit, String)> {
    let shown = path.display();
    let bytes = DiskFiles::new(None).read(path, REPORT_LIMIT).await.map_err(|error| (Exit::Failed, Explanation::of(&error).to_string()))?;
    let bytes = bytes.ok_or_else(|| {
        (Exit::Usage, format!("the report {shown} does not exist\n  hint: run `ingot boot` first, or name the report of another machine"))
    })?;
    let bytes = as_far_as_it_goes(&bytes, REPORT_LIMIT as usize);
    let kept = of_bytes(&bytes).map(|Evidence { report }| report.get().as_bytes());
    let (report, is_cut) = Report::read(kept.unwrap_or(&bytes)).map_err(|error| {
        (Exit::Usage, format!("{shown} is not an ingot report: {error}\n  hint: copy {REPORT} from the booted machine"))
    })?;
    if is_cut {
        talk(&format!("warning: {shown} is cut off, and only its beginning is shown"));
    }
    Ok(report)
}

fn whole(report: &Report) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(startup) = &report.startup {
        let named = [("firmware", startup.firmware_ms), ("boot loader", startup.loader_ms), ("kernel to ingot", Some(startup.process_ms))];
        parts.extend(named.into_iter().filter_map(|(name, took)| Some(format!("{} ({name})", spoken(took?)))));
    }
    for (name, began, ended) in report.phases() {
        parts.push(format!("{} ({name})", spoken(ended - began)));
    }
    let before = report.phases().last().map_or(0.0, |(_, _, ended)| *ended);
    parts.push(format!("{} (steps)", spoken(report.elapsed_ms - before)));
    format!("{}; ingot's part: {}, {} exchanges\n", parts.join(" + "), spoken(report.elapsed_ms), report.exchanges.len())
}

fn blame(report: &Report) -> String {
    let line = |(took, step): (f64, &crate::report::StepReport)| {
        let idle = [(IdleKind::Waiting, "waiting"), (IdleKind::Retrying, "between tries")];
        let idle = idle.into_iter().map(|(kind, word)| (step.idle_for(kind), word)).filter(|(ms, _)| *ms >= 0.05);
        let told: Vec<String> = idle.map(|(ms, word)| format!("{} {word}", spoken(ms))).collect();
        let told = if told.is_empty() { String::new() } else { format!("  ({})", told.join(", ")) };
        let mark = Some(mark(step)).filter(|mark| !mark.is_empty()).map_or_else(String::new, |mark| format!("  {mark}"));
        format!("{:>11}  {}{mark}{told}\n", spoken(took), step.address)
    };
    report.by_time().into_iter().map(line).collect()
}

fn blame_json(report: &Report) -> serde_json::Value {
    let entry = |(took, step): (f64, &crate::report::StepReport)| {
        json!({
            "address": step.address, "outcome": step.outcome, "took_ms": took, "attempts": step.attempts,
            "waiting_ms": step.idle_for(IdleKind::Waiting), "retrying_ms": step.idle_for(IdleKind::Retrying),
        })
    };
    report.by_time().into_iter().map(entry).collect()
}

fn chain(report: &Report) -> String {
    let mut text = String::from("@ when it was done, + how long it took\n\n");
    let links = report.critical_chain();
    text.push_str(&format!("the boot @{}\n", spoken(report.elapsed_ms)));
    for (depth, link) in links.iter().enumerate() {
        let indent = "  ".repeat(depth);
        text.push_str(&format!("{indent}└─{} @{} +{}", link.name(), spoken(link.ended()), spoken(link.ended() - link.began())));
        if let Link::Step(step) = link {
            for (kind, word) in [(IdleKind::Waiting, "waiting"), (IdleKind::Retrying, "between tries")] {
                let longest = step.idle.iter().filter(|idle| idle.kind == kind).max_by(|a, b| length(a).total_cmp(&length(b)));
                if let Some(longest) = longest.filter(|_| step.idle_for(kind) >= 0.05) {
                    text.push_str(&format!(", {} of it {word}: {}", spoken(step.idle_for(kind)), longest.why));
                }
            }
        }
        // Between the end of what it waited for and its own start, ingot was busy with something else.
        let gap = links.get(depth + 1).map_or(0.0, |before| link.began() - before.ended());
        if gap >= 1.0 {
            text.push_str(&format!(", started {} late", spoken(gap)));
        }
        text.push('\n');
    }
    text
}

fn length(idle: &crate::report::Idle) -> f64 {
    idle.to_ms.unwrap_or(f64::INFINITY) - idle.from_ms
}

fn chain_json(report: &Report) -> serde_json::Value {
    let entry = |link: &Link<'_>| json!({ "name": link.name(), "began_ms": link.began(), "ended_ms": link.ended() });
    report.critical_chain().iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::timeline::tests::report;

    #[test]
    fn tells_where_the_time_went() {
        insta::assert_snapshot!(whole(&report()), @r#"
        1.200 s (firmware) + 300.0 ms (boot loader) + 1.480 s (kernel to ingot) + 18.0 ms (user_data) + 2.0 ms (plan) + 715.0 ms (steps); ingot's part: 735.0 ms, 6 exchanges
        "#);
        insta::assert_snapshot!(blame(&report()), @r#"
           601.0 ms  services.shop.service  (580.0 ms waiting)
           110.0 ms  secrets.db  (80.0 ms between tries)
            15.0 ms  secrets.token
             3.0 ms  files./etc/shop/shop.toml
        "#);
        insta::assert_snapshot!(chain(&report()), @r#"
        @ when it was done, + how long it took

        the boot @735.0 ms
        └─services.shop.service @734.0 ms +601.0 ms, 580.0 ms of it waiting: for http://127.0.0.1:8080/health to answer 200
          └─files./etc/shop/shop.toml @133.0 ms +3.0 ms
            └─secrets.db @130.0 ms +110.0 ms, 80.0 ms of it between tries: GetSecretValue prod/db: throttled
              └─plan @20.0 ms +2.0 ms
                └─user_data @18.0 ms +18.0 ms
        "#);
    }
}
