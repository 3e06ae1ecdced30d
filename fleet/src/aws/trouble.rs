//! Turns failed AWS calls into messages and hints that an operator can act on.
//!
//! Codes: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::exit::Exit;
use crate::failure::{Failure, chain};

/// Hint if there are no valid credentials.
pub(super) const LOG_IN: &str = "log in with `aws sso login`, or name a profile in AWS_PROFILE; `aws sts get-caller-identity` must work";

/// Codes for expired credentials.
const IS_OVER: [&str; 4] = ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"];

/// Codes that concern the caller, not the request.
const IS_OF_RIGHTS: [&str; 10] = [
    "AccessDenied",
    "AccessDeniedException",
    "AllAccessDisabled",
    "AuthFailure",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

const AGAIN: &str = "run the same command again in a minute: it continues where it stopped";

/// The hint for an object that must not be deleted, but was. CloudTrail records this only with data events for S3.
pub(super) fn who_deleted(bucket: &str) -> String {
    format!("look up DeleteObject in the CloudTrail data events of the bucket {bucket} to see who deletes its objects")
}

/// Returns whether a code means that the call was throttled or the service is overloaded.
pub(super) fn is_throttling(code: &str) -> bool {
    [
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "ServiceUnavailable",
        "Unavailable",
    ]
    .contains(&code)
}

/// A call as messages describe it.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// The IAM action.
    pub(super) action: &'static str,
    /// The verb of the message, such as "write".
    pub(super) doing: &'static str,
    /// The object of the message: an s3:// URL, or words.
    pub(super) on: String,
    /// The region of the call.
    pub(super) region: &'a str,
}

/// How a call failed.
#[derive(Debug)]
pub(super) enum Trouble {
    Answer {
        status: u16,
        code: String,
        message: String,
        /// The bucket's region, according to S3.
        region: Option<String>,
    },
    /// No answer.
    Silence(String),
    /// A response that is not from AWS, or is incomplete.
    Strange(String),
    Credentials(String),
    /// The call could not be made.
    Own(String),
}

/// Classifies an error of the SDK.
pub(super) fn of<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E, HttpResponse>) -> Trouble {
    let answered = error.raw_response();
    if let Some(answer) = answered
        && matches!(error, SdkError::ServiceError(_))
        && !is_strange(answer, error.code())
    {
        let region = answer.headers().get("x-amz-bucket-region").map(str::to_owned);
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        return Trouble::Answer { status: answer.status().as_u16(), code: text(error.code()), message: text(error.message()), region };
    }
    let cause = error.source().map_or_else(|| error.to_string(), chain);
    if let Some(answer) = answered
        && let Some(body) = answer.body().bytes()
    {
        let kind = answer.headers().get("content-type").unwrap_or_default();
        return Trouble::Strange(came(answer.status().as_u16(), kind, body));
    }
    match error {
        _ if is_of_credentials(error) => Trouble::Credentials(cause),
        SdkError::ConstructionFailure(_) => Trouble::Own(cause),
        _ => Trouble::Silence(cause),
    }
}

/// How many characters of an unreadable answer are shown: enough to recognize its sender.
const SHOWN: usize = 60;

/// Describes a response that is not AWS's.
pub(super) fn came(status: u16, kind: &str, body: &[u8]) -> String {
    let kind = kind.split(';').next().filter(|kind| !kind.is_empty()).unwrap_or("no Content-Type");
    let text = String::from_utf8_lossy(body);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let begin: String = words.chars().take(SHOWN).collect();
    let more = if words.chars().count() > SHOWN { "…" } else { "" };
    match body.len() {
        0 => format!("status {status} without a body"),
        length => format!("status {status}, {kind}, {length} bytes: `{begin}{more}`"),
    }
}

/// Returns whether a response is not from AWS. AWS's error responses carry a code, except those to HEAD; an overloaded
/// service may answer in any format.
fn is_strange(answer: &HttpResponse, code: Option<&str>) -> bool {
    let status = answer.status().as_u16();
    code.is_none() && status < 500 && status != 429 && answer.body().bytes().is_some_and(|body| !body.is_empty())
}

fn is_of_credentials(error: &(dyn Error + 'static)) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        if cause.is::<CredentialsError>() {
            return true;
        }
        next = cause.source();
    }
    false
}

/// The failure if no credentials could be loaded.
pub(super) fn no_credentials(error: &CredentialsError) -> Failure {
    match error {
        // The SDK's own message lists every place it searched.
        CredentialsError::CredentialsNotLoaded(_) => Failure::new(Exit::Failed, "no credentials were found"),
        _ => Failure::new(Exit::Failed, "the credentials cannot be loaded").because(error),
    }
    .hint(LOG_IN)
}

impl Trouble {
    /// Returns whether the answer has one of these codes. An answer to HEAD has no body and no code: check its status
    /// instead.
    pub(super) fn has(&self, codes: &[&str]) -> bool {
        matches!(self, Self::Answer { code, .. } if codes.contains(&code.as_str()))
    }

