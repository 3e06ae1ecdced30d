//! Boots another release on many instances at once, through Systems Manager Run Command.

use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::{CommandInvocation, CommandInvocationStatus as Status};
use serde_json::Value as Json;

use super::Aws;
use super::trouble::{self, Call, Trouble};
use crate::deployment::in_place::Standee;
use crate::deployment::record::Release;
use crate::exit::Exit;
use crate::failure::Failure;

/// The SSM document, created by fleet/templates/account.yaml.
const DOCUMENT: &str = "ingot-boot";

/// Time in which an instance's agent must start the command, in seconds.
const DELIVERY: i32 = 60;

/// Maximum number of characters shown of output that is not ingot's JSON report.
const SHOWN: usize = 300;

/// State of a release's boot on one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Boot {
    GoesOn,
    Done,
    /// A newer request replaced this one, so it did nothing.
    Overtaken,
    /// It ended without a report, for example because the instance restarted.
    CutOff(String),
    Failed(String),
}

/// Result of sending a command.
#[derive(Debug)]
pub(crate) enum Sent {
    /// The command ID.
    Command(String),
    /// Nothing was sent, because the agent of at least one instance is unreachable.
    OutOfReach(Failure),
}

/// Access to the instances of an environment.
pub(crate) trait Instances {
    /// Returns all instances of the group with their tags.
    async fn standees(&self) -> Result<Vec<Standee>, Failure>;

    /// Tags instances with the deployment, and with the release once it runs.
    async fn mark(&self, ids: &[String], deployment: u64, release: Option<&Release>) -> Result<(), Failure>;

    /// Sends instances the command to boot a release.
    async fn send(&self, release: &Release, ids: &[String], comment: &str) -> Result<Sent, Failure>;

    /// Returns the state of each boot of a command. A boot that AWS does not list yet counts as running.
    async fn look(&self, command: &str, ids: &[String]) -> Result<Vec<(String, Boot)>, Failure>;

    /// Returns whether a command with this comment was ever sent to an instance.
    async fn was_sent(&self, id: &str, comment: &str) -> Result<bool, Failure>;

    /// Lets the group terminate an instance and launch a replacement.
    async fn replace(&self, id: &str) -> Result<(), Failure>;
}

/// Sends instances the command to boot `release`, written as `NAME@sha256:DIGEST`.
pub(crate) async fn send(aws: &Aws, release: &str, ids: &[String], comment: &str) -> Result<Sent, Failure> {
    let on = format!("{DOCUMENT} to {}", ids.join(", "));
    let call = Call { action: "ssm:SendCommand", doing: "send", on, region: &aws.region };
    let request = Client::new(&aws.sdk).send_command().document_name(DOCUMENT).set_instance_ids(Some(ids.to_vec()));
    let request = request.parameters("release", vec![release.to_owned()]).comment(comment).timeout_seconds(DELIVERY);
    match request.send().await {
        Ok(sent) => Ok(Sent::Command(sent.command().and_then(|command| command.command_id()).unwrap_or_default().to_owned())),
        Err(error) => match trouble::of(&error) {
            trouble if trouble.has(&["InvalidInstanceId"]) => Ok(Sent::OutOfReach(out_of_reach(ids, trouble.message()))),
            trouble if trouble.has(&["InvalidDocument"]) => {
                Err(Failure::new(Exit::Failed, format!("there is no document {DOCUMENT} in {}", aws.region))
                    .hint("update the stack ingot-account to the template of this version, as docs/fleet/account.md shows"))
            }
            trouble => Err(trouble.failure(&call)),
        },
    }
}

fn out_of_reach(ids: &[String], why: &str) -> Failure {
    Failure::new(Exit::Failed, format!("Systems Manager cannot reach {}", ids.join(", "))).why(why).hint(
        "check `aws ssm describe-instance-information`: the image needs SSM agent 3.3.40 or newer, and the instance a network path \
         to Systems Manager",
    )
}

/// Returns the state of each boot of a command.
pub(crate) async fn look(aws: &Aws, command: &str, ids: &[String]) -> Result<Vec<(String, Boot)>, Failure> {
    let found = invocations(aws, Some(command), None).await?;
    let mut boots = Vec::new();
    for id in ids {
        let one = found.iter().find(|one| one.instance_id() == Some(id));
        boots.push((id.clone(), of(aws, command, id, one).await?));
    }
    Ok(boots)
}

