//! `ingot-fleet scale`: sets the number of instances, until scaling or a schedule changes it.

use std::path::Path;

use serde_json::json;

use super::consent::Consent;
use super::operator::{Operator, Whose};
use super::output::{self, talk};
use super::settle::still_under_way;
use crate::aws::groups::Group;
use crate::deployment::course::Standing;
use crate::exit::Exit;
use crate::failure::Failure;

/// Set how many instances an environment has, between `min` and `max` of fleet.yaml
///
/// Asks for confirmation if instances would end. Scaling and schedules continue from this number. Refused while a
/// deployment is under way, because CloudFormation sets the number at its end. Needs permission for
/// autoscaling:DescribeAutoScalingGroups and SetDesiredCapacity, cloudformation:DescribeStacks and DescribeStackEvents,
/// s3:ListBucket and s3:GetObject.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whose: Whose,
    /// Number of instances
    #[arg(value_name = "N")]
    instances: u32,
    #[command(flatten)]
    consent: Consent,
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::at(file, &args.whose).await?;
    let name = operator.name();
    let group = group(&operator).await?;
    let (wanted, capacity) = (args.instances, group.capacity);
    if !(capacity.min..=capacity.max).contains(&wanted) {
        let message = format!("{wanted} is not between `min` and `max` of {name}, which are {} and {}", capacity.min, capacity.max);
        return Err(Failure::new(Exit::Usage, message).hint("change `instances` in fleet.yaml, and deploy"));
    }
    let said = |state: &str| {
        if as_json {
            output::json(&json!({
                "version": 1, "environment": name, "state": state, "instances": wanted, "before": capacity.desired,
            }));
        }
    };
    if capacity.desired == wanted {
        talk(&format!("{name} already has {wanted} instances: nothing to change"));
        said("unchanged");
        return Ok(());
    }
    refuse_during_update(&operator).await?;
    if wanted < capacity.desired {
        let ending = capacity.desired - wanted;
        let question = format!("scale {name} from {} instances to {wanted}: {ending} of them would be terminated", capacity.desired);
        if args.consent.ask(&question)? {
            let now = self::group(&operator).await?;
            if (&now.name, now.capacity) != (&group.name, capacity) {
                return Err(Failure::new(Exit::Failed, format!("nothing was changed: {name} now has {} instances", now.capacity.desired))
                    .hint("run the same command again"));
            }
            refuse_during_update(&operator).await?;
        }
    }
    operator.groups.scale(&group.name, wanted).await?;
    if let Err(failure) = refuse_during_update(&operator).await {
        talk(&format!("warning: a deployment has begun in the meantime: {}", failure.sentence()));
    }
    talk(&format!("{name}: {} instances instead of {}; `ingot-fleet status {name}` shows them", wanted, capacity.desired));
    said("scaled");
    Ok(())
}

/// The group of the environment.
async fn group(operator: &Operator) -> Result<Group, Failure> {
    let name = operator.name();
    let mut groups = operator.groups.of(&operator.place.application, name).await?;
    match (groups.pop(), groups.len()) {
        (None, _) => Err(Failure::new(Exit::Usage, format!("{name} has not been created yet"))
            .hint(format!("run `ingot-fleet create {name} --release RELEASE`"))),
        (Some(group), 0) => Ok(group),
        (Some(_), _) => Err(Failure::new(Exit::Failed, format!("{name} has two groups: a deployment is replacing one with the other"))
            .hint(format!(
                "run the same command again when the deployment has finished: `ingot-fleet status {}` shows it",
                operator.called()
            ))),
    }
}

/// An update takes the number of instances when it begins, and sets that number again at its end.
async fn refuse_during_update(operator: &Operator) -> Result<(), Failure> {
    let (name, called) = (operator.name(), operator.called());
    // Between its two updates, the stack is at rest.
    let goes_on = match operator.standing().await?.filter(Standing::is_busy) {
        Some(standing) => Some(format!("its stack is in {}", standing.status)),
        None => still_under_way(operator).await?.map(|kept| kept.record.told()),
    };
    let Some(goes_on) = goes_on else { return Ok(()) };
    Err(Failure::new(Exit::Failed, format!("cannot scale {name} while {goes_on}")).why("the new number would be lost at its end").hint(
        format!(
            "run the same command again when that operation has finished: `ingot-fleet status {called}` shows it, and \
                 `ingot-fleet abort {called}` aborts a deployment"
        ),
    ))
}
