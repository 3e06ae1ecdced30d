//! Hints for the errors of S3 and of plain HTTPS servers.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.

use crate::aws::client::error::{AwsError, AwsErrorKind};

/// The name of a write in IAM.
pub(crate) const PUT: &str = "PutObject";

/// The code that [`get`](super::get) gives to an answer that belongs to another version of the object.
pub(super) const CHANGED: &str = CONDITION;

/// The code of a condition that does not hold.
pub(super) const CONDITION: &str = "PreconditionFailed";

/// The code of an object that does not exist.
pub(super) const NO_KEY: &str = "NoSuchKey";

/// The codes of two concurrent writes of one key, or two concurrent changes of one bucket.
const CONFLICT: &str = "ConditionalRequestConflict";
const ABORTED: &str = "OperationAborted";

/// The code with which an S3-compatible store refuses a feature it lacks.
const UNKNOWN: &str = "NotImplemented";

/// Whether a retry may help, where the kind of the error does not decide it.
pub(super) fn is_transient(error: &AwsError) -> bool {
    matches!(error.code.as_str(), CONFLICT | ABORTED)
}

/// The kind of an error code that only S3 has.
pub(super) fn kind(code: &str, message: &str) -> Option<AwsErrorKind> {
    Some(match code {
        NO_KEY | "NoSuchBucket" | "NoSuchVersion" => AwsErrorKind::NotFound,
        "SlowDown" => AwsErrorKind::Throttled,
        CHANGED => AwsErrorKind::Unreachable,
        // The service is reachable and says what it cannot do, so this is not a transient outage.
        CONFLICT | ABORTED | UNKNOWN => AwsErrorKind::Invalid,
        "InvalidAccessKeyId" => AwsErrorKind::Expired,
        "AccessDenied" if message.contains("kms:") => AwsErrorKind::KmsDenied,
        code if code.starts_with("KMS.") => AwsErrorKind::KmsDenied,
        _ => return None,
    })
}

/// The hint for an error of a plain server.
pub(super) fn hint_of_a_server(error: &AwsError) -> Option<String> {
    let resource = &error.resource;
    Some(match error.kind {
        AwsErrorKind::NotFound => format!("correct the URL in the document, or publish {resource}"),
        AwsErrorKind::Denied => "give a URL that anyone can read, such as a presigned URL that has not expired".into(),
        AwsErrorKind::Throttled => "let fewer instances start at once, or put a copy into S3".into(),
        AwsErrorKind::Unreachable => format!("check the route and the name: run `curl -I {resource}` on a machine of the same subnet"),
        AwsErrorKind::Untrusted => {
            format!(
                "name the certificate of your private CA in AWS_CA_BUNDLE, or see with `curl -v {resource}` which server answers instead"
            )
        }
        _ => format!("check what the server answers with `curl -I {resource}`"),
    })
}

/// The hint for an error of S3; `None` if the common hint applies.
pub(super) fn hint(error: &AwsError) -> Option<String> {
    let (resource, operation) = (&error.resource, error.operation);
    let place = resource.split(" (version").next().unwrap_or_default().trim_start_matches("s3://");
    let (bucket, key) = place.split_once('/').unwrap_or((place, "KEY"));
    let arn = format!("arn:aws:s3:::{place}");
    Some(match (error.code.as_str(), error.kind) {
        ("NoSuchBucket", _) => "correct the bucket's name in the document".into(),
        ("NoSuchVersion", _) => "correct `version_id`: the bucket must still have that version".into(),
        (NO_KEY, _) => format!("upload {resource}, or correct the key in the document"),
        (CONFLICT | ABORTED, _) => "if this persists, look up PutObject in the CloudTrail data events of the bucket: something else \
                                    writes to this key at the same time"
            .into(),
        (UNKNOWN, _) => "use an S3 bucket, or a store that supports If-None-Match and If-Match on writes".into(),
        (CONDITION, _) if operation == PUT => {
            "look up PutObject in the CloudTrail data events of the bucket: something else writes to this key".into()
        }
        (CHANGED, _) => "publish each release under its own key, and never overwrite one".into(),
        ("InvalidObjectState", _) => format!(
            "restore the object from Glacier first: `aws s3api restore-object --bucket {bucket} --key {key} --restore-request Days=7`"
        ),
        ("PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed", _) => {
            format!("find the bucket's region with `aws s3api get-bucket-location --bucket {bucket}`, and unset AWS_ENDPOINT_URL")
        }
        (_, AwsErrorKind::KmsDenied) if operation == PUT => {
            "allow kms:GenerateDataKey and kms:Decrypt on the bucket's key in the instance's role and in the key's policy".into()
        }
        (_, AwsErrorKind::KmsDenied) => "allow kms:Decrypt on the object's key in the instance's role and in the key's policy".into(),
        (_, AwsErrorKind::Denied) if operation == PUT => format!("allow s3:PutObject on {arn} in the instance's role"),
        // Without s3:ListBucket, S3 does not say whether the key exists.
        (_, AwsErrorKind::Denied) => format!(
            "allow s3:{operation} on {arn} in the instance's role; the key may also be missing, which S3 reports only with s3:ListBucket"
        ),
        _ => return None,
    })
}
