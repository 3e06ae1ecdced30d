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
    #[error("cannot fill in a field")]
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
    #[error("{id} is {status}, says RDS")]
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
    #[error("RDS has not made the secret of {id} yet")]
    SecretNotMade { id: String },
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
            Self::NoSnapshot { others: 0, .. } => "correct the tags or the id; clusters and instances have snapshots of their own".into(),
            Self::NoSnapshot { others, .. } => format!("{others} of these are not available yet: wait for one, or look why it failed"),
            Self::MasterUser { master, .. } => {
                format!("put the user name {master} into the secret: only the master user gets a password with a restore")
            }
            Self::Secret { .. } => "keep it as RDS does: {\"username\": \"…\", \"password\": \"…\", \"dbname\": \"…\"}; a secret with \
                 `parameter:` needs `json: true` as well"
                .into(),
            Self::NotManaged { id } => format!(
                "have RDS manage it (`aws rds modify-db-instance --db-instance-identifier {id} --manage-master-user-password`, or \
                 modify-db-cluster), or name a secret in `credentials:`"
            ),
            Self::SecretNotMade { id } => format!("look at `aws rds describe-events --source-identifier {id}`"),
            Self::Host { why } => why.hint.clone(),
            Self::Stale { database, .. } => {
                format!("boot again; to have a step wait for the password that is accepted, refer to `{database}.password`")
            }
        })
    }
}

/// The hint for a state.
fn for_status(kind: Kind, id: &str, status: &str, restored: bool) -> String {
    let command = |verb: &str| format!("aws rds {verb}-db-{} --db-{}-identifier {id}", word(kind), word(kind));
    match status {
        "stopped" | "stopping" => format!("run `{}`", command("start")),
        "storage-full" => format!("run `{} --allocated-storage …` with more than it has", command("modify")),
        "deleting" => "wait until it is gone, and boot again".into(),
        "inaccessible-encryption-credentials" | "inaccessible-encryption-credentials-recoverable" => {
            format!("enable its KMS key and allow RDS to use it, then run `{}`", command("start"))
        }
        "incompatible-parameters" => "correct what its parameter group asks for, or give it another".into(),
        "incompatible-network" => "give its subnets free addresses and its VPC DNS host names, or restore it elsewhere".into(),
        _ if restored => format!(
            "look at `aws rds describe-events --source-identifier {id} --source-type db-{}`, delete it, and boot again to restore it",
            word(kind)
        ),
        _ => format!("look at `aws rds describe-events --source-identifier {id} --source-type db-{}`", word(kind)),
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
