//! `ingot-fleet freeze`: the brake of an incident. Nothing changes an environment by itself, and nothing new is deployed to it.

use std::path::Path;

use jiff::Timestamp;
use serde_json::json;

use super::operator::{Operator, Whose};
use super::output::{self, talk};
use crate::aws::groups::Group;
use crate::deployment::freeze::Freeze;
use crate::deployment::record::State;
use crate::exit::Exit;
use crate::failure::Failure;

/// Keep an environment as it is: nothing scales it, no instance is replaced, and no deployment begins
///
/// Suspends AZRebalance, AlarmNotification, InstanceRefresh, ReplaceUnhealthy and ScheduledActions of the Auto Scaling group. An instance that fails is not replaced until `--off`. `rollback`, `scale` and `terminate` work all the same.
///
/// Asks AWS for autoscaling:DescribeAutoScalingGroups, SuspendProcesses and ResumeProcesses, s3:GetObject, s3:ListBucket and
/// s3:PutObject, with --application also for cloudformation:DescribeStacks and DescribeStackEvents.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whose: Whose,
    /// Resume what was suspended, and allow deployments again
    #[arg(long)]
    off: bool,
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::at(file, &args.whose).await?;
    let caller = operator.aws.caller().await?;
    let groups = operator.groups.of(&operator.place.application, operator.name()).await?;
    let freeze = if args.off { thaw(&operator, &groups, &caller).await? } else { freeze(&operator, &groups, &caller).await? };
    if as_json {
        output::json(&json!({
            "version": 1, "environment": operator.name(), "frozen": freeze.is_frozen, "by": freeze.by, "at": freeze.at,
            "suspended": freeze.suspended,
        }));
    }
    Ok(())
}

async fn freeze(operator: &Operator, groups: &[Group], caller: &str) -> Result<Freeze, Failure> {
    let name = operator.name();
    if groups.is_empty() {
        return Err(Failure::new(Exit::Usage, format!("{name} was not created yet"))
            .hint(format!("run `ingot-fleet create {name} --release RELEASE`")));
    }
    end_if_under_way(operator).await?;
    let freezes = operator.freezes();
    let freeze = match freezes.in_force().await? {
        // Whatever is under way by now has seen it: a rollback, which suspends again at its end.
        Some(freeze) => freeze,
        None => {
            let before: Vec<String> = groups.iter().flat_map(|group| group.suspended.clone()).collect();
            let freeze = Freeze::on(caller, now(), &before);
            freezes.write(&freeze).await?;
            // One that has begun before this was written has not seen it.
            if let Err(failure) = end_if_under_way(operator).await {
                freezes.write(&Freeze::off(caller, now())).await?;
                return Err(failure);
            }
            freeze
        }
    };
    suspend(operator, groups, &freeze).await?;
    talk(&format!("{}: nothing scales it, and instances that fail are not replaced", freeze.told(name)));
    let called = operator.called();
    talk(&format!("  `ingot-fleet freeze {called} --off` ends this; `rollback` and `scale` work all the same"));
    Ok(freeze)
}

/// CloudFormation resumes processes at the end of an update, so the brake of a deployment is another one.
async fn end_if_under_way(operator: &Operator) -> Result<(), Failure> {
    let name = operator.name();
    match operator.newest().await?.filter(|kept| kept.record.state == State::UnderWay) {
        None => Ok(()),
        Some(kept) => Err(Failure::new(Exit::Failed, format!("{name} is not frozen"))
            .why(kept.record.told())
            .hint(format!("end the deployment with `ingot-fleet abort {}`, then freeze", operator.called()))),
    }
}

async fn thaw(operator: &Operator, groups: &[Group], caller: &str) -> Result<Freeze, Failure> {
    let (name, freezes) = (operator.name(), operator.freezes());
    let Some(freeze) = freezes.in_force().await? else {
        talk(&format!("{name} is not frozen: nothing to change"));
        return Ok(Freeze::off(caller, now()));
    };
    for group in groups {
        let ours: Vec<&str> = freeze.suspended.iter().map(String::as_str).filter(|name| group.has_suspended(name)).collect();
        if !ours.is_empty() {
            operator.groups.resume(&group.name, &ours).await?;
        }
    }
    let ended = Freeze::off(caller, now());
    freezes.write(&ended).await?;
    talk(&format!("{name} is not frozen any more: it scales again, and instances that have failed are replaced now"));
    Ok(ended)
}

/// Suspends what goes on in groups although the environment is frozen.
async fn suspend(operator: &Operator, groups: &[Group], freeze: &Freeze) -> Result<(), Failure> {
    for group in groups {
        let going_on = freeze.going_on(&group.suspended);
        if !going_on.is_empty() {
            operator.groups.suspend(&group.name, &going_on).await?;
        }
    }
    Ok(())
}

/// Ends a deployment that nobody is to begin: it names who has frozen the environment, and since when.
pub(super) async fn refuse(operator: &Operator) -> Result<(), Failure> {
    let name = operator.name();
    match operator.freezes().in_force().await? {
        None => Ok(()),
        Some(freeze) => Err(Failure::new(Exit::Failed, format!("nothing is deployed to {name}"))
            .why(freeze.told(name))
            .hint(format!("end that with `ingot-fleet freeze {name} --off`; `ingot-fleet rollback {name}` works all the same"))),
    }
}

/// Suspends the processes again that an update has resumed, or that a group which it has made never had suspended. How the
/// deployment has ended counts all the same if that fails.
pub(super) async fn keep(operator: &Operator) {
    if let Err(failure) = suspend_again(operator).await {
        let name = operator.called();
        talk(&format!("warning: {}; `ingot-fleet status {name}` says whether it is frozen, and what goes on", failure.sentence()));
    }
}

async fn suspend_again(operator: &Operator) -> Result<(), Failure> {
    let Some(freeze) = operator.freezes().in_force().await? else { return Ok(()) };
    let groups = operator.groups.of(&operator.place.application, operator.name()).await?;
    suspend(operator, &groups, &freeze).await?;
    talk(&format!("{}, and stays so", freeze.told(operator.name())));
    Ok(())
}

/// What an environment that is gone needs no longer.
pub(super) async fn forget(operator: &Operator) -> Result<(), Failure> {
    if operator.freezes().in_force().await?.is_some() {
        let caller = operator.aws.caller().await?;
        operator.freezes().write(&Freeze::off(&caller, now())).await?;
    }
    Ok(())
}

/// What `status` says of it. `suspended` are the processes that are suspended in the group.
pub(super) fn line(freeze: &Freeze, (name, called): (&str, &str), suspended: &[String]) -> String {
    let going_on = freeze.going_on(suspended);
    let told = freeze.told(name);
    match going_on.is_empty() {
        true => format!("{told}: nothing scales it, and instances that fail are not replaced until `ingot-fleet freeze {called} --off`"),
        false => {
            format!("{told}, but {} of its group went on\n  hint: suspend again with `ingot-fleet freeze {called}`", going_on.join(", "))
        }
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::freeze::PROCESSES;

    #[test]
    fn status_says_what_is_not_suspended_any_more() {
        let freeze = Freeze::on("ann", "2026-11-30T23:00:00Z".parse().unwrap(), &[]);
        let all = PROCESSES.map(str::to_owned);
        assert!(line(&freeze, ("prod", "prod"), &all).starts_with("prod is frozen since 2026-11-30T23:00:00Z by ann: nothing scales it"));
        let told = line(&freeze, ("prod", "prod"), &all[2..]);
        assert!(told.contains("but AZRebalance, AlarmNotification of its group went on\n  hint: suspend again"), "{told}");
    }
}
