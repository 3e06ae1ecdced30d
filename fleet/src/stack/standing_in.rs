//! Stand-ins for the names that AWS assigns, in the form that AWS gives them, so that documents are checked with them.

use crate::stack::known::{ACCOUNT, Known, REGION};

/// The stand-in for an export of an edge's stack.
pub(super) fn import(name: &str) -> String {
    match name.rsplit('-').next() {
        Some("targets") => format!("arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/{name}/0123456789abcdef"),
        _ => panic!("a template imports {name}, which has no stand-in"),
    }
}

/// The stand-in for a resource of a template, or for an attribute of one.
pub(super) fn of(name: &str, known: &Known<'_>) -> String {
    let stack = known.stack();
    let secret = |secret: &str| format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{secret}-AbCdEf");
    match name {
        "AWS::Region" => REGION.into(),
        "AWS::AccountId" => ACCOUNT.into(),
        "AWS::Partition" => "aws".into(),
        "AWS::StackName" => stack,
        "Targets" => format!("arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/{stack}/0123456789abcdef"),
        "Address.AllocationId" => "eipalloc-0123456789abcdef0".into(),
        "Database" => format!("{stack}-database"),
        "Database.Endpoint.Address" => format!("{stack}-database.{REGION}.rds.amazonaws.com"),
        "Database.Endpoint.Port" => "5432".into(),
        "Database.MasterUserSecret.SecretArn" => secret("rds!db-0123456789ab"),
        "Cache.PrimaryEndPoint.Address" => format!("master.{stack}-cache.{REGION}.cache.amazonaws.com"),
        "Cache.PrimaryEndPoint.Port" => "6379".into(),
        "CacheToken" => secret(&format!("{stack}-cache")),
        "Queue" | "DeadLetters" => {
            let fifo = if known.environment.settings.queue.fifo == Some(true) { ".fifo" } else { "" };
            format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{stack}-{name}{fifo}")
        }
        other => panic!("a template names {other}, which has no stand-in"),
    }
}
