//! Hints for RDS's errors, by AWS's code.
//!
//! Source: <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/>, "Errors" of each action.

use crate::aws::client::error::{AwsError, AwsErrorKind};

/// Codes that mean that the database does not exist. Those of snapshots are not among them: without its snapshot,
/// nothing can be restored.
pub(crate) const ABSENT: [&str; 2] = ["DBInstanceNotFound", "DBClusterNotFoundFault"];

/// The hint for an error of RDS; `None` if the common hint applies.
pub(super) fn hint(error: &AwsError) -> Option<String> {
    let AwsError { operation, what, code, .. } = error;
    if let Some(hint) = by_code(code, &what.to_ascii_lowercase()) {
        return Some(hint.into());
    }
    match error.kind {
        AwsErrorKind::Denied => Some(match *operation {
            "DescribeDBInstances" | "DescribeDBClusters" | "DescribeDBSnapshots" | "DescribeDBClusterSnapshots" => {
                format!("allow rds:{operation} on * in the instance's role")
            }
            "RestoreDBInstanceFromDBSnapshot" | "RestoreDBClusterFromSnapshot" | "CreateDBInstance" => format!(
                "allow rds:{operation} on the database, its snapshot, subnet group, parameter group and cluster, and \
                 rds:AddTagsToResource on the database, in the instance's role"
            ),
            _ => return None,
        }),
        AwsErrorKind::KmsDenied => Some(
            "enable the snapshot's KMS key, and allow kms:CreateGrant and kms:DescribeKey on it in the instance's role and in \
             the key's policy"
                .into(),
        ),
        AwsErrorKind::Invalid => Some("correct in the document what the message names".into()),
        _ => None,
    }
}

/// The hint for a code; `said` is AWS's message in lower case.
fn by_code(code: &str, said: &str) -> Option<&'static str> {
    Some(match code {
        "DBSnapshotNotFound" | "DBSnapshotNotFoundFault" | "DBClusterSnapshotNotFoundFault" => {
            "name a snapshot in this region that this account owns, or the ARN of one that is shared with it"
        }
        "InvalidDBSnapshotState" | "InvalidDBClusterSnapshotStateFault" => "wait until the snapshot is available, or name one that is",
        "DBSubnetGroupNotFoundFault" => "correct `subnet_group:`, or create it in this region",
        "DBParameterGroupNotFound" | "DBClusterParameterGroupNotFound" => "correct `parameter_group:`, or create it in this region",
        "InvalidSubnet" | "InvalidVPCNetworkStateFault" | "DBSubnetGroupDoesNotCoverEnoughAZs" => {
            "give the subnet group subnets in at least two zones of one VPC"
        }
        "InstanceQuotaExceeded" | "DBClusterQuotaExceededFault" => "delete unused databases, or raise the account's quota",
        "StorageQuotaExceeded" => "delete unused databases, or raise the account's quota of storage",
        "InsufficientDBInstanceCapacity" | "InsufficientDBClusterCapacityFault" | "InsufficientStorageClusterCapacity" => {
            "ask for another `class:`, or for a subnet group in other zones"
        }
        code if code.starts_with("InvalidParameter") && said.contains("serverless v2 scaling configuration") => {
            "add `serverless:` with a range of capacity to `restore_from:`; for an existing cluster, run `aws rds modify-db-cluster \
             --db-cluster-identifier ID --serverless-v2-scaling-configuration MinCapacity=MIN,MaxCapacity=MAX`"
        }
        "InvalidParameterCombination" if said.contains("instance class") || said.contains("dbinstanceclass") => {
            "choose a `class:` that this engine and version support"
        }
        "InvalidParameterCombination" if said.contains("masteruserpassword") || said.contains("secrets manager") => {
            "set `credentials: managed`, or turn off RDS's management of the master password"
        }
        "InvalidParameterValue" if said.contains("password") => {
            "give the secret a password that RDS accepts: 8 to 41 printable characters, without /, @, quotes and spaces"
        }
        "KMSKeyNotAccessibleFault" => {
            "enable the snapshot's KMS key, and allow kms:CreateGrant and kms:DescribeKey on it in the instance's role and in the \
             key's policy"
        }
        "InvalidDBInstanceState" | "InvalidDBClusterStateFault" => {
            "check its status with `aws rds describe-db-instances` or `aws rds describe-db-clusters`"
        }
        _ => return None,
    })
}

/// Faults that pass by themselves: capacity becomes free, or another change ends.
const PASSING: [&str; 5] = [
    "InsufficientDBInstanceCapacity",
    "InsufficientDBClusterCapacityFault",
    "InsufficientStorageClusterCapacity",
    "InvalidDBInstanceState",
    "InvalidDBClusterStateFault",
];

