//! Why a database does not accept logins, and what to do about it.

use std::time::Duration;

use crate::address::Address;
use crate::aws::AwsError;
use crate::aws::rds::Kind;
use crate::failure::{Failure, Objection};
use crate::net::databases::Refusal;
use crate::step::Context;
use crate::step::fields::rounded;
use crate::template::TemplateError;

/// Why a database could not be made ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    #[error("cannot render a field")]
    Render(#[source] TemplateError),
    #[error(transparent)]
    Rds(AwsError),
    /// The master user secret that RDS manages could not be read.
    #[error(transparent)]
    Secret(AwsError),
    /// RDS or the document has something other than what is needed.
    #[error(transparent)]
    Unsuitable(Unsuitable),
    /// The database itself refuses.
    #[error(transparent)]
    Refused(Refusal),
    /// A password is wrong even after its secret was read again.
    #[error("{refusal}; {again}")]
    RefusedFinally { refusal: Refusal, again: String },
    #[error("waited {:?} for {what}", rounded(*waited))]
    Late { what: String, waited: Duration, hint: Option<String> },
}

/// What exists, and why it cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsuitable {
    #[error("RDS has no {} {id}", word(*kind))]
    Missing { kind: Kind, id: String },
    #[error("RDS reports {id} as {status}")]
    Status { kind: Kind, id: String, status: String, restored: bool },
    #[error("{id} runs {engine}, whose protocol ingot does not speak")]
    Engine { id: String, engine: String },
    #[error("no snapshot {which} is available")]
    NoSnapshot { which: String, others: usize },
    #[error("the master user of {id} is {master}, and {secret} belongs to another user")]
    MasterUser { id: String, master: String, secret: Address },
    #[error("{secret} {why}, and must hold the credentials of a database")]
    Secret { secret: String, why: String },
    #[error("RDS does not manage the master password of {id}")]
    NotManaged { id: String },
    #[error("RDS has not created the secret of {id} yet")]
    SecretNotMade { kind: Kind, id: String },
    #[error("{why}")]
    Host { why: Objection },
    #[error("{secret} changed during this boot, and {} already used its old value", join(.users))]
    Stale { database: Address, secret: Address, users: Vec<Address> },
}

/// A server's message with secrets removed; it may contain the user name.
pub(super) fn clean(refusal: Refusal, cx: &Context<'_>) -> Refusal {
    refusal.redacted(|said| cx.redact(said))
}

fn join(addresses: &[Address]) -> String {
    addresses.iter().map(Address::as_str).collect::<Vec<_>>().join(", ")
}

/// The command that shows the events of the last 24 hours; without `--duration`, AWS shows those of one hour.
///
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeEvents.html>
pub(super) fn events(kind: Kind, id: &str) -> String {
    format!("aws rds describe-events --source-identifier {id} --source-type db-{} --duration 1440", word(kind))
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Instance => "instance",
        Kind::Cluster => "cluster",
    }
}

impl Failure for Unsuitable {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing { .. } => "correct its identifier, or name its source in `restore_from:`".into(),
            Self::Status { kind, id, status, restored } => for_status(*kind, id, status, *restored),
            Self::Engine { id, .. } => format!("wait for {id} with a command"),
            Self::NoSnapshot { others: 0, .. } => "correct the tags or the ID; clusters and instances have separate snapshots".into(),
            Self::NoSnapshot { others, .. } => format!(
                "{others} of these are not available yet: wait for one, or see why it failed with `aws rds describe-events --duration 1440`"
            ),
            Self::MasterUser { master, .. } => {
                format!("put the user name {master} into the secret: a restore sets only the password of the master user")
            }
            Self::Secret { .. } => {
                "write it in the format of RDS: {\"username\": \"…\", \"password\": \"…\", \"dbname\": \"…\"}; a secret with \
                 `parameter:` needs `json: true` as well"
                    .into()
            }
            Self::NotManaged { id } => format!(
                "have RDS manage it (`aws rds modify-db-instance --db-instance-identifier {id} --manage-master-user-password`; for a \
                 cluster `aws rds modify-db-cluster --db-cluster-identifier {id} --manage-master-user-password`), or name a \
                 secret in `credentials:`"
            ),
            Self::SecretNotMade { kind, id } => format!("run `{}` to see what delays it", events(*kind, id)),
            Self::Host { why } => why.hint.clone(),
            Self::Stale { database, .. } => {
                format!("run `ingot boot` again; to have a step wait for the password that is accepted, refer to `{database}.password`")
            }
        })
    }
}

/// The hint for a state.
fn for_status(kind: Kind, id: &str, status: &str, restored: bool) -> String {
    let command = |verb: &str| format!("aws rds {verb}-db-{} --db-{}-identifier {id}", word(kind), word(kind));
    match status {
        "stopped" | "stopping" => format!("run `{}`", command("start")),
        "storage-full" => format!("run `{} --allocated-storage GIB` with more than it has", command("modify")),
        "deleting" => "wait until it is gone, then run `ingot boot` again".into(),
        "inaccessible-encryption-credentials" | "inaccessible-encryption-credentials-recoverable" => {
            format!("enable its KMS key and allow RDS to use it, then run `{}`", command("start"))
        }
        "incompatible-parameters" => "correct its parameter group, or give it another".into(),
        "incompatible-network" => "give its subnets free addresses and its VPC DNS host names, or restore it elsewhere".into(),
        _ if restored => format!("run `{}` to see why, delete it, and run `ingot boot` again to restore it", events(kind, id)),
        _ => format!("run `{}` to see why", events(kind, id)),
    }
}

impl Failure for DatabaseError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Render(source) => source.hint(),
            Self::Rds(source) | Self::Secret(source) => source.hint(),
            Self::Unsuitable(source) => source.hint(),
            Self::Refused(source) | Self::RefusedFinally { refusal: source, .. } => source.hint(),
            Self::Late { hint, .. } => hint.clone(),
        }
    }

    fn is_transient(&self) -> bool {
        match self {
            Self::Rds(source) | Self::Secret(source) => source.is_transient(),
            Self::Refused(source) => source.is_transient(),
            Self::Unsuitable(source) => matches!(source, Unsuitable::SecretNotMade { .. }),
            _ => false,
        }
    }

    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Rds(source) | Self::Secret(source) if source.is_unreachable())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rds(source) | Self::Secret(source) => source.retry_after(),
            _ => None,
        }
    }
}

impl From<Unsuitable> for DatabaseError {
    fn from(source: Unsuitable) -> Self {
        Self::Unsuitable(source)
    }
}
