//! `ingot-fleet boots`: how long instances take to boot, and why boots fail, by release and image.

mod plot;

use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::during::{self, During};
use super::layout::{Row, table};
use super::operator::{Operator, Whose};
use super::output::{self, talk};
use super::reader::Reader;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fleet::Length;
use crate::story::{Boot, Of, Sum, sums};

/// How many boots are read at most, newest first, and how many at a time.
const MOST: usize = 2000;
const AT_ONCE: usize = 16;

/// How many causes are shown for each release.
const CAUSES: usize = 3;

/// Show how long instances took to boot, and why boots failed, by release and image
///
/// Reads the evidence that boots leave. Without `on: always` for the signal `evidence` in the boot document, only
/// failed boots leave evidence. p50, p90 and p99 cover successful boots; the slowest step is the one that took longest
/// in most of them. The release is that of the deployment that launched the instance, or, once the instance is gone,
/// that of the last deployment before the boot.
///
/// Needs permission for cloudformation:DescribeStacks, ec2:DescribeInstances, s3:ListBucket and s3:GetObject.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whose: Whose,
    /// How far back to look
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = super::patience::length)]
    since: Length,
    /// Draw every boot into FILE, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::at(file, &args.whose).await?;
    let account = operator.account(&operator.aws.caller().await?).await?;
    let reader = Reader::new(&operator, &account.evidence);
    let since = Timestamp::now() - SignedDuration::from_secs(i64::try_from(args.since.0).unwrap_or(i64::MAX));
    let (boots, is_cut) = read(&operator, &reader, since).await?;
    let sums = sums(&boots);
    if let Some(path) = &args.plot {
        let drawn = plot::svg(&operator.stack(), &boots);
        std::fs::write(path, drawn).map_err(|error| {
            let failure = Failure::new(Exit::Failed, format!("cannot write {}", path.display())).because(&error);
            failure.hint("name a file in an existing directory that you can write to")
        })?;
    }
    if is_cut {
        talk(&format!("note: only the newest {MOST} boots are counted: give a shorter --since to count every boot of a period"));
    }
    if as_json {
        let all = boots.iter().map(|(of, boot)| {
            json!({
                "instance": boot.instance, "began": boot.began, "release": of.release, "image": of.image, "phase": of.phase,
                "took_ms": boot.took, "reason": boot.reason, "slowest": boot.slowest.as_ref().map(|(step, _)| step),
            })
        });
        let all: Vec<_> = all.collect();
        output::json(
            &json!({ "version": 1, "environment": operator.name(), "since": since, "sums": sums, "boots": all, "is_cut": is_cut }),
        );
        return Ok(());
    }
    if sums.is_empty() {
        talk(&format!("no boot of {} has left evidence since {since}", operator.name()));
    } else {
        output::lines(&table(&HEADER, output::width(), 1, |_| sums.iter().map(row).collect()));
        causes(&sums);
    }
    if boots.iter().all(|(_, boot)| boot.reason.is_some()) {
        talk("note: without `signals: { evidence: { on: always } }` in the boot document, only failed boots leave evidence");
    }
    Ok(())
}

/// The boots since then, newest first, and whether there were too many to read all of them.
async fn read(operator: &Operator, reader: &Reader<'_>, since: Timestamp) -> Result<(Vec<(Of, Boot)>, bool), Failure> {
    let left = reader.left();
    let listed = left.boots(since).await?;
    let is_cut = listed.len() > MOST;
    let newest: Vec<_> = listed.iter().rev().take(MOST).collect();
    let found = stream::iter(&newest).map(|boot| left.read_boot(boot)).buffered(AT_ONCE).try_collect::<Vec<_>>().await?;
    let boots: Vec<Boot> = found.into_iter().flatten().collect();
    let ids: Vec<&str> = boots.iter().map(|boot| boot.instance.as_str()).collect();
    // Without the tags, the time of the boot tells the deployment.
    if let Err(failure) = reader.look_up(&ids).await {
        talk(&format!("warning: {failure}"));
    }
    let records = during::records(operator, boots.last().map(|boot| boot.began)).await?;
    let of = |boot: Boot| {
        let during = During::of(reader.deployment(&boot.instance), boot.began, &records);
        let (release, image) = during.map(|during| (during.release, during.image)).unzip();
        (Of { release, image, phase: boot.phase.clone() }, boot)
    };
    Ok((boots.into_iter().map(of).collect(), is_cut))
}

const HEADER: [&str; 8] = ["RELEASE", "IMAGE", "BOOTS", "FAILED", "P50", "P90", "P99", "SLOWEST STEP"];

fn row(sum: &Sum) -> Row {
    let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let release = if sum.of.phase == "warm" { format!("{} (warm)", word(&sum.of.release)) } else { word(&sum.of.release) };
    let times = sum.times_ms.map_or([None; 3], |times| [times.p50, times.p90, times.p99].map(Some));
    let [p50, p90, p99] = times.map(|time| time.map_or_else(|| "-".to_owned(), seconds));
    let slowest = sum.slowest.as_ref().map_or_else(|| "-".to_owned(), |one| format!("{} {}", one.step, seconds(one.p50_ms)));
    let cells = vec![release, word(&sum.of.image), sum.boots.to_string(), sum.failed.to_string(), p50, p90, p99, slowest];
    Row { cells, note: None, color: None }
}

fn seconds(milliseconds: f64) -> String {
    if milliseconds < 10_000.0 { format!("{:.2}s", milliseconds / 1000.0) } else { format!("{:.1}s", milliseconds / 1000.0) }
}

fn causes(sums: &[Sum]) {
    let lines = sums.iter().flat_map(|sum| {
        let release = sum.of.release.as_deref().unwrap_or("-").to_owned();
        let more = sum.causes.len().saturating_sub(CAUSES);
        let shown = sum.causes.iter().take(CAUSES).map(move |cause| format!("{release}: {} failed: {}", cause.boots, cause.cause));
        let rest = (more > 0).then(|| format!("{}: {more} more causes; --json has them all", sum.of.release.as_deref().unwrap_or("-")));
        shown.chain(rest).collect::<Vec<_>>()
    });
    let lines: Vec<String> = lines.collect();
    if !lines.is_empty() {
        output::data(&format!("\n{}", lines.join("\n")));
    }
}
