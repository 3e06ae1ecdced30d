//! The parameters of a stack in a deployment: those of the environment, with what only AWS and the deployment know.

use crate::deployment::course::Parameters;
use crate::deployment::record::{Goal, Policy};
use crate::fleet::Environment;
use crate::stack::parameters::{Given, Parameter, word};

/// Where environments are: the outputs of the stack `ingot-account`, and the account itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// `aws`, or that of China or of GovCloud.
    pub(crate) partition: String,
    pub(crate) id: String,
    pub(crate) region: String,
    pub(crate) service_role: String,
    pub(crate) boundary: String,
    pub(crate) evidence: String,
}

/// Parameters that count when the stack is created, and keep their value in updates.
pub(crate) const OF_CREATION: [&str; 5] = ["DatabaseSnapshot", "DatabaseEngine", "DatabaseName", "DatabaseUser", "Fifo"];

/// All parameters of a deployment.
pub(crate) fn filled(parameters: &[Parameter], environment: &Environment, goal: &Goal, number: u64, account: &Account) -> Parameters {
    let mut filled: Parameters = parameters
        .iter()
        .map(|parameter| {
            let value = match &parameter.given {
                Given::Known(value) => value.clone(),
                // Names that are ARNs once it is known where.
                Given::Later { what, .. } => what
                    .replace("arn:aws:", &format!("arn:{}:", account.partition))
                    .replace(":REGION:", &format!(":{}:", account.region))
                    .replace(":ACCOUNT:", &format!(":{}:", account.id)),
            };
            (parameter.name.to_owned(), value)
        })
        .collect();
    let Goal { release, image, document, policy, capacity } = goal;
    let desired = capacity.desired.max(1);
    let batch = environment.settings.deployment.batch().of(desired).min(desired);
    let in_service = match policy {
        // One fewer than MaxSize is the most that CloudFormation keeps.
        Policy::Rolling => (desired - batch).min(capacity.max.saturating_sub(1)),
        _ => desired - batch,
    };
    for (name, value) in [
        ("Release", release.name.to_string()),
        ("ReleaseSha256", release.sha256.to_string()),
        ("Image", image.clone()),
        ("Document", document.sha256.to_string()),
        ("Deployment", number.to_string()),
        ("Policy", word(policy)),
        ("Capacity", desired.to_string()),
        ("BatchSize", batch.to_string()),
        ("MinInService", in_service.to_string()),
        ("EvidenceBucket", account.evidence.clone()),
        ("PermissionsBoundary", account.boundary.clone()),
    ] {
        // A tier has the parameters of its template.
        if let Some(parameter) = filled.get_mut(name) {
            *parameter = value;
        }
    }
    filled
}
