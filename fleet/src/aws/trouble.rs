//! Why a call to AWS failed, in words that an operator can act on.
//!
//! Codes: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::exit::Exit;
use crate::failure::{Failure, chain};

/// What to do where nobody is logged in.
pub(super) const LOG_IN: &str = "log in with `aws sso login`, or name a profile in AWS_PROFILE; `aws sts get-caller-identity` must work";

/// Codes of credentials that were valid once.
const IS_OVER: [&str; 4] = ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"];

/// Codes that are of who asks, and not of what is asked for.
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

const AGAIN: &str = "run it again in a minute: what was done counts";

/// Whether a code says that there were too many calls, or that a service is too busy.
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

/// A call, for messages.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// As IAM calls it.
    pub(super) action: &'static str,
    /// In words, such as "write".
    pub(super) doing: &'static str,
    /// A URL of S3, a service, or something of one in words.
    pub(super) on: String,
    /// The region that is called.
    pub(super) region: &'a str,
}

/// What came of a call that failed.
#[derive(Debug)]
pub(super) enum Trouble {
    Answer {
        status: u16,
        code: String,
        message: String,
        /// Where S3 says that the bucket is.
        region: Option<String>,
    },
    /// No answer.
    Silence(String),
    /// An answer that is none of AWS's, or not all of one.
    Strange(String),
    Credentials(String),
    /// The call could not be made.
    Own(String),
}

/// What is known of an error of the SDK.
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

/// So much of an answer is shown that cannot be read, in characters: enough to see whose it is.
const SHOWN: usize = 60;

/// What came in place of an answer.
pub(super) fn came(status: u16, kind: &str, body: &[u8]) -> String {
    let kind = kind.split(';').next().filter(|kind| !kind.is_empty()).unwrap_or("no Content-Type");
    let text = String::from_utf8_lossy(body);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let begin: String = words.chars().take(SHOWN).collect();
    let more = if words.chars().count() > SHOWN { "…" } else { "" };
    match body.len() {
        0 => format!("status {status}, and nothing with it"),
        length => format!("status {status}, {kind}, {length} bytes: `{begin}{more}`"),
    }
}

/// Whether an answer is none of AWS's: all of these but for HEAD have a code. A service that is overloaded says so in whatever
/// words.
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

/// What to say where no credentials could be found.
pub(super) fn no_credentials(error: &CredentialsError) -> Failure {
    match error {
        // What it says besides is a list of all places that there are.
        CredentialsError::CredentialsNotLoaded(_) => Failure::new(Exit::Failed, "there are no credentials"),
        _ => Failure::new(Exit::Failed, "the credentials cannot be loaded").because(error),
    }
    .hint(LOG_IN)
}

impl Trouble {
    /// Whether the answer has one of these codes. HEAD has no body, hence no code: its status tells.
    pub(super) fn has(&self, codes: &[&str]) -> bool {
        matches!(self, Self::Answer { code, .. } if codes.contains(&code.as_str()))
    }

    /// Whether the answer's message has these words. CloudFormation has one code for much.
    pub(super) fn says(&self, words: &str) -> bool {
        matches!(self, Self::Answer { message, .. } if message.contains(words))
    }

    /// What AWS says, in its words.
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
                .why(format!("AWS gave no answer: {why}"))
                .hint("look at the network and at AWS's health, and run it again"),
            Self::Strange(what) => Failure::new(Exit::Unreachable, message)
                .why(format!("what came is no answer of AWS that can be read: {what}"))
                .hint("look at what is between here and AWS, such as a proxy or a log-in page, and at AWS_ENDPOINT_URL; then run it again"),
            Self::Credentials(why) => Failure::new(Exit::Failed, message).why(why).hint(LOG_IN).passing(),
            Self::Own(why) => Failure::new(Exit::Failed, message).why(why),
            Self::Answer { region: Some(other), .. } if other != **region => Failure::new(Exit::Failed, message)
                .why(format!("its bucket is in {other}, and calls go to {region}"))
                .hint(format!("set AWS_REGION={other}; the environments of a bucket are in its region")),
            Self::Answer { status, code, message: said, .. } => answered(call, message, status, &code, &said),
        }
    }
}

