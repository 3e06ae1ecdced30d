//! Hints for EC2's errors, by AWS's code.
//!
//! Source: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>.

use crate::aws::client::error::{AwsError, AwsErrorKind};

/// The hint for an error of EC2; `None` if the common hint applies.
pub(super) fn hint(error: &AwsError) -> Option<String> {
    let AwsError { operation, resource, what, code, .. } = error;
    if is_held(error) {
        let hint =
            "disassociate the address from its resource (AWS does not move it away from a NAT gateway or a load balancer), or name another";
        return Some(hint.into());
    }
    if let Some(hint) = by_code(code, &what.to_ascii_lowercase()) {
        return Some(hint.into());
    }
    match error.kind {
        AwsErrorKind::Denied | AwsErrorKind::KmsDenied if missing_permission(what).is_some() => missing_permission(what),
        AwsErrorKind::Denied => Some(match *operation {
            // These actions do not support resource-level permissions.
            "DescribeSnapshots" | "DescribeVolumes" | "DescribeTags" | "DescribeAddresses" => {
                format!("allow ec2:{operation} on * in the instance's role")
            }
            "CreateVolume" => {
                "allow ec2:CreateVolume on volumes and snapshots, and ec2:CreateTags on volumes, in the instance's role".into()
            }
            "AttachVolume" | "DetachVolume" => {
                format!("allow ec2:{operation} on {resource} and on this instance in the instance's role")
            }
            "AssociateAddress" => {
                format!("allow ec2:AssociateAddress on {resource} and on network interfaces in the instance's role")
            }
            _ => return None,
        }),
        AwsErrorKind::KmsDenied => Some(
            "enable the volume's KMS key, and allow kms:CreateGrant, kms:Decrypt, kms:DescribeKey and \
             kms:GenerateDataKeyWithoutPlaintext on it in the instance's role and in the key's policy"
                .into(),
        ),
        AwsErrorKind::Invalid => Some("correct in the document what the message names".into()),
        _ => None,
    }
}

/// The hint for a code; `said` is AWS's message in lower case.
fn by_code(code: &str, said: &str) -> Option<&'static str> {
    Some(match code {
        // EC2's documentation does not name the code of this quota.
        code if code.ends_with("Exceeded") && said.contains("initialization rate") => {
            "ask for a lower initialization rate or none, or raise the account's quota of cumulative volume initialization rate"
        }
        "VolumeLimitExceeded" => "delete unused volumes, or raise the account's quota of storage for this volume type",
        "MaxIOPSLimitExceeded" => "ask for fewer `iops:`, or raise the account's quota of provisioned IOPS",
        "VolumeIOPSLimit" => "lower `iops:`, or raise `size_gib:`",
        "ResourceLimitExceeded" => "raise the quota of the limit that the message names",
        "AttachmentLimitExceeded" => "use an instance type that supports more volumes, or attach fewer",
        "InsufficientVolumeCapacity" | "VolumeTypeNotAvailableInZone" => "ask for another volume type, or launch in another zone",
        "UnknownVolumeType" => "correct the volume type: gp3, gp2, io2, io1, st1, sc1 or standard",
        "InvalidVolume.ZoneMismatch" | "InvalidVolumeID.ZoneMismatch" => {
            "name a volume in this instance's zone; to copy its data here, restore a snapshot of it"
        }
        "InvalidZone.NotFound" => "launch the instance in another zone: this account has no volumes in this one",
        "VolumeInUse" => "detach the volume from the other instance first, or name one that is free",
        "IncorrectState" if said.contains("snapshot") => "wait until the snapshot is completed, or name one that is",
        "IncorrectState" if said.contains("not 'running'") => "wait until this instance is running",
        "IncorrectState" => "wait until the volume is available: `aws ec2 describe-volumes --volume-ids ID` shows its state",
        "IncorrectInstanceState" => "wait until this instance is running",
        "InvalidAttachment.NotFound" => "see where the volume is attached with `aws ec2 describe-volumes --volume-ids ID`",
        "EncryptedVolumesNotSupported" => "use an instance type that supports EBS encryption, or a volume without it",
        "UnsupportedOperation" => "correct the document: this type of instance or volume does not support what the message names",
        "InvalidParameterCombination" => "correct the fields that the message names: this volume type does not accept them together",
        "InvalidParameterValue" if said.contains("already in use") => "give the volume a device name that is free, or none",
        "InvalidParameterValue" if said.contains("smaller than") => "ask for at least the size of the snapshot",
        "IdempotentParameterMismatch" => {
            "boot with the document that first asked for this volume, or delete the volume that was created then"
        }
        "InvalidSnapshot.NotFound" => "name a snapshot in this region that this account owns or that is shared with it",
        "InvalidVolume.NotFound" => "name a volume of this account and region",
        "InvalidAllocationID.NotFound" | "InvalidAllocationID.Malformed" => {
            "name an elastic IP address of this account and region by its allocation ID: `aws ec2 describe-addresses` shows it"
        }
        "AuthFailure" if said.contains("belong to you") => {
            "name an elastic IP address of this account: it cannot be moved between accounts"
        }
        "OperationNotPermitted" if said.contains("address") || said.contains("interface") => {
            "name an address that no NAT gateway or load balancer uses: AWS does not move those away"
        }
        "TagLimitExceeded" => "use fewer tags: a resource can have at most 50",
        "TagPolicyViolation" => "add the tags that the organization's tag policy requires",
        "OptInRequired" => "enable this region for the account",
        _ => return None,
    })
}

