//! `ingot-fleet scale`: another number of instances, until scaling or a schedule changes it.

use std::path::Path;

use serde_json::json;

use super::consent::Consent;
use super::operator::{Operator, Whose};
use super::output::{self, talk};
use crate::deployment::course::Standing;
use crate::exit::Exit;
use crate::failure::Failure;

/// Set how many instances an environment has, between `min` and `max` of fleet.yaml
///
/// Asks first if instances are to end. Scaling and schedules go on from there. Not while the stack is updated: CloudFormation sets the number at the end of a deployment. Asks AWS for autoscaling:DescribeAutoScalingGroups and SetDesiredCapacity, cloudformation:DescribeStacks and DescribeStackEvents.
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
    let groups = operator.groups.of(&operator.place.application, name).await?;
    let group = match groups.as_slice() {
        [] => {
            return Err(Failure::new(Exit::Usage, format!("{name} was not created yet"))
                .hint(format!("run `ingot-fleet create {name} --release RELEASE`")));
        }
        [group] => group,
        [..] => {
            return Err(Failure::new(Exit::Failed, format!("{name} has two groups: a deployment replaces one by the other"))
                .hint(format!("run it again when the deployment has ended: `ingot-fleet status {}`", operator.called())));
        }
    };
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
        talk(&format!("{name} has {wanted} already: nothing to change"));
        said("unchanged");
        return Ok(());
    }
    refuse_during_update(&operator).await?;
    if wanted < capacity.desired {
        let ending = capacity.desired - wanted;
        args.consent.ask(&format!("scale {name} from {} instances to {wanted}: {ending} of them would end", capacity.desired))?;
    }
    operator.groups.scale(&group.name, wanted).await?;
    talk(&format!("{name}: {} instances in place of {}; `ingot-fleet status {name}` shows them", wanted, capacity.desired));
    said("scaled");
    Ok(())
}

/// An update counts the instances that there were when it began, and sets that number at its end.
async fn refuse_during_update(operator: &Operator) -> Result<(), Failure> {
    let Some(standing) = operator.standing().await?.filter(Standing::is_busy) else { return Ok(()) };
    let (name, called) = (operator.name(), operator.called());
    Err(Failure::new(Exit::Failed, format!("{name} is not scaled while its stack is in {}", standing.status))
        .why("the number would be lost at its end")
        .hint(format!(
            "run it again when that has ended: `ingot-fleet status {called}`; a deployment is ended by `ingot-fleet abort {called}`"
        )))
}