fn answered(call: &Call<'_>, message: String, status: u16, code: &str, said: &str) -> Failure {
    let Call { action, on, region, .. } = call;
    let why = match (code, said) {
        ("", _) => format!("AWS answers with status {status}"),
        (code, "") => code.to_owned(),
        (code, said) => format!("{code}: {said}"),
    };
    let (exit, hint) = match (code, status) {
        ("NoSuchBucket", _) => (Exit::Document, "correct `releases:` in fleet.yaml; the stack ingot-account makes the bucket".to_owned()),
        ("PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _) => {
            (Exit::Failed, "the bucket is in another region: find it with `aws s3api get-bucket-location`, and set AWS_REGION".to_owned())
        }
        (code, _) if IS_OVER.contains(&code) => (Exit::Failed, format!("the credentials are over: {LOG_IN}")),
        // EC2's word for all of these.
        ("AuthFailure", _) => (Exit::Failed, format!("the credentials are not valid, or the clock of this machine is wrong: {LOG_IN}")),
        ("OptInRequired", _) => (Exit::Failed, format!("open the region {region} and the service for this account in the console")),
        ("InvalidAccessKeyId" | "InvalidToken" | "InvalidClientTokenId" | "SignatureDoesNotMatch" | "UnrecognizedClientException", _) => {
            (Exit::Failed, format!("the credentials are not valid: {LOG_IN}"))
        }
        ("RequestTimeTooSkewed", _) => (Exit::Failed, "set the clock of this machine".to_owned()),
        ("BadDigest" | "XAmzContentSHA256Mismatch", _) => (Exit::Failed, "run it again while nothing writes to the file".to_owned()),
        ("EntityTooLarge", _) => (Exit::Failed, "make the release smaller: S3 does not take it".to_owned()),
        (_, 429 | 500..) => (Exit::Unreachable, AGAIN.to_owned()),
        (code, _) if is_throttling(code) => (Exit::Unreachable, AGAIN.to_owned()),
        (code, _) if code.starts_with("KMS.") || said.contains("kms:") => {
            (Exit::Failed, "allow kms:GenerateDataKey and kms:Decrypt on the bucket's key in your role and in the key's policy".to_owned())
        }
        ("AccessDenied" | "AccessDeniedException" | "AllAccessDisabled" | "Forbidden", _) | (_, 401 | 403) => {
            (Exit::Failed, denied(action, on))
        }
        _ => (Exit::Failed, "look at what AWS says; `--help` shows what is asked of it".to_owned()),
    };
    let failure = Failure::new(exit, message).why(why).hint(hint);
    match code {
        code if IS_OVER.contains(&code) => failure.passing(),
        _ if IS_OF_RIGHTS.contains(&code) || matches!(status, 401 | 403) => failure.of_rights(),
        _ => failure,
    }
}

/// What right is missing.
fn denied(action: &str, on: &str) -> String {
    if action.starts_with("ec2:Describe") {
        return format!("allow {action} with Resource \"*\", as the policy Reader of ingot-account does");
    }
    if action == "cloudformation:DeleteStack" {
        return "take a role with the policy BreakGlass of ingot-account, and log in with MFA: Deployer does not delete environments"
            .into();
    }
    if !action.starts_with("s3:") && !action.starts_with("sts:") {
        return format!(
            "allow {action} on {on}, as the policies Deployer and Reader of ingot-account do for roles with the tag ingot-application"
        );
    }
    let arn = format!("arn:aws:s3:::{}", on.trim_start_matches("s3://"));
    match action {
        "s3:GetObject" => {
            format!("allow s3:GetObject on {arn}, and s3:ListBucket on its bucket: without it, S3 does not say what is not there")
        }
        "s3:ListBucket" | "s3:ListBucketVersions" => {
            format!("allow {action} on the bucket: the policies Reader and Deployer of ingot-account have s3:ListBucket")
        }
        "s3:DeleteObject" | "s3:DeleteObjectVersion" => format!(
            "releases are deleted by the roles in PrunerArns of the stack ingot-account alone: add yours there, and allow {action} on {arn} to it"
        ),
        "sts:GetCallerIdentity" => "allow sts:GetCallerIdentity, which nothing but an explicit deny takes away".into(),
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
    fn each_refusal_has_its_way_out() {
        for (status, code, exit, hint) in [
            (404, "NoSuchBucket", Exit::Document, "correct `releases:`"),
            (403, "AccessDenied", Exit::Failed, "allow s3:PutObject on arn:aws:s3:::acme/shop/releases/v1.json"),
            (403, "", Exit::Failed, "allow s3:PutObject"),
            // Services with JSON for a protocol, such as Systems Manager.
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
        assert!(exit == Exit::Failed && text.contains("in us-east-1, and calls go to eu-central-1"), "{text}");
        let (_, text) = told(403, "AccessDenied", "Access Denied", Some("eu-central-1"), "s3:DeleteObjectVersion");
        let (_, deleting) = told(403, "AccessDenied", "", None, "cloudformation:DeleteStack");
        assert!(deleting.contains("BreakGlass") && deleting.contains("MFA"), "{deleting}");
        assert!(text.contains("PrunerArns") && text.contains("allow s3:DeleteObjectVersion on arn:aws:s3:::acme/shop"), "{text}");
    }

    #[test]
    fn what_came_in_place_of_an_answer_is_shown() {
        let page = b"<!DOCTYPE html>\n<html><head>\n<title>Log in to the guest network of Acme</title></head></html>";
        assert_eq!(
            came(200, "text/html; charset=utf-8", page),
            "status 200, text/html, 93 bytes: `<!DOCTYPE html> <html><head> <title>Log in to the guest netw…`"
        );
        assert_eq!(came(200, "", b"ok"), "status 200, no Content-Type, 2 bytes: `ok`");
        assert_eq!(came(302, "text/html", b""), "status 302, and nothing with it");
    }
}