/// Whether a retry may help, where the kind of the error does not decide it.
pub(super) fn is_transient(error: &AwsError) -> bool {
    matches!(error.code.as_str(), "InsufficientVolumeCapacity" | "ConcurrentTagAccess") || is_held(error)
}

/// Whether something else holds the address. AWS gives this answer for an address that a NAT gateway or a load balancer
/// holds, and for some minutes for one whose holder is being replaced.
///
/// Source: <https://github.com/hashicorp/terraform-provider-aws/issues/3572>,
/// <https://github.com/AndrewGuenther/fck-nat/issues/122>.
fn is_held(error: &AwsError) -> bool {
    let is_refused = error.operation == "AssociateAddress" && error.code == "AuthFailure";
    is_refused && error.what.to_ascii_lowercase().contains("permission")
}

/// The hint for the permission that EC2's message names: "… is not authorized to perform: ec2:CreateTags on resource:
/// arn:aws:ec2:… because …".
fn missing_permission(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("not authorized to perform: ")?;
    let (action, rest) = rest.split_once(" on resource: ")?;
    let (resource, because) = rest.split_once(' ').unwrap_or((rest, ""));
    if because.contains("explicit deny") {
        return Some(format!("remove the deny of {action} on {resource} from the policy that the message names"));
    }
    let key = if action.starts_with("kms:") { " and in the key's policy" } else { "" };
    Some(format!("allow {action} on {resource} in the instance's role{key}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::client::call::Call;
    use crate::aws::ec2::SERVICE;
    use crate::failure::Failure;

    fn error(operation: &'static str, code: &str, message: &str) -> AwsError {
        Call::new(SERVICE, operation, "vol-1").refused(Some(code), Some(message), Some(400))
    }

    fn hint(operation: &'static str, code: &str, message: &str) -> String {
        error(operation, code, message).hint().unwrap()
    }

    #[test]
    fn names_the_permission_that_is_missing() {
        let message = "You are not authorized to perform this operation. User: arn:aws:sts::1:assumed-role/shop/i-0 is not authorized to \
                       perform: ec2:CreateTags on resource: arn:aws:ec2:eu-west-1:1:volume/* because no identity-based policy allows the \
                       ec2:CreateTags action. Encoded authorization failure message: abc";
        let allow = "allow ec2:CreateTags on arn:aws:ec2:eu-west-1:1:volume/* in the instance's role";
        assert_eq!(hint("CreateVolume", "UnauthorizedOperation", message), allow);
        let message = "User: a is not authorized to perform: kms:CreateGrant on resource: arn:aws:kms:eu-west-1:1:key/2 because …";
        let allow = "allow kms:CreateGrant on arn:aws:kms:eu-west-1:1:key/2 in the instance's role and in the key's policy";
        assert_eq!(hint("CreateVolume", "UnauthorizedOperation", message), allow);

        let silent = "You are not authorized to perform this operation.";
        let table = [
            ("DescribeVolumes", "allow ec2:DescribeVolumes on * in the instance's role"),
            ("CreateVolume", "allow ec2:CreateVolume on volumes and snapshots, and ec2:CreateTags on volumes, in the instance's role"),
            ("AttachVolume", "allow ec2:AttachVolume on vol-1 and on this instance in the instance's role"),
            ("CreateTags", "allow ec2:CreateTags on vol-1 in the instance's role"),
        ];
        for (operation, hinted) in table {
            assert_eq!(hint(operation, "UnauthorizedOperation", silent), hinted);
        }
    }

    #[test]
    fn a_deny_is_not_to_be_allowed() {
        let message =
            "User: a is not authorized to perform: ec2:CreateVolume on resource: arn:x with an explicit deny in a service control policy";
        assert!(hint("CreateVolume", "UnauthorizedOperation", message).starts_with("remove the deny of ec2:CreateVolume on arn:x"));
    }

    #[test]
    fn what_can_be_done_is_said_by_code() {
        let table = [
            ("VolumeLimitExceeded", "", "delete unused volumes"),
            ("MaxIOPSLimitExceeded", "", "ask for fewer `iops:`"),
            ("AttachmentLimitExceeded", "", "use an instance type that supports more volumes"),
            ("InsufficientVolumeCapacity", "", "ask for another volume type"),
            ("InvalidVolume.ZoneMismatch", "", "name a volume in this instance's zone"),
            ("VolumeInUse", "vol-1 is already attached to an instance", "detach the volume from the other instance"),
            ("IncorrectState", "vol-1 is not 'available'.", "wait until the volume is available"),
            ("IncorrectState", "Instance 'i-0' is not 'running'.", "wait until this instance is running"),
            ("IncorrectState", "Snapshot is in invalid state - pending", "wait until the snapshot is completed"),
            ("UnsupportedOperation", "", "correct the document"),
            ("InvalidParameterCombination", "", "correct the fields"),
            ("InvalidParameterValue", "Attachment point /dev/sdf is already in use", "give the volume a device name that is free"),
            ("InvalidParameterValue", "size is odd", "correct in the document what the message names"),
            ("InvalidSnapshot.NotFound", "", "name a snapshot in this region"),
            ("InvalidKmsKey.InvalidState", "", "enable the volume's KMS key"),
            ("QuotaExceeded", "The cumulative volume initialization rate is reached", "ask for a lower initialization rate"),
            ("RequestLimitExceeded", "", "raise the account's quota for CreateVolume"),
            ("InvalidAllocationID.NotFound", "", "name an elastic IP address of this account"),
            ("AuthFailure", "The address 'eipalloc-1' does not belong to you.", "name an elastic IP address of this account"),
            ("SomethingNew", "", "correct in the document what the message names"),
        ];
        for (code, message, begins) in table {
            let hinted = hint("CreateVolume", code, message);
            assert!(hinted.starts_with(begins), "{code}: {hinted}");
        }
    }

    #[test]
    fn an_address_may_be_let_go() {
        let held = error("AssociateAddress", "AuthFailure", "You do not have permission to access the specified resource.");
        assert_eq!(held.to_string(), "AssociateAddress vol-1: access denied: You do not have permission to access the specified resource.");
        assert!(held.hint().unwrap().starts_with("disassociate the address from its resource"), "{:?}", held.hint());
        assert!(held.is_transient());
        let foreign = error("AssociateAddress", "AuthFailure", "The address 'eipalloc-1' does not belong to you.");
        assert!(!foreign.is_transient());
    }

    #[test]
    fn capacity_may_come_back() {
        assert!(error("CreateVolume", "InsufficientVolumeCapacity", "").is_transient());
        assert!(!error("CreateVolume", "VolumeLimitExceeded", "").is_transient());
    }
}