/// Whether a retry may help, where the kind of the error does not decide it.
pub(super) fn is_transient(error: &AwsError) -> bool {
    PASSING.contains(&error.code.as_str())
}

#[cfg(test)]
mod tests {
    use crate::aws::client::call::Call;
    use crate::aws::rds::SERVICE;
    use crate::failure::Failure;

    fn hinted(operation: &'static str, code: &str, message: &str) -> (String, bool) {
        let error = Call::new(SERVICE, operation, "shop").refused(Some(code), Some(message), Some(400));
        (error.hint().unwrap(), error.is_transient())
    }

    /// Every fault that RDS documents for the actions called here, except throttling and permissions.
    ///
    /// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/>, "Errors" of
    /// `RestoreDBInstanceFromDBSnapshot`, `RestoreDBClusterFromSnapshot`, `CreateDBInstance`, `ModifyDBInstance`,
    /// `ModifyDBCluster` and `RemoveTagsFromResource`.
    #[test]
    fn only_what_may_pass_is_tried_again() {
        let passing = [
            "InsufficientDBClusterCapacityFault",
            "InsufficientDBInstanceCapacity",
            "InsufficientStorageClusterCapacity",
            "InvalidDBClusterStateFault",
            "InvalidDBInstanceState",
        ];
        let final_ = [
            "AuthorizationNotFound",
            "BackupPolicyNotFoundFault",
            "CertificateNotFound",
            "DBClusterAlreadyExistsFault",
            "DBClusterNotFoundFault",
            "DBClusterParameterGroupNotFound",
            "DBClusterQuotaExceededFault",
            "DBClusterSnapshotNotFoundFault",
            "DBInstanceAlreadyExists",
            "DBInstanceNotFound",
            "DBParameterGroupNotFound",
            "DBSecurityGroupNotFound",
            "DBSnapshotNotFound",
            "DBSubnetGroupDoesNotCoverEnoughAZs",
            "DBSubnetGroupNotAllowedFault",
            "DBSubnetGroupNotFoundFault",
            "DBUpgradeDependencyFailure",
            "DomainNotFoundFault",
            "InstanceQuotaExceeded",
            "InvalidDBClusterSnapshotStateFault",
            "InvalidDBSecurityGroupState",
            "InvalidDBSnapshotState",
            "InvalidDBSubnetGroupStateFault",
            "InvalidParameterCombination",
            "InvalidParameterValue",
            "InvalidRestoreFault",
            "InvalidSubnet",
            "InvalidVPCNetworkStateFault",
            "KMSKeyNotAccessibleFault",
            "NetworkTypeNotSupported",
            "OptionGroupNotFoundFault",
            "ProvisionedIopsNotAvailableInAZFault",
            "StorageQuotaExceeded",
            "StorageTypeNotAvailableFault",
            "StorageTypeNotSupported",
            "TenantDatabaseQuotaExceeded",
        ];
        for (code, passes) in passing.map(|code| (code, true)).into_iter().chain(final_.map(|code| (code, false))) {
            for status in [400, 403, 404] {
                let error = Call::new(SERVICE, "RestoreDBInstanceFromDBSnapshot", "shop").refused(Some(code), Some("no"), Some(status));
                assert_eq!(error.is_transient(), passes, "{code}, {status}");
                assert!(error.hint().is_some(), "{code}");
            }
        }
    }

    #[test]
    fn says_what_to_do() {
        let table = [
            ("DBSnapshotNotFound", "no", "name a snapshot", false),
            ("InstanceQuotaExceeded", "no", "delete unused databases", false),
            ("InsufficientDBInstanceCapacity", "no", "ask for another `class:`", true),
            ("InvalidDBInstanceState", "not available", "check its status", true),
            ("AccessDenied", "no", "allow rds:RestoreDBInstanceFromDBSnapshot on the database", false),
            ("InvalidParameterValue", "The parameter MasterUserPassword is not a valid password", "give the secret a password", false),
            ("InvalidParameterValue", "Invalid subnet", "correct in the document what the message names", false),
            ("KMSKeyNotAccessibleFault", "no", "enable the snapshot's KMS key", false),
            ("Throttling", "Rate exceeded", "raise the account's quota for", true),
        ];
        for (code, message, begins, transient) in table {
            let (hint, is_transient) = hinted("RestoreDBInstanceFromDBSnapshot", code, message);
            assert!(hint.starts_with(begins) && is_transient == transient, "{code}: {hint}");
        }
        assert_eq!(hinted("DescribeDBInstances", "AccessDenied", "no").0, "allow rds:DescribeDBInstances on * in the instance's role");
    }
}
