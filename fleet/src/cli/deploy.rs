//! `ingot-fleet create`, `deploy` and `rollback`: an environment with a release, and another one in it.

use std::path::Path;
use std::time::Duration;

use super::carry::{Asked, Kind, carry_out};
use super::operator::Operator;
use crate::aws::releases;
use crate::deployment::history::Role;
use crate::deployment::record::{Policy, Release};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fleet::Length;
use crate::release::name::Name;

/// Create an environment, with a release
///
/// Ends when every instance serves, or when CloudFormation has removed what it made. Interrupted, it goes on when it is run
/// again.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    #[command(flatten)]
    what: What,
}

/// Replace what an environment runs by a release, an image, or the settings of fleet.yaml
///
/// Ends when every instance in service runs it, or when everything is as before: CloudFormation goes back at the first
/// failure, also if ingot-fleet is gone. Where a deployment is under way, it is named and followed to its end instead.
#[derive(Debug, clap::Args)]
pub(crate) struct Deploy {
    #[command(flatten)]
    what: What,
    /// Policy of this deployment, in place of that of fleet.yaml
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    policy: Option<Policy>,
}

#[derive(Debug, clap::Args)]
struct What {
    /// Environment
    #[arg(value_name = "ENV")]
    environment: String,
    /// Release to run
    #[arg(long, value_name = "RELEASE")]
    release: Name,
    /// Golden image, in place of that of fleet.yaml
    #[arg(long, value_name = "AMI|ssm:NAME")]
    image: Option<String>,
    #[command(flatten)]
    patience: Patience,
}

#[derive(Debug, clap::Args)]
struct Patience {
    /// How long to wait, such as 30m. Then the exit code is 4, and what was begun goes on
    #[arg(long, value_name = "TIME", value_parser = length)]
    timeout: Option<Length>,
}

impl Patience {
    fn time(&self) -> Option<Duration> {
        self.timeout.map(|length| Duration::from_secs(length.0))
    }
}

/// Go back to the release, the image and the document of the last good deployment before the one in force
///
/// That is a deployment of its own. It waits for no alarms.
#[derive(Debug, clap::Args)]
pub(crate) struct Rollback {
    /// Environment
    #[arg(value_name = "ENV")]
    environment: String,
    /// Policy of this deployment, in place of that of fleet.yaml
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    policy: Option<Policy>,
    #[command(flatten)]
    patience: Patience,
}

/// A policy that there is an engine for.
pub(super) fn policy(text: &str) -> Result<Policy, String> {
    let named = serde_json::from_value(text.into()).ok();
    let has_engine = |policy: &Policy| !matches!(policy, Policy::InPlace | Policy::TrafficSplitting);
    named.filter(has_engine).ok_or_else(|| "expected all_at_once, rolling, rolling_with_batch or immutable".to_owned())
}

/// A length of time as fleet.yaml has it.
pub(super) fn length(text: &str) -> Result<Length, String> {
    serde_json::from_value(text.into()).map_err(|_: serde_json::Error| "expected a length of time such as 90s, 20m or 1h30m".to_owned())
}

pub(crate) async fn create(args: &Create, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::of(file, &args.what.environment).await?;
    let asked = asked(&args.what, &operator, Kind::Create, None).await?;
    carry_out(&operator, file, asked, args.what.patience.time(), as_json).await
}

pub(crate) async fn deploy(args: &Deploy, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::of(file, &args.what.environment).await?;
    let asked = asked(&args.what, &operator, Kind::Deploy, args.policy).await?;
    carry_out(&operator, file, asked, args.what.patience.time(), as_json).await
}

pub(crate) async fn rollback(args: &Rollback, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::of(file, &args.environment).await?;
    let counting = operator.records().counting().await?;
    let Some(record) = counting.get(Role::LastGood) else {
        let message = format!("there is nothing to go back to: {} has had one good deployment at the most", args.environment);
        return Err(Failure::new(Exit::Usage, message).hint("deploy another release: `ingot-fleet releases` lists them"));
    };
    let goal = record.goal.clone();
    let asked =
        Asked { kind: Kind::Rollback, release: goal.release, image: goal.image, document: Some(goal.document), policy: args.policy };
    carry_out(&operator, file, asked, args.patience.time(), as_json).await
}

async fn asked(what: &What, operator: &Operator, kind: Kind, policy: Option<Policy>) -> Result<Asked, Failure> {
    let manifest = releases::find(&operator.bucket, &operator.place, &what.release).await?;
    let release = Release { name: manifest.name, sha256: manifest.sha256 };
    let image = operator.image(what.image.as_deref()).await?;
    Ok(Asked { kind, release, image, document: None, policy })
}
