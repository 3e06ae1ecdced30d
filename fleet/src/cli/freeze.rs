//! `ingot-fleet freeze`: the emergency brake. Nothing changes the environment automatically, and nothing new is
//! deployed to it.

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

/// Freeze an environment: nothing scales it, no instance is replaced, and no deployment begins
///
/// Suspends AZRebalance, AlarmNotification, InstanceRefresh, ReplaceUnhealthy and ScheduledActions of the Auto Scaling
/// group. An instance that fails is not replaced until `--off`. `rollback`, `scale` and `terminate` still work.
///
/// Needs permission for autoscaling:DescribeAutoScalingGroups, SuspendProcesses and ResumeProcesses, s3:GetObject,
/// s3:ListBucket and s3:PutObject, with --application also for cloudformation:DescribeStacks and DescribeStackEvents.
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
    let (name, is_not) = (operator.name(), format!("{} was not frozen", operator.name()));
    end_if_busy(operator, &is_not).await?;
    let groups = groups(operator).await?;
    if groups.is_empty() {
        return Err(Failure::new(Exit::Usage, format!("{name} has not been created yet"))
            .hint(format!("run `ingot-fleet create {name} --release RELEASE`")));
    }
    let freezes = operator.freezes();
    let freeze = match freezes.in_force().await? {
        // Only a rollback can be under way now: it has seen the freeze, and suspends the processes again at its end.
        Some(freeze) => freeze,
        None => {
            let before: Vec<String> = groups.iter().flat_map(|group| group.suspended.clone()).collect();
            let freeze = Freeze::on(caller, now(), &before);
            freezes.write(&freeze).await?;
            // A deployment that began before the freeze was written has not seen it.
            if let Err(failure) = end_if_busy(operator, &is_not).await {
                freezes.write(&Freeze::off(caller, now())).await?;
                return Err(failure);
            }
            freeze
        }
    };
    suspend(operator, &self::groups(operator).await?, &freeze).await?;
    talk(&format!("{}: nothing scales it, and failed instances are not replaced", freeze.told(name)));
    let called = operator.called();
    talk(&format!("  end the freeze with `ingot-fleet freeze {called} --off`; `rollback` and `scale` still work"));
    Ok(freeze)
}

async fn groups(operator: &Operator) -> Result<Vec<Group>, Failure> {
    operator.groups.of(&operator.place.application, operator.name()).await
}

/// CloudFormation suspends processes during any update and resumes them at its end. So a deployment under way is
/// stopped with `abort`, not with `freeze`, and nothing is resumed during one either.
async fn end_if_busy(operator: &Operator, is_not_done: &str) -> Result<(), Failure> {
    let under_way = still_under_way(operator).await?.map(|kept| kept.record);
    let standing = operator.standing().await?;
    busy(under_way.as_ref(), standing.as_ref(), (&operator.stack(), operator.called()))
        .map_or(Ok(()), |(why, hint)| Err(Failure::new(Exit::Failed, is_not_done).why(why).hint(hint)))
}

/// Why an environment is busy, and what to do.
fn busy(under_way: Option<&Record>, standing: Option<&Standing>, (stack, called): (&str, &str)) -> Option<(String, String)> {
    if let Some(record) = under_way {
        let look = format!("`ingot-fleet status {called}` shows it, and `ingot-fleet abort {called}` aborts it");
        return Some((record.told(), format!("run the same command again when the deployment has finished: {look}")));
    }
    let standing = standing.filter(|standing| standing.is_busy())?;
    let hint = format!("run the same command again when that operation has finished: `ingot-fleet status {called}` shows it");
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
    // An update that began in the meantime needs them suspended.
    if let Err(failure) = end_if_busy(operator, &stays).await {
        suspend(operator, &groups(operator).await?, &freeze).await?;
        return Err(failure);
    }
    let ended = Freeze::off(caller, now());
    freezes.write(&ended).await?;
    talk(&format!("{name} is no longer frozen: it scales again, and failed instances are replaced now"));
    Ok(ended)
}

/// Notes that an environment is frozen, for commands that work nevertheless.
pub(super) async fn note(operator: &Operator) {
    let name = operator.name();
    match operator.freezes().in_force().await {
        Ok(None) => {}
        Ok(Some(freeze)) => talk(&format!("note: {}, and stays frozen", freeze.told(name))),
        Err(failure) => talk(&format!("warning: {}", failure.sentence())),
    }
}

/// Notes that nothing can be deployed now. If that cannot be found out, the command prints the rest all the same.
pub(super) async fn note_refusal(operator: &Operator) {
    if let Err(failure) = refuse(operator).await {
        talk(&format!("note: {failure}"));
    }
}

/// Refuses a deployment while the environment is frozen, and says who froze it, and when.
pub(super) async fn refuse(operator: &Operator) -> Result<(), Failure> {
    let name = operator.name();
    match operator.freezes().in_force().await? {
        None => Ok(()),
        Some(freeze) => Err(Failure::new(Exit::Failed, format!("cannot deploy to {name}"))
            .why(freeze.told(name))
            .hint(format!("end the freeze with `ingot-fleet freeze {name} --off`; `ingot-fleet rollback {name}` still works"))),
    }
}

/// Ends the freeze of an environment that is gone.
pub(super) async fn forget(operator: &Operator) -> Result<(), Failure> {
    if operator.freezes().in_force().await?.is_some() {
        let caller = operator.aws.caller().await?;
        operator.freezes().write(&Freeze::off(&caller, now())).await?;
    }
    Ok(())
}

/// The line of `status` about a freeze. `suspended` are the processes that are suspended in the group.
pub(super) fn line(freeze: &Freeze, (name, called): (&str, &str), suspended: &[String]) -> String {
    let going_on = freeze.going_on(suspended);
    let told = freeze.told(name);
    match going_on.is_empty() {
        true => format!("{told}: nothing scales it, and failed instances are not replaced until `ingot-fleet freeze {called} --off`"),
        false => {
            format!(
                "{told}, but these processes of its group were resumed: {}\n  hint: suspend them again with `ingot-fleet freeze {called}`",
                going_on.join(", ")
            )
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
        assert!(
            told.contains("but these processes of its group were resumed: AZRebalance, AlarmNotification\n  hint: suspend them again"),
            "{told}"
        );
    }
    #[test]
    fn freeze_waits_for_any_update() {
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
