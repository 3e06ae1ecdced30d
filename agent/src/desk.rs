//! The part of this library that `ingot-fleet` uses: YAML with places and all mistakes at once, the check of boot
//! documents before an instance exists, and the endpoints of AWS and the errors it returns. `ingot` itself does not use
//! this file, so the linker leaves it out.

use std::path::PathBuf;
use std::time::Duration;

use crate::aws::client::endpoint::{self, Variant};
use crate::digest;
use crate::document::BootDocument;
use crate::document::include;
use crate::document::source::{self, Layers};
use crate::host::files::DiskFiles;
use crate::plan::{KnownValues, Plan};
use crate::steps::secret::Secret;
use crate::steps::worker::{Worker, cron};

pub use crate::aws::client::query::Element;
pub use crate::document::decode::decode;
pub use crate::document::error::{DocumentError, Entry, Mistake, Sources};
pub use crate::document::layers::merge;
pub use crate::document::show::bare_yaml as yaml;
pub use crate::document::tree::{Key, Node, Value, parse};
pub use crate::failure::{Objection, nearest};
pub use crate::step::fields::TimeLimit;
pub use crate::text::{Place, shown, shown_in_json};

/// The largest document that an instance reads, in bytes.
pub const LARGEST_DOCUMENT: u64 = source::SIZE_LIMIT;

/// The URL of an AWS service, such as `ec2`, in any partition.
///
/// # Errors
///
/// A sentence, if the region has no such endpoint.
pub async fn endpoint(service: &str, region: &str, is_fips: bool, is_dual_stack: bool) -> Result<String, String> {
    let variant = Variant { fips: is_fips, dual_stack: is_dual_stack };
    endpoint::resolve(service, region, variant, None).await.map_err(|error| error.to_string())
}

/// One layer of a boot document.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The name of the layer in messages.
    pub name: String,
    pub content: Vec<u8>,
}

/// A secret that a document reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadSecret {
    /// The key in `secrets:`.
    pub key: String,
    pub name: String,
}

/// The result of checking layers.
#[derive(Debug)]
pub struct Checked {
    /// The number of steps; 0 if there are mistakes.
    pub steps: usize,
    pub mistakes: Vec<Mistake>,
    /// What the author should know, though it is not a mistake.
    pub warnings: Vec<Mistake>,
    pub sources: Sources,
    /// Included documents that were not read.
    pub notes: Vec<String>,
    /// The longest time that a boot may take, according to the time limits of its steps.
    pub longest: Duration,
    /// The longest time that a worker's messages may take when the machine ends; `None` without workers.
    pub drain: Option<Duration>,
    /// The secrets that `secrets:` reads, as far as they are known: names in Secrets Manager, and
    /// SSM parameters with a leading slash.
    pub secrets: Vec<ReadSecret>,
}

/// Checks layers as `ingot check` does, the last one on top. Templates of the image are searched
/// for in `templates/` of each directory of `beside`. Nothing is read from AWS; what may be defined
/// in an unread document is not reported as missing.
pub async fn check(layers: &[Layer], beside: &[PathBuf]) -> Checked {
    let mut all = Layers::of_a_desk();
    for Layer { name, content } in layers {
        all.add_layer(name, content);
    }
    let mut notes = std::mem::take(&mut all.passed_over);
    let unread = include::set_aside(&mut all);
    let whole = unread.is_empty();
    notes.extend(unread);
    let sources = all.sources.clone();
    let document = BootDocument::of(all);
    let templates = source::read_templates(&document.template_paths(), beside, &DiskFiles::new(None)).await;
    let (plan, warnings) = Plan::compile_with_advice(document, &templates);
    let (warnings, of_warnings) = warnings.into_parts();
    let checked =
        Checked { steps: 0, mistakes: Vec::new(), warnings, sources, notes, longest: Duration::ZERO, drain: None, secrets: Vec::new() };
    match plan {
        Ok(plan) => {
            let sources = of_warnings.into_iter().chain(checked.sources).collect();
            let workers = plan.nodes.iter().filter_map(|node| node.step.any().downcast_ref::<Worker>());
            let drain = workers.map(Worker::drain).max();
            Checked { steps: plan.nodes.len(), longest: plan.longest(), drain, secrets: secrets_of(&plan), sources, ..checked }
        }
        Err(error) => {
            let error = if whole { Some(error) } else { error.without_what_may_come().0 };
            let (mistakes, sources) = error.map(DocumentError::into_parts).unwrap_or_default();
            let sources = sources.into_iter().chain(checked.sources).collect();
            // Correcting a mistake may change the warnings.
            Checked { mistakes, warnings: Vec::new(), sources, ..checked }
        }
    }
}

/// The secrets whose names depend only on values.
fn secrets_of(plan: &Plan) -> Vec<ReadSecret> {
    let known = KnownValues::of(&plan.values);
    let read = plan.nodes.iter().filter_map(|node| {
        let (name, is_parameter) = node.step.any().downcast_ref::<Secret>()?.name();
        let name = known.as_ref()?.text(name.raw()).filter(|name| !name.starts_with("arn:"))?;
        // The part after a colon is the version of a parameter.
        let of_parameter = |name: &str| format!("/{}", name.trim_start_matches('/').split(':').next().unwrap_or_default());
        Some(ReadSecret { key: node.address.key().to_owned(), name: if is_parameter { of_parameter(&name) } else { name } })
    });
    read.collect()
}

/// Checks a cron expression with five fields.
///
/// # Errors
///
/// What is wrong with the expression.
pub fn check_cron(written: &str) -> Result<(), Objection> {
    cron::Schedule::parse(written).map(|_| ())
}

/// The SHA-256 of bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    digest::Sha256::of(bytes).to_string()
}
