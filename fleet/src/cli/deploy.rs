//! `ingot-fleet create`, `deploy` and `rollback`: create an environment with a release, or replace what it runs.

use std::path::Path;

use super::carry::{carry_out, fits};
use super::consent::Consent;
use super::errand::Asked;
use super::operator::{Operator, Whose};
use super::patience::Patience;
use super::settle::{Settled, settled};
use crate::aws::releases;
use crate::deployment::history::{Counting, Role};
use crate::deployment::record::{Goal, Kind, Policy, Record, Release, State};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::release::name::Name;

/// Create an environment, with a release
///
/// Ends when every instance serves, or when CloudFormation has deleted what it created. If it is interrupted, run it
/// again to continue. Needs the permissions of the policies Reader and Deployer of ingot-account.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    #[command(flatten)]
    what: What,
}

/// Deploy a release, an image, or the settings of fleet.yaml to an environment
///
/// Asks for confirmation, and does not begin while an alarm of `deployment.alarms` is raised. Ends when every instance
/// in service runs the release, or when everything is as before: CloudFormation rolls back at the first failure, even
/// if ingot-fleet is gone. If another deployment is under way, it is named and followed to its end instead. Needs the
/// permissions of the policies Reader and Deployer of ingot-account.
#[derive(Debug, clap::Args)]
pub(crate) struct Deploy {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    manner: Manner,
}

/// How to deploy to an existing environment.
#[derive(Debug, clap::Args)]
pub(super) struct Manner {
    /// Policy of this deployment, instead of the one in fleet.yaml
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    policy: Option<Policy>,
    /// Alarm of `deployment.alarms` to ignore: it may be in ALARM, and CloudFormation does not watch it. Can be
    /// repeated
    #[arg(long, value_name = "ALARM")]
    despite: Vec<String>,
    #[command(flatten)]
    consent: Consent,
}

impl Manner {
    /// Adds these choices to what is asked for.
    pub(super) fn of(&self, asked: Asked) -> Asked {
        Asked { policy: self.policy, consent: Some(self.consent), despite: self.despite.clone(), ..asked }
    }
}

#[derive(Debug, clap::Args)]
struct What {
    /// Environment
    #[arg(value_name = "ENV")]
    environment: String,
    /// Release to run
    #[arg(long, value_name = "RELEASE")]
    release: Name,
    /// Golden image, instead of the one in fleet.yaml
    #[arg(long, value_name = "AMI|ssm:NAME")]
    image: Option<String>,
    #[command(flatten)]
    patience: Patience,
}

/// Go back to the release, the image and the document of the last good deployment before the current one
///
/// A rollback is a deployment of its own, and asks for confirmation. It ignores alarms. The stack keeps its template
/// and its settings: use `deploy` to deploy those of fleet.yaml. Needs the permissions of the policies Reader and
/// Deployer of ingot-account.
#[derive(Debug, clap::Args)]
pub(crate) struct Rollback {
    #[command(flatten)]
    whose: Whose,
    /// Policy of this deployment, instead of the one in fleet.yaml
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    policy: Option<Policy>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    patience: Patience,
}

/// Parses a policy that ingot-fleet can deploy with.
pub(super) fn policy(text: &str) -> Result<Policy, String> {
    let named = serde_json::from_value(text.into()).ok();
    named
        .filter(|policy: &Policy| policy.has_engine())
        .ok_or_else(|| "expected all_at_once, rolling, rolling_with_batch, immutable or in_place".to_owned())
}

pub(crate) async fn create(args: &Create, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::of(file, &args.what.environment).await?;
    let asked = asked(&args.what, &operator, Kind::Create).await?;
    carry_out(&operator, file, &asked, args.what.patience, as_json).await
}

pub(crate) async fn deploy(args: &Deploy, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::of(file, &args.what.environment).await?;
    let asked = asked(&args.what, &operator, Kind::Deploy).await?;
    carry_out(&operator, file, &args.manner.of(asked), args.what.patience, as_json).await
}

pub(crate) async fn rollback(args: &Rollback, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::at(file, &args.whose).await?;
    let mut asked = last_good(&operator, args).await?;
    if let Some(other) = operator.newest().await?.filter(|kept| kept.record.state == State::UnderWay)
        && !asked.as_ref().is_some_and(|asked| asked.is(&other.record.goal, None))
    {
        let account = operator.account(&operator.aws.caller().await?).await?;
        if settled(&operator, &account, &other).await? == Settled::GoesOn {
            // In a stack that needs repair, the deployment cannot be aborted either.
            fits(Kind::Rollback, &operator, operator.standing().await?.as_ref(), false)?;
            return Err(goes_on(&operator, &other.record));
        }
        asked = last_good(&operator, args).await?;
    }
    let Some(asked) = asked else { return Err(nothing_before(&operator, &operator.records().counting().await?)) };
    carry_out(&operator, file, &asked, args.patience, as_json).await
}

/// What a rollback asks for, if there is something to go back to.
async fn last_good(operator: &Operator, args: &Rollback) -> Result<Option<Asked>, Failure> {
    let counting = operator.records().counting().await?;
    let Some(record) = counting.get(Role::LastGood) else { return Ok(None) };
    let Goal { release, image, document, .. } = record.goal.clone();
    let (document, consent, seen) = (Some(document), Some(args.consent), Some(counting.newest));
    let (kind, policy, despite) = (Kind::Rollback, args.policy, Vec::new());
    Ok(Some(Asked { kind, release, image, document, policy, consent, despite, edit: None, seen }))
}

/// Why there is nothing to go back to.
fn nothing_before(operator: &Operator, counting: &Counting) -> Failure {
    let in_force = counting.get(Role::InForce);
    let (exit, why) = match in_force.map(|record| (record.kind, &record.goal.release.name)) {
        Some((Some(Kind::Rollback), release)) => {
            (Exit::Failed, format!("it has already been rolled back to {release}, and no good deployment precedes that one"))
        }
        Some((_, release)) if counting.has_the_same => {
            (Exit::Failed, format!("its last good deployment asked for the same, and ran {release}"))
        }
        _ => (Exit::Usage, "it has had at most one good deployment".to_owned()),
    };
    Failure::new(exit, format!("{} has nothing to roll back to", operator.name())).why(why).hint(format!(
        "deploy another release with `ingot-fleet deploy {} --release RELEASE`: `ingot-fleet releases` lists them",
        operator.name()
    ))
}

/// While another deployment is under way, rolling back means aborting that one.
fn goes_on(operator: &Operator, record: &Record) -> Failure {
    let (name, called) = (&record.environment, operator.called());
    Failure::new(Exit::Failed, format!("cannot roll back {name} while another deployment is under way")).why(record.told()).hint(format!(
        "abort it with `ingot-fleet abort {called}`, which restores what ran before it; roll back only if that is bad as well"
    ))
}

/// What is asked for: a release and an image, without other choices.
async fn asked(what: &What, operator: &Operator, kind: Kind) -> Result<Asked, Failure> {
    let manifest = releases::find(&operator.bucket, &operator.place, &what.release);
    let (manifest, image) = tokio::join!(manifest, operator.image(what.image.as_deref()));
    let (manifest, image) = (manifest?, image?);
    let release = Release { name: manifest.name, sha256: manifest.sha256 };
    Ok(Asked { kind, release, image, document: None, policy: None, consent: None, despite: Vec::new(), edit: None, seen: None })
}