async fn of(aws: &Aws, command: &str, id: &str, found: Option<&CommandInvocation>) -> Result<Boot, Failure> {
    let details = found.and_then(|one| one.status_details()).unwrap_or_default();
    match found.and_then(|one| one.status()) {
        Some(Status::Success) => Ok(Boot::Done),
        // A failed boot reports its cause on stdout.
        Some(Status::Failed) => {
            let call =
                Call { action: "ssm:GetCommandInvocation", doing: "read", on: format!("the boot report of {id}"), region: &aws.region };
            let answer = Client::new(&aws.sdk).get_command_invocation().command_id(command).instance_id(id).send().await;
            match answer.map_err(|error| trouble::of(&error)) {
                Ok(answer) => {
                    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
                    let (stdout, stderr) = (text(answer.standard_output_content()), text(answer.standard_error_content()));
                    Ok(ended(&stdout, &stderr, answer.response_code()))
                }
                Err(trouble) if trouble.has(&["InvocationDoesNotExist"]) => Ok(Boot::GoesOn),
                Err(trouble) => Err(trouble.failure(&call)),
            }
        }
        Some(Status::TimedOut) => Ok(Boot::Failed(format!("the SSM agent did not run the command in time ({details})"))),
        Some(Status::Cancelled | Status::Cancelling) => Ok(Boot::CutOff("the command was canceled".to_owned())),
        _ => Ok(Boot::GoesOn),
    }
}

/// Derives the outcome of an unsuccessful boot from its output and exit code.
fn ended(stdout: &str, stderr: &str, code: i32) -> Boot {
    let said = serde_json::from_str::<Json>(stdout).ok();
    let text = |key: &str| said.as_ref().and_then(|said| said.get(key)).and_then(Json::as_str);
    match text("outcome") {
        Some("superseded") => Boot::Overtaken,
        Some(outcome) => Boot::Failed(text("cause").map_or_else(|| format!("outcome of the boot: {outcome}"), str::to_owned)),
        None => {
            let words = if stderr.trim().is_empty() { stdout.trim() } else { stderr.trim() };
            let shown: String = words.chars().take(SHOWN).collect();
            let why = match shown.is_empty() {
                true => format!("the boot exited with code {code} and printed nothing"),
                false => format!("the boot exited with code {code}: {shown}"),
            };
            // Exit codes of ingot itself; any other code means the boot was cut off.
            if matches!(code, 1 | 2 | 75 | 78) { Boot::Failed(why) } else { Boot::CutOff(why) }
        }
    }
}

/// Returns whether a command with this comment was sent to an instance.
pub(crate) async fn was_sent(aws: &Aws, id: &str, comment: &str) -> Result<bool, Failure> {
    Ok(invocations(aws, None, Some(id)).await?.iter().any(|one| one.comment() == Some(comment)))
}

async fn invocations(aws: &Aws, command: Option<&str>, instance: Option<&str>) -> Result<Vec<CommandInvocation>, Failure> {
    let on = "the commands of Systems Manager".to_owned();
    let call = Call { action: "ssm:ListCommandInvocations", doing: "read", on, region: &aws.region };
    let request = Client::new(&aws.sdk).list_command_invocations();
    let request = request.set_command_id(command.map(str::to_owned)).set_instance_id(instance.map(str::to_owned));
    let answer = request.send().await.map_err(|error| -> Trouble { trouble::of(&error) });
    Ok(answer.map_err(|trouble| trouble.failure(&call))?.command_invocations().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_says_why_it_failed() {
        let failed = r#"{"version": 1, "outcome": "failed", "cause": "applications.shop: it ended with exit code 5", "lines": []}"#;
        assert_eq!(ended(failed, "", 1), Boot::Failed("applications.shop: it ended with exit code 5".into()));
        assert_eq!(ended(r#"{"outcome": "superseded", "cause": null}"#, "", 1), Boot::Overtaken);
        assert_eq!(ended(r#"{"outcome": "refused", "cause": null}"#, "", 78), Boot::Failed("outcome of the boot: refused".into()));
    }

    #[test]
    fn a_boot_without_a_report_was_cut_off() {
        assert_eq!(ended("", "", 143), Boot::CutOff("the boot exited with code 143 and printed nothing".into()));
        assert_eq!(ended("", "sh: ingot: not found", 127), Boot::CutOff("the boot exited with code 127: sh: ingot: not found".into()));
        // The document of an older ingot-account prints text.
        assert_eq!(ended("failed: no disk", "", 1), Boot::Failed("the boot exited with code 1: failed: no disk".into()));
    }
}
