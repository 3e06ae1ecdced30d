//! What the codes, messages and headers of a refusal mean, for all services.

use std::time::Duration;

use super::error::AwsErrorKind;

/// The most that is shown of a service's message, in bytes. AWS's own messages are a few hundred bytes; an emulator may
/// send anything.
const LONGEST: usize = 4096;

/// A code without the prefix by which EC2 sometimes says which side is at fault, as in `Client.RequestLimitExceeded`.
pub(super) fn bare(code: &str) -> &str {
    shown(code.strip_prefix("Client.").or_else(|| code.strip_prefix("Server.")).unwrap_or(code))
}

/// A message without what EC2 appends to a denial: kilobytes that only `aws sts decode-authorization-message` can read.
pub(super) fn readable(message: &str) -> &str {
    shown(message.split("Encoded authorization failure message").next().unwrap_or_default().trim())
}

fn shown(said: &str) -> &str {
    &said[..said.floor_char_boundary(LONGEST)]
}

/// How long a `Retry-After` header asks to wait.
pub(crate) fn retry_after(header: Option<&str>) -> Option<Duration> {
    let seconds: u64 = header?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(3600)))
}

/// Decides by AWS's error code and, where the code is ambiguous, by message or status.
///
/// Source: <https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html> and its counterpart for
/// SSM; <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>.
pub(super) fn kind(code: Option<&str>, message: Option<&str>, status: Option<u16>) -> AwsErrorKind {
    let message = message.unwrap_or_default().to_ascii_lowercase();
    match code.unwrap_or_default() {
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyUpdates"
        | "SlowDown"
        | "OverLimit"
        | "KmsThrottled"
        | "KMSThrottlingException" => AwsErrorKind::Throttled,
        "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" | "NotAuthorized" | "UnauthorizedException" => {
            // The name of a secret may contain `kms`, but never `kms:`.
            let speaks_of_kms = ["kms:", "access to kms", "kms key", "ciphertext"].iter().any(|phrase| message.contains(phrase));
            if speaks_of_kms { AwsErrorKind::KmsDenied } else { AwsErrorKind::Denied }
        }
        "DecryptionFailure" | "DecryptionFailureException" | "EncryptionFailure" | "InvalidKeyId" | "CustomerKeyHasBeenRevoked" => {
            AwsErrorKind::KmsDenied
        }
        code if ["KMS", "Kms", "InvalidKmsKey", "InvalidKMSKey"].iter().any(|start| code.starts_with(start)) => AwsErrorKind::KmsDenied,
        "ResourceNotFoundException" | "ParameterNotFound" | "ParameterVersionNotFound" | "NotFoundException" => AwsErrorKind::NotFound,
        "QueueDoesNotExist" => AwsErrorKind::NotFound,
        code if code.ends_with(".NotFound") || code.ends_with(".NonExistentQueue") => AwsErrorKind::NotFound,
        "InvalidRequestException" if message.contains("marked for deletion") || message.contains("scheduled for deletion") => {
            AwsErrorKind::NotFound
        }
        // EC2 also uses this code for a resource: `Not authorized for images`, `You do not have permission to access
        // …`.
        "AuthFailure" if message.contains("authorized") || message.contains("permission") => AwsErrorKind::Denied,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "RequestInTheFuture"
        | "InvalidSecurity.RequestHasExpired"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "AuthFailure" => AwsErrorKind::Expired,
        "MissingAuthenticationToken" | "MissingAuthenticationTokenException" => AwsErrorKind::NoCredentials,
        "InternalServiceError"
        | "InternalServerError"
        | "InternalFailure"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "InternalError"
        | "Unavailable"
        | "RequestTimeout"
        | "RequestTimeoutException" => AwsErrorKind::Unreachable,
        code => by_status(status, code.is_empty()),
    }
}

/// The kind of an error whose code is missing or unknown. AWS names all of its errors, so a nameless one comes from
/// something in between.
fn by_status(status: Option<u16>, is_nameless: bool) -> AwsErrorKind {
    match status {
        Some(429) => AwsErrorKind::Throttled,
        Some(408 | 500..) => AwsErrorKind::Unreachable,
        Some(403) if is_nameless => AwsErrorKind::Denied,
        _ if is_nameless => AwsErrorKind::Malformed,
        _ => AwsErrorKind::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_holds_kms_is_not_a_refusal_of_kms() {
        let message = "User: arn:aws:sts::1:assumed-role/shop/i-0 is not authorized to perform: secretsmanager:GetSecretValue on resource: prod/kms-thing";
        assert_eq!(kind(Some("AccessDeniedException"), Some(message), Some(400)), AwsErrorKind::Denied);
        assert_eq!(kind(Some("AccessDeniedException"), Some("Access to KMS is not allowed"), Some(400)), AwsErrorKind::KmsDenied);
    }

    #[test]
    fn what_a_service_says_is_not_shown_without_an_end() {
        let long = "ü".repeat(LONGEST);
        assert_eq!((readable(&long).len(), bare(&long).len()), (LONGEST, LONGEST));
        assert_eq!(bare("Client.RequestLimitExceeded"), "RequestLimitExceeded");
    }
}