    /// Returns whether the answer's message contains these words. CloudFormation uses one code for many errors.
    pub(super) fn says(&self, words: &str) -> bool {
        matches!(self, Self::Answer { message, .. } if message.contains(words))
    }

    /// Returns AWS's own message.
    pub(super) fn message(&self) -> &str {
        if let Self::Answer { message, .. } = self { message } else { "" }
    }

    pub(super) fn status(&self) -> Option<u16> {
        if let Self::Answer { status, .. } = self { Some(*status) } else { None }
    }

    pub(super) fn failure(self, call: &Call<'_>) -> Failure {
        let Call { doing, on, region, .. } = call;
        let message = format!("cannot {doing} {on}");
        match self {
            Self::Silence(why) => Failure::new(Exit::Unreachable, message)
                .why(format!("AWS sent no response: {why}"))
                .hint("check the network and the AWS Health Dashboard, then run the same command again"),
            Self::Strange(what) => {
                Failure::new(Exit::Unreachable, message).why(format!("the response is not a valid AWS response: {what}")).hint(
                    "check AWS_ENDPOINT_URL and what is between this machine and AWS, such as a proxy or a log-in page; then run the same command again",
                )
            }
            Self::Credentials(why) => Failure::new(Exit::Failed, message).why(why).hint(LOG_IN).passing(),
            Self::Own(why) => Failure::new(Exit::Failed, message).why(why),
            Self::Answer { region: Some(other), .. } if other != **region => Failure::new(Exit::Failed, message)
                .why(format!("its bucket is in {other}, but calls go to {region}"))
                .hint(format!("set AWS_REGION={other}: environments must be in the region of their bucket")),
            Self::Answer { status, code, message: said, .. } => answered(call, message, status, &code, &said),
        }
    }
}

fn answered(call: &Call<'_>, message: String, status: u16, code: &str, said: &str) -> Failure {
    let Call { action, on, region, .. } = call;
    let why = match (code, said) {
        ("", _) => format!("AWS answered with status {status}"),
        (code, "") => code.to_owned(),
        (code, said) => format!("{code}: {said}"),
    };
    let (exit, hint) = match (code, status) {
        ("NoSuchBucket", _) => (Exit::Document, "correct `releases:` in fleet.yaml; the stack ingot-account creates the bucket".to_owned()),
        ("PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _) => (
            Exit::Failed,
            "the bucket is in another region: find it with `aws s3api get-bucket-location --bucket BUCKET`, and set AWS_REGION".to_owned(),
        ),
        (code, _) if IS_OVER.contains(&code) => (Exit::Failed, format!("the credentials have expired: {LOG_IN}")),
        // EC2 uses this code for invalid credentials and for a wrong clock.
        ("AuthFailure", _) => (Exit::Failed, format!("the credentials are not valid, or the clock of this machine is wrong: {LOG_IN}")),
        ("OptInRequired", _) => (Exit::Failed, format!("enable the region {region} and the service for this account in the console")),
        ("InvalidAccessKeyId" | "InvalidToken" | "InvalidClientTokenId" | "SignatureDoesNotMatch" | "UnrecognizedClientException", _) => {
            (Exit::Failed, format!("the credentials are not valid: {LOG_IN}"))
        }
        ("RequestTimeTooSkewed", _) => (Exit::Failed, "set the clock of this machine".to_owned()),
        ("BadDigest" | "XAmzContentSHA256Mismatch", _) => {
            (Exit::Failed, "run the same command again while nothing writes to the file".to_owned())
        }
        ("EntityTooLarge", _) => (Exit::Failed, "make the release smaller: it exceeds the size limit of S3".to_owned()),
        (_, 429 | 500..) => (Exit::Unreachable, AGAIN.to_owned()),
        (code, _) if is_throttling(code) => (Exit::Unreachable, AGAIN.to_owned()),
        (code, _) if code.starts_with("KMS.") || said.contains("kms:") => {
            (Exit::Failed, "allow kms:GenerateDataKey and kms:Decrypt on the bucket's key in your role and in the key's policy".to_owned())
        }
        ("AccessDenied" | "AccessDeniedException" | "AllAccessDisabled" | "Forbidden", _) | (_, 401 | 403) => {
            (Exit::Failed, denied(action, on))
        }
        _ => (Exit::Failed, "correct the cause that AWS names; `--help` of the command says which permissions it needs".to_owned()),
    };
    let failure = Failure::new(exit, message).why(why).hint(hint);
    match code {
        code if IS_OVER.contains(&code) => failure.passing(),
        _ if IS_OF_RIGHTS.contains(&code) || matches!(status, 401 | 403) => failure.of_rights(),
        _ => failure,
    }
}

