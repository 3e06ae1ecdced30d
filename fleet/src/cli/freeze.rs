//! `ingot-fleet freeze`: the brake of an incident. Nothing changes an environment by itself, and nothing new is deployed to it.

use std::path::Path;

use jiff::Timestamp;
use serde_json::json;

use super::keep::suspend;
use super::operator::{Operator, Whose};
use super::output::{self, talk};
use super::settle::still_under_way;
use crate::aws::groups::Group;
use crate::deployment::course::Standing;
use crate::deployment::freeze::Freeze;
use crate::deployment::record::Record;
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
    let freeze = if args.off { thaw(&operator, &caller).await? } else { freeze(&operator, &caller).await? };
    if as_json {
        output::json(&json!({
            "version": 1, "environment": operator.name(), "frozen": freeze.is_frozen, "by": freeze.by, "at": freeze.at,
            "suspended": freeze.suspended,
        }));
    }
    Ok(())
}

async fn freeze(operator: &Operator, caller: &str) -> Result<Freeze, Failure> {
    let (name, is_not) = (operator.name(), format!("{} is not frozen", operator.name()));
    end_if_busy(operator, &is_not).await?;
    let groups = groups(operator).await?;
    if groups.is_empty() {
        return Err(Failure::new(Exit::Usage, format!("{name} was not created yet"))
            .hint(format!("run `ingot-fleet create {name} --release RELEASE`")));
    }
    let freezes = operator.freezes();
    let freeze = match freezes.in_force().await? {
        // Whatever is under way by now has seen it: a rollback, which suspends again at its end.
        Some(freeze) => freeze,
        None => {
            let before: Vec<String> = groups.iter().flat_map(|group| group.suspended.clone()).collect();
            let freeze = Freeze::on(caller, now(), &before);
            freezes.write(&freeze).await?;
            // One that has begun before this was written has not seen it.
            if let Err(failure) = end_if_busy(operator, &is_not).await {
                freezes.write(&Freeze::off(caller, now())).await?;
                return Err(failure);
            }
            freeze
        }
    };
    suspend(operator, &self::groups(operator).await?, &freeze).await?;
    talk(&format!("{}: nothing scales it, and instances that fail are not replaced", freeze.told(name)));
    let called = operator.called();
    talk(&format!("  `ingot-fleet freeze {called} --off` ends this; `rollback` and `scale` work all the same"));
    Ok(freeze)
}

async fn groups(operator: &Operator) -> Result<Vec<Group>, Failure> {
    operator.groups.of(&operator.place.application, operator.name()).await
}

/// CloudFormation suspends processes during an update and resumes them at its end, whoever has begun it. So the brake of a
/// deployment is another one, and nothing is resumed meanwhile either.
async fn end_if_busy(operator: &Operator, is_not_done: &str) -> Result<(), Failure> {
    let under_way = still_under_way(operator).await?.map(|kept| kept.record);
    let standing = operator.standing().await?;
    busy(under_way.as_ref(), standing.as_ref(), (&operator.stack(), operator.called()))
        .map_or(Ok(()), |(why, hint)| Err(Failure::new(Exit::Failed, is_not_done).why(why).hint(hint)))
}

/// Why an environment is busy, and the way out.
fn busy(under_way: Option<&Record>, standing: Option<&Standing>, (stack, called): (&str, &str)) -> Option<(String, String)> {
    if let Some(record) = under_way {
        let look = format!("`ingot-fleet status {called}`; `ingot-fleet abort {called}` ends it");
        return Some((record.told(), format!("run it again when the deployment has ended: {look}")));
    }
    let standing = standing.filter(|standing| standing.is_busy())?;
    let hint = format!("run it again when that has ended: `ingot-fleet status {called}`");
    Some((format!("the stack {stack} is in {}", standing.status), hint))
}

async fn thaw(operator: &Operator, caller: &str) -> Result<Freeze, Failure> {
    let (name, freezes) = (operator.name(), operator.freezes());
    let Some(freeze) = freezes.in_force().await? else {
        talk(&format!("{name} is not frozen: nothing to change"));
        return Ok(Freeze::off(caller, now()));
    };
    let stays = format!("{name} stays frozen");
    end_if_busy(operator, &stays).await?;
    for group in &groups(operator).await? {
        let ours: Vec<&str> = freeze.suspended.iter().map(String::as_str).filter(|name| group.has_suspended(name)).collect();
        if !ours.is_empty() {
            operator.groups.resume(&group.name, &ours).await?;
        }
    }
    // An update that has begun meanwhile needs them suspended.
    if let Err(failure) = end_if_busy(operator, &stays).await {
        suspend(operator, &groups(operator).await?, &freeze).await?;
        return Err(failure);
    }
    let ended = Freeze::off(caller, now());
    freezes.write(&ended).await?;
    talk(&format!("{name} is not frozen any more: it scales again, and instances that have failed are replaced now"));
    Ok(ended)
}

/// Says that an environment is frozen, where that does not stand in the way.
pub(super) async fn note(operator: &Operator) {
    let name = operator.name();
    match operator.freezes().in_force().await {
        Ok(None) => {}
        Ok(Some(freeze)) => talk(&format!("note: {}, and stays so", freeze.told(name))),
        Err(failure) => talk(&format!("warning: {}", failure.sentence())),
    }
}

/// Says that nothing would be deployed now. What cannot be asked for is no reason not to say the rest.
pub(super) async fn note_refusal(operator: &Operator) {
    if let Err(failure) = refuse(operator).await {
        talk(&format!("note: {failure}"));
    }
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
    use crate::deployment::record::tests::record;

    #[test]
    fn status_says_what_is_not_suspended_any_more() {
        let freeze = Freeze::on("ann", "2026-11-30T23:00:00Z".parse().unwrap(), &[]);
        let all = PROCESSES.map(str::to_owned);
        assert!(
            line(&freeze, ("prod", "prod"), &all).starts_with("prod is frozen (since 2026-11-30T23:00:00Z, by ann): nothing scales it")
        );
        let told = line(&freeze, ("prod", "prod"), &all[2..]);
        assert!(told.contains("but AZRebalance, AlarmNotification of its group went on\n  hint: suspend again"), "{told}");
    }
    #[test]
    fn whoever_has_begun_an_update_it_is_waited_for() {
        let standing = |status: &str| Standing { status: status.into(), ..Standing::default() };
        let busy = |record: Option<&Record>, status: &str| busy(record, Some(&standing(status)), ("shop-prod", "prod"));
        assert_eq!(busy(None, "UPDATE_COMPLETE"), None);
        let (why, hint) = busy(None, "UPDATE_ROLLBACK_IN_PROGRESS").unwrap();
        assert_eq!(why, "the stack shop-prod is in UPDATE_ROLLBACK_IN_PROGRESS", "by the console, say");
        assert!(hint.contains("ingot-fleet status prod"), "{hint}");
        let (why, hint) = busy(Some(&record()), "UPDATE_COMPLETE").unwrap();
        assert!(why.starts_with("deployment 7 of prod") && hint.contains("ingot-fleet abort prod"), "{why}: {hint}");
    }
}
