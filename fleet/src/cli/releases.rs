//! `ingot-fleet releases`: lists the releases, and which environments use them.

use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use super::output::{data, json, talk};
use super::progress::size;
use super::prune;
use super::uses::{Use, uses, uses_of};
use crate::aws::Aws;
use crate::aws::releases::{self, Described, Found};
use crate::aws::s3::Bucket;
use crate::failure::Failure;
use crate::place::Place;

/// List the releases of the application, newest first, or remove old ones
///
/// Needs permission for s3:ListBucket and s3:GetObject.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Prune(prune::Args),
}

pub(crate) async fn run(args: Args, place: &Place, as_json: bool) -> Result<(), Failure> {
    if let Some(Command::Prune(args)) = args.command {
        return prune::run(&args, place, as_json).await;
    }
    let aws = Aws::connect().await?;
    let bucket = Bucket::new(&aws, &place.bucket);
    let found = releases::list(&bucket, place).await?;
    let (uses, unread) = uses(&bucket, place).await?;
    for failure in &unread {
        talk(&format!("warning: {failure}"));
    }
    match as_json {
        true => json(&listed(&found, &uses, place, unread.is_empty())),
        false if found.is_empty() => {
            talk(&format!("{} has no releases at {}", place.application, place.url(&place.releases())));
        }
        false => data(&table(&found, &uses)),
    }
    Ok(())
}

#[derive(Serialize)]
struct Listed<'a> {
    application: &'a str,
    releases: Vec<One<'a>>,
    /// Whether all records could be read.
    uses_are_complete: bool,
}

#[derive(Serialize)]
struct One<'a> {
    name: String,
    at: String,
    bytes: Option<u64>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'a str>,
    used_by: Vec<&'a Use>,
}

fn listed<'a>(found: &'a [Found], uses: &'a [Use], place: &'a Place, uses_are_complete: bool) -> Listed<'a> {
    let one = |found: &'a Found| {
        let manifest = if let Described::By(manifest) = &found.described { Some(manifest) } else { None };
        One {
            name: found.name.to_string(),
            at: found.at().to_string(),
            bytes: found.bytes,
            state: state(found),
            by: manifest.map(|manifest| manifest.by.as_str()),
            sha256: manifest.map(|manifest| manifest.sha256.to_string()),
            commit: manifest.and_then(|manifest| Some(manifest.revision.as_ref()?.commit.as_str())),
            used_by: uses_of(uses, found),
        }
    };
    Listed { application: &place.application, releases: found.iter().map(one).collect(), uses_are_complete }
}

fn state(found: &Found) -> &'static str {
    match (&found.described, found.bytes) {
        (Described::By(_), Some(_)) => "complete",
        (Described::By(_), None) => "without archive",
        (Described::NotYet, _) => "unfinished",
        (Described::Badly(_), _) => "not understood",
    }
}

/// How many digits of a digest are shown.
const DIGITS: usize = 12;

fn table(found: &[Found], uses: &[Use]) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["RELEASE", "MADE", "BY", "SIZE", "SHA-256", "USED BY"]);
    for one in found {
        let (by, digest) = match &one.described {
            Described::By(manifest) => (short(&manifest.by).to_owned(), manifest.sha256.to_string()[..DIGITS].to_owned()),
            Described::NotYet => ("-".to_owned(), "-".to_owned()),
            Described::Badly(why) => ("-".to_owned(), why.clone()),
        };
        let used: Vec<String> = uses_of(uses, one).iter().map(|one| format!("{} ({})", one.environment, one.role.word())).collect();
        let used = if state(one) == "complete" { used.join(", ") } else { format!("{} {}", state(one), used.join(", ")) };
        let bytes = one.bytes.map_or_else(|| "-".to_owned(), size);
        table.add_row([one.name.to_string(), one.at().to_string(), by, bytes, digest, used]);
    }
    table.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n")
}

/// The caller, without the account: `user/ann`, `assumed-role/ci/build-42`.
fn short(arn: &str) -> &str {
    match arn.strip_prefix("arn:") {
        Some(rest) => rest.rsplit(':').next().unwrap_or(arn),
        None => arn,
    }
}