/// The hint for a denied call: which permission is missing.
fn denied(action: &str, on: &str) -> String {
    if action.starts_with("ec2:Describe") {
        return format!("allow {action} with Resource \"*\", as the policy Reader of ingot-account does");
    }
    if action == "cloudformation:DeleteStack" {
        return "use a role with the policy BreakGlass of ingot-account, and log in with MFA: Deployer is not allowed to delete environments".into();
    }
    if !action.starts_with("s3:") && !action.starts_with("sts:") {
        return format!(
            "allow {action} on {on}, as the policies Deployer and Reader of ingot-account do for roles with the tag ingot-application"
        );
    }
    let arn = format!("arn:aws:s3:::{}", on.trim_start_matches("s3://"));
    match action {
        "s3:GetObject" => {
            format!("allow s3:GetObject on {arn}, and s3:ListBucket on its bucket: without it, S3 does not report missing objects")
        }
        "s3:ListBucket" | "s3:ListBucketVersions" => {
            format!("allow {action} on the bucket: the policies Reader and Deployer of ingot-account have s3:ListBucket")
        }
        "s3:DeleteObject" | "s3:DeleteObjectVersion" => format!(
            "add your role to PrunerArns of the stack ingot-account, and allow it {action} on {arn}: only these roles may delete releases"
        ),
        "sts:GetCallerIdentity" => {
            "remove the explicit deny of sts:GetCallerIdentity from your policies: every caller has it by default".into()
        }
        _ => format!("allow {action} on {arn}, as the policy Deployer of ingot-account does for roles with the tag ingot-application"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, code: &str, said: &str, region: Option<&str>, action: &'static str) -> (Exit, String) {
        let call = Call { action, doing: "write", on: "s3://acme/shop/releases/v1.json".into(), region: "eu-central-1" };
        let region = region.map(str::to_owned);
        let failure = Trouble::Answer { status, code: code.into(), message: said.into(), region }.failure(&call);
        (failure.exit, failure.to_string())
    }

    #[test]
    fn each_refusal_has_its_hint() {
        for (status, code, exit, hint) in [
            (404, "NoSuchBucket", Exit::Document, "correct `releases:`"),
            (403, "AccessDenied", Exit::Failed, "allow s3:PutObject on arn:aws:s3:::acme/shop/releases/v1.json"),
            (403, "", Exit::Failed, "allow s3:PutObject"),
            // Services with a JSON protocol, such as Systems Manager.
            (400, "AccessDeniedException", Exit::Failed, "allow s3:PutObject"),
            (400, "ExpiredToken", Exit::Failed, "aws sso login"),
            (403, "InvalidAccessKeyId", Exit::Failed, "not valid"),
            (503, "SlowDown", Exit::Unreachable, "again in a minute"),
            (500, "InternalError", Exit::Unreachable, "again in a minute"),
            (301, "PermanentRedirect", Exit::Failed, "get-bucket-location"),
            (403, "RequestTimeTooSkewed", Exit::Failed, "set the clock"),
        ] {
            let (found, text) = told(status, code, "", None, "s3:PutObject");
            assert!(found == exit && text.contains(hint), "{code}: {text}");
        }
        for (status, code, is_of_rights) in
            [(400, "AccessDenied", true), (403, "", true), (400, "InvalidClientTokenId", true), (400, "ValidationError", false)]
        {
            let call = Call { action: "cloudformation:UpdateStack", doing: "update", on: "shop-prod".into(), region: "eu-central-1" };
            let trouble = Trouble::Answer { status, code: code.into(), message: String::new(), region: None };
            assert_eq!(trouble.failure(&call).is_of_rights(), is_of_rights, "{code}");
        }
        let (exit, text) = told(400, "AuthorizationHeaderMalformed", "", Some("us-east-1"), "s3:PutObject");
        assert!(exit == Exit::Failed && text.contains("in us-east-1, but calls go to eu-central-1"), "{text}");
        let (_, text) = told(403, "AccessDenied", "Access Denied", Some("eu-central-1"), "s3:DeleteObjectVersion");
        let (_, deleting) = told(403, "AccessDenied", "", None, "cloudformation:DeleteStack");
        assert!(deleting.contains("BreakGlass") && deleting.contains("MFA"), "{deleting}");
        assert!(text.contains("PrunerArns") && text.contains("allow it s3:DeleteObjectVersion on arn:aws:s3:::acme/shop"), "{text}");
    }

    #[test]
    fn a_foreign_response_is_shown() {
        let page = b"<!DOCTYPE html>\n<html><head>\n<title>Log in to the guest network of Acme</title></head></html>";
        assert_eq!(
            came(200, "text/html; charset=utf-8", page),
            "status 200, text/html, 93 bytes: `<!DOCTYPE html> <html><head> <title>Log in to the guest netw…`"
        );
        assert_eq!(came(200, "", b"ok"), "status 200, no Content-Type, 2 bytes: `ok`");
        assert_eq!(came(302, "text/html", b""), "status 302 without a body");
    }
}
