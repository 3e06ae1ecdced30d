//! Runs a command on one instance through Systems Manager Run Command and returns its output.

use std::time::Duration;

use aws_sdk_ssm::Client;
use aws_sdk_ssm::types::CommandInvocationStatus as Status;
use tokio::time::{Instant, sleep};

use super::Aws;
use super::trouble::{self, Call};
use crate::exit::Exit;
use crate::failure::Failure;

/// Time in which the agent must start and finish the command.
const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_secs(1);

/// Number of characters of a command's output that Systems Manager keeps.
///
/// Source: <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetCommandInvocation.html>
pub(crate) const KEPT: usize = 24_000;

/// Output of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Printed {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Exit code; `None` if the command did not run to its end.
    pub(crate) code: Option<i32>,
}

/// Runs an SSM document on one instance and waits for its output.
pub(crate) async fn run(aws: &Aws, document: &str, parameters: &[(&str, &str)], instance: &str) -> Result<Printed, Failure> {
    let client = Client::new(&aws.sdk);
    let on = format!("{document} to {instance}");
    let call = |action| Call { action, doing: "send", on: on.clone(), region: &aws.region };
    let mut request = client.send_command().document_name(document).instance_ids(instance);
    request = request.timeout_seconds(i32::try_from(PATIENCE.as_secs()).unwrap_or(i32::MAX));
    for (name, value) in parameters {
        request = request.parameters(*name, vec![(*value).to_owned()]);
    }
    let sent = match request.send().await {
        Ok(sent) => sent,
        Err(error) => {
            return Err(match trouble::of(&error) {
                trouble if trouble.has(&["InvalidInstanceId"]) => {
                    no_agent(instance, "it is not registered with Systems Manager, or not connected")
                }
                trouble if trouble.has(&["InvalidDocument"]) => {
                    Failure::new(Exit::Failed, format!("there is no document {document} in {}", aws.region))
                        .hint("update the stack ingot-account to the template of this version, as docs/fleet/account.md shows")
                }
                trouble => trouble.failure(&call("ssm:SendCommand")),
            });
        }
    };
    let id = sent.command().and_then(|command| command.command_id()).unwrap_or_default();
    let until = Instant::now() + PATIENCE;
    loop {
        match client.get_command_invocation().command_id(id).instance_id(instance).send().await {
            Ok(answer) => match answer.status() {
                Some(Status::Success | Status::Failed) => {
                    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
                    return Ok(Printed {
                        stdout: text(answer.standard_output_content()),
                        stderr: text(answer.standard_error_content()),
                        code: Some(answer.response_code()).filter(|code| *code >= 0),
                    });
                }
                Some(Status::TimedOut) => return Err(no_agent(instance, "the command did not run in time")),
                Some(Status::Cancelled | Status::Cancelling) => {
                    return Err(Failure::new(Exit::Failed, format!("the command {id} on {instance} was canceled"))
                        .hint("run the same command again"));
                }
                _ => {}
            },
            // A new invocation may not be listed yet.
            Err(error) => match trouble::of(&error) {
                trouble if trouble.has(&["InvocationDoesNotExist"]) => {}
                trouble => return Err(trouble.failure(&call("ssm:GetCommandInvocation"))),
            },
        }
        if Instant::now() >= until {
            return Err(no_agent(instance, &format!("no response within {} s", PATIENCE.as_secs())));
        }
        sleep(PAUSE).await;
    }
}

fn no_agent(instance: &str, why: &str) -> Failure {
    Failure::new(Exit::Failed, format!("the SSM agent of {instance} does not answer")).why(why).hint(format!(
        "check `aws ssm describe-instance-information --filters Key=InstanceIds,Values={instance}`: the image needs the agent, \
         3.3.40 or newer, and the instance a network path to Systems Manager; `aws ec2 get-console-output --latest --output text --instance-id \
         {instance}` works without it"
    ))
}
