//! One call to AWS, and how a failure in any layer becomes an [`AwsError`].

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;

use super::classify::{bare, kind, readable};
use super::connection::PlaceError;
use super::credentials_failure::CredentialsFailure;
use super::error::{AwsError, AwsErrorKind, Service};
use super::http::{HttpError, certificate_refusal, reason};

/// One call, as its errors describe it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) service: &'static Service,
    pub(crate) operation: &'static str,
    pub(crate) resource: String,
}

impl Call {
    pub(crate) fn new(service: &'static Service, operation: &'static str, resource: impl Into<String>) -> Self {
        Self { service, operation, resource: resource.into() }
    }

    pub(crate) fn error(&self, kind: AwsErrorKind, what: impl Into<Box<str>>) -> AwsError {
        let Self { service, operation, resource } = self.clone();
        AwsError { operation, service, resource, what: what.into(), kind, code: String::new(), retry_after: None, paced: false }
    }

    /// The error of a call that could not start, because its endpoint or region is not known.
    pub(crate) fn unplaced(&self, error: PlaceError) -> AwsError {
        let kind = match &error {
            PlaceError::Region(error) => CredentialsFailure::Imds(error.clone()).kind(),
            PlaceError::Endpoint(_) => AwsErrorKind::NoEndpoint,
            PlaceError::Partition { .. } => AwsErrorKind::Invalid,
        };
        self.error(kind, error.to_string())
    }

    pub(crate) fn malformed(&self, why: &str) -> AwsError {
        self.error(AwsErrorKind::Malformed, why)
    }

    /// The error of a listing whose pages do not end. Retrying would only read the same pages again.
    pub(crate) fn endless(&self) -> AwsError {
        self.error(AwsErrorKind::Endless, "the pages do not end")
    }

    /// The error of a call that got no complete answer.
    pub(crate) fn unsent(&self, error: &(dyn Error + 'static)) -> AwsError {
        let kind = if find::<CredentialsError>(error).is_some() { AwsErrorKind::NoCredentials } else { AwsErrorKind::Unreachable };
        self.known(error).unwrap_or_else(|| self.error(kind, reason(error)))
    }

    /// The error of a call that was stopped by one of our own errors, or by the server's certificate.
    fn known(&self, error: &(dyn Error + 'static)) -> Option<AwsError> {
        if let Some(failure) = find::<CredentialsFailure>(error) {
            return Some(self.error(failure.kind(), format!("no credentials: {failure}")));
        }
        if let Some(failure) = find::<HttpError>(error) {
            return Some(self.error(AwsErrorKind::Untrusted, failure.to_string()));
        }
        certificate_refusal(error).map(|kind| match kind {
            AwsErrorKind::Untimely => {
                self.error(kind, format!("according to this machine's clock, its certificate is not valid now: {}", reason(error)))
            }
            _ => self.error(kind, reason(error)),
        })
    }

    /// The error that AWS names by `code`, for a whole call or for one secret in a batch.
    pub(crate) fn refused(&self, code: Option<&str>, message: Option<&str>, status: Option<u16>) -> AwsError {
        let code = code.map(bare).filter(|code| !code.is_empty());
        let message = message.map(readable).filter(|message| !message.is_empty());
        let kind = kind(code, message, status);
        let what = match kind {
            AwsErrorKind::Denied => "access denied",
            AwsErrorKind::KmsDenied => "it cannot be decrypted",
            AwsErrorKind::NotFound => "not found",
            AwsErrorKind::Throttled => "throttled",
            AwsErrorKind::Expired => "the credentials or the signature were not accepted",
            AwsErrorKind::Unreachable | AwsErrorKind::Untimely => "AWS failed to process it",
            AwsErrorKind::RoleRefused
            | AwsErrorKind::NoCredentials
            | AwsErrorKind::NoEndpoint
            | AwsErrorKind::Untrusted
            | AwsErrorKind::Invalid => "the request was not accepted",
            AwsErrorKind::Malformed | AwsErrorKind::Endless => "the response cannot be understood",
        };
        let said = match (message, code, status) {
            (Some(message), _, _) => format!("{what}: {message}"),
            (None, Some(code), _) => format!("{what} ({code})"),
            (None, None, Some(status)) => format!("{what} (status {status})"),
            (None, None, None) => what.into(),
        };
        AwsError { code: code.unwrap_or_default().into(), ..self.error(kind, said) }
    }
}

/// The first error of type `T` in the chain.
fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSM: &Service = &Service::plain("ssm");
    const EC2: &Service = &Service::plain("ec2");

    #[test]
    fn says_what_aws_said() {
        let call = Call::new(SSM, "GetParameters", "/prod/token");
        let error = call.refused(Some("AccessDeniedException"), Some("no identity-based policy allows it"), Some(400));
        assert_eq!(error.to_string(), "GetParameters /prod/token: access denied: no identity-based policy allows it");
        assert_eq!(error.code, "AccessDeniedException");
        assert_eq!(call.refused(None, None, Some(503)).to_string(), "GetParameters /prod/token: AWS failed to process it (status 503)");
    }

    #[test]
    fn knows_the_codes_of_ec2() {
        use AwsErrorKind::*;
        let table = [
            ("UnauthorizedOperation", "You are not authorized to perform this operation.", Denied),
            ("AuthFailure", "AWS was not able to validate the provided access credentials", Expired),
            ("AuthFailure", "Not authorized for images: [ami-0]", Denied),
            ("AuthFailure", "You do not have permission to access the specified resource.", Denied),
            ("RequestLimitExceeded", "Request limit exceeded.", Throttled),
            ("Client.RequestLimitExceeded", "Request limit exceeded.", Throttled),
            ("InvalidSnapshot.NotFound", "The snapshot 'snap-0' does not exist.", NotFound),
            ("InvalidVolumeID.Malformed", "", Invalid),
            ("InvalidKmsKey.InvalidState", "", KmsDenied),
            ("KMSKeyNotAccessibleFault", "", KmsDenied),
            ("VolumeInUse", "vol-0 is already attached to an instance", Invalid),
            ("Server.InternalError", "", Unreachable),
        ];
        for (code, message, expected) in table {
            let error = Call::new(EC2, "CreateVolume", "x").refused(Some(code), Some(message), Some(400));
            assert_eq!(error.kind, expected, "{code}");
            assert!(code.ends_with(&error.code) && !error.code.is_empty(), "{code}: {}", error.code);
        }
    }

    #[test]
    fn an_encoded_message_is_nobodys_reading() {
        let message =
            "You are not authorized to perform this operation. Encoded authorization failure message: 4GIOHlTkIaWHQD0Q0m6XSnuUMCm-abcdef";
        let error = Call::new(EC2, "CreateVolume", "snap-0").refused(Some("UnauthorizedOperation"), Some(message), Some(403));
        assert_eq!(error.to_string(), "CreateVolume snap-0: access denied: You are not authorized to perform this operation.");
    }
}
