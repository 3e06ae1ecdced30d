//! The differences between a database and its wanted state.

use std::fmt;

use crate::address::Address;
use crate::aws::rds::{Kind, Member, Restore, Scaling};

/// One difference between a database and its wanted state.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Restore(Box<Restore>),
    AddMember(Member),
    /// `secret` is `None` if RDS should manage the password.
    SetPassword {
        database: String,
        secret: Option<Address>,
    },
    Await {
        database: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restore(restore) => {
                let what = if restore.kind == Kind::Cluster { "cluster" } else { "database" };
                write!(f, "restore {what} {} from snapshot {}", restore.id, restore.snapshot)?;
                match &restore.scaling {
                    Some(Scaling { least, most, .. }) => write!(f, ", with {least} to {most} capacity units"),
                    None => Ok(()),
                }
            }
            Self::AddMember(member) => write!(f, "create instance {} in cluster {}", member.id, member.cluster),
            Self::SetPassword { database, secret: None } => write!(f, "have RDS manage the master password of {database}"),
            Self::SetPassword { database, secret: Some(secret) } => write!(f, "set the master password of {database} to that of {secret}"),
            Self::Await { database } => write!(f, "wait until {database} takes logins"),
        }
    }
}
