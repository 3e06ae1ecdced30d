//! The real SDK types against raw answers: how each answer is read, and what is sent.

use aws_credential_types::Credentials;
use futures_util::future::join_all;

use crate::aws::client::error::{AwsError, AwsErrorKind};
use crate::aws::imds::Patience;
use crate::aws::loopback::{Loopback, Reply, Request};
use crate::aws::metadata::{Identity, ImdsError};
use crate::aws::secrets_manager::{SecretRequest, SecretValue, SecretVersion};
use crate::aws::ssm::ParameterValue;
use crate::failure::Failure;
use crate::fake::aws::{FakeEc2, FakeMetadata, FakeRds};
use crate::fake::machine::FakeMachine;
use crate::text::SecretText;

use super::*;

fn request(id: &str) -> SecretRequest {
    SecretRequest { id: id.into(), version: SecretVersion::Current }
}

fn at(url: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("AWS_ENDPOINT_URL".into(), url.into())])
}

fn others() -> Services {
    let machine = FakeMachine::new_instance();
    let rds = Rc::new(FakeRds::new(machine.clone(), "eu-west-1"));
    crate::fake::aws::services(Rc::new(FakeEc2::new(machine, "eu-west-1a")), rds)
}

fn aws(url: &str) -> Aws {
    let credentials = Credentials::new("AKIA", "secret", None, None, "test");
    Aws::of_caller(Connection::of_caller(Http::new(None), credentials, "eu-west-1".into(), at(url)), others())
}

fn action(request: &Request) -> &str {
    request.header("x-amz-target").and_then(|target| target.split_once('.')).map_or("", |(_, action)| action)
}

async fn refused_with(status: u16, code: &str, message: &str) -> AwsError {
    let body = format!(r#"{{"__type": "{code}", "message": "{message}"}}"#);
    let server = Loopback::serve(move |_| Reply::new(status, body.clone()));
    aws(&server.url).secrets.get(&request("prod/db")).await.unwrap_err()
}

/// AWS says whose policy denies the call, and that a secret is deleted; a hint that ignores this could not be followed.
#[tokio::test]
async fn a_refusal_says_what_to_change() {
    let user =
        "User: arn:aws:sts::1:assumed-role/shop/i-0 is not authorized to perform: secretsmanager:GetSecretValue on resource: prod/db";
    for (code, more, hint) in [
        ("AccessDeniedException", "because no identity-based policy allows the action", "in the instance's role"),
        ("AccessDeniedException", "with an explicit deny in a resource-based policy", "exempt the instance's role from the explicit deny"),
        ("AccessDeniedException", "because no resource-based policy allows the action", "in the policy of the resource itself"),
        ("AccessDeniedException", "with an explicit deny in a service control policy", "in the organization's service control policy"),
        ("AccessDeniedException", "because no VPC endpoint policy allows the action", "in the policy of the VPC endpoint"),
        ("AccessDeniedException", "because no permissions boundary allows the action", "in the permissions boundary of the role"),
        ("InvalidRequestException", "because it was marked for deletion.", "restore-secret --secret-id prod/db`"),
        ("ResourceNotFoundException", "", "its ARN if it is in another region"),
        ("ResourceNotFoundException", "for staging label: BLUE", "list-secret-version-ids --secret-id prod/db`"),
        (
            "InvalidRequestException",
            "if you encrypt it with the default KMS service key.",
            "encrypt prod/db with a customer managed KMS key",
        ),
    ] {
        let error = refused_with(400, code, &format!("{user} {more}")).await;
        let said = error.hint().unwrap_or_default();
        assert!(said.contains(hint), "{more}: {said}");
    }
}

/// A shell's region may differ from the ARN's, and the secret does not exist in the shell's region.
#[tokio::test]
async fn the_hint_for_an_arn_names_its_region() {
    let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-a1b2c3";
    for (code, message, hint) in [
        (
            "InvalidRequestException",
            "it was marked for deletion.",
            format!("restore it with `aws secretsmanager restore-secret --secret-id {arn} --region eu-west-1`"),
        ),
        ("ResourceNotFoundException", "", format!("create {arn} in eu-west-1")),
    ] {
        let call = crate::aws::client::call::Call::new(crate::aws::secrets_manager::SERVICE, "GetSecretValue", arn);
        let said = call.refused(Some(code), Some(message), Some(400)).hint().unwrap_or_default();
        assert!(said.starts_with(&hint), "{said}");
    }
}

#[tokio::test]
async fn every_refusal_has_its_kind() {
    use AwsErrorKind::*;
    let table = [
        (
            400,
            "AccessDeniedException",
            "User: arn:aws:sts::1:assumed-role/shop/i-0 is not authorized to perform: secretsmanager:GetSecretValue",
            Denied,
        ),
        (400, "AccessDeniedException", "Access to KMS is not allowed", KmsDenied),
        (400, "AccessDeniedException", "not authorized to perform: kms:Decrypt on resource: arn:aws:kms:eu-west-1:1:key/2", KmsDenied),
        (400, "DecryptionFailure", "Secrets Manager can't decrypt the protected secret text", KmsDenied),
        (400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.", NotFound),
        (400, "InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.", NotFound),
        (400, "ThrottlingException", "Rate exceeded", Throttled),
        (400, "com.amazonaws.secretsmanager#TooManyRequestsException", "", Throttled),
        (429, "Whatever", "", Throttled),
        (400, "ExpiredTokenException", "The security token included in the request is expired", Expired),
        (400, "InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than", Expired),
        (400, "RequestExpired", "", Expired),
        (400, "UnrecognizedClientException", "The security token included in the request is invalid.", Expired),
        (500, "InternalServiceError", "", Unreachable),
        (503, "", "", Unreachable),
        (400, "InvalidParameterException", "Invalid name.", Invalid),
        (400, "ValidationException", "too long", Invalid),
    ];
    for (status, code, message, kind) in table {
        let error = refused_with(status, code, message).await;
        assert_eq!(error.kind, kind, "{code}: {error}");
        assert!(error.to_string().starts_with("GetSecretValue prod/db: ") && error.to_string().contains(message), "{error}");
        assert_eq!(error.is_transient(), matches!(kind, Throttled | Unreachable), "{code}");
    }
}

#[tokio::test]
async fn what_is_not_of_aws_is_malformed_and_what_never_came_unreachable() {
    let cases = [
        (Reply::new(200, "<html>Log in to the network</html>"), AwsErrorKind::Malformed),
        (Reply::new(200, "{}"), AwsErrorKind::Malformed),
        (Reply::new(302, "").header("location", "http://192.0.2.1/"), AwsErrorKind::Malformed),
        (Reply::new(404, "<html>"), AwsErrorKind::Malformed),
        (Reply::new(403, "<html>"), AwsErrorKind::Denied),
        (Reply::new(502, "<html>"), AwsErrorKind::Unreachable),
        (Reply::new(200, r#"{"SecretString": "h"#).truncated_by(9), AwsErrorKind::Unreachable),
    ];
    for (reply, kind) in cases {
        let label = format!("{reply:?}");
        let server = Loopback::serve(move |_| reply.clone());
        let error = aws(&server.url).secrets.get(&request("prod/db")).await.unwrap_err();
        assert_eq!(error.kind, kind, "{label}: {error}");
        assert_eq!(server.requests().len(), 1, "steps try again, not the SDK: {label}");
    }
    let error = aws("http://127.0.0.1:1").secrets.get(&request("prod/db")).await.unwrap_err();
    assert_eq!(error.to_string(), "GetSecretValue prod/db: connection refused");
    assert!(error.is_unreachable() && error.is_transient());
}

/// AWS with a different time from this machine's: it refuses requests signed on another day.
#[tokio::test]
async fn what_is_refused_for_the_clock_is_asked_again_by_the_clock_of_aws() {
    let server = Loopback::serve(|request| match request.header("x-amz-date") {
        Some(signed) if signed.starts_with("20231123T") => Reply::new(
            200,
            match action(request) {
                "GetSecretValue" => r#"{"SecretString": "h"}"#,
                _ => r#"{"Parameters": []}"#,
            },
        ),
        _ => {
            let body = r#"{"__type": "InvalidSignatureException", "message": "Signature not yet current"}"#;
            Reply::new(400, body).header("date", "Thu, 23 Nov 2023 02:30:00 GMT")
        }
    });
    let aws = aws(&server.url);
    aws.secrets.get(&request("prod/db")).await.unwrap();
    aws.parameters.under("/prod").await.unwrap();
    aws.secrets.get(&request("prod/other")).await.unwrap();
    let asked: Vec<String> = server.requests().iter().map(|request| action(request).to_owned()).collect();
    assert_eq!(asked, ["GetSecretValue", "GetSecretValue", "GetParametersByPath", "GetSecretValue"]);
}

#[tokio::test]
async fn a_busy_service_says_how_long_to_wait() {
    let server = Loopback::serve(|_| Reply::new(503, "").header("retry-after", "7"));
    let error = aws(&server.url).secrets.get(&request("prod/db")).await.unwrap_err();
    // Plus some jitter, or all callers told to wait would retry at the same moment.
    let pause = error.retry_after().unwrap().as_secs_f64();
    assert!((7.0..9.0).contains(&pause), "{pause}");
}

#[tokio::test]
async fn a_batch_answers_for_each_secret() {
    let server = Loopback::serve(|request| match action(request) {
        "BatchGetSecretValue" => Reply::new(
            200,
            r#"{"SecretValues": [
                {"Name": "prod/b", "ARN": "arn:aws:secretsmanager:eu-west-1:1:secret:prod/b-a1b2c3", "SecretBinary": "/wA="},
                {"Name": "prod/a", "ARN": "arn:aws:secretsmanager:eu-west-1:1:secret:prod/a-a1b2c3", "SecretString": "hunter2"}],
              "Errors": [
                {"SecretId": "prod/c", "ErrorCode": "ResourceNotFoundException", "Message": "Secrets Manager can't find it."},
                {"SecretId": "prod/d", "ErrorCode": "DecryptionFailure", "Message": "Access to KMS is not allowed"}]}"#,
        ),
        _ => Reply::new(200, r#"{"SecretString": "single"}"#),
    });
    let aws = aws(&server.url);
    let ids = ["prod/a", "arn:aws:secretsmanager:eu-west-1:1:secret:prod/b", "prod/c", "prod/d", "prod/e"].map(request);
    let mut answers = join_all(ids.iter().map(|id| aws.secrets.get(id))).await;
    let mut next = || answers.remove(0);
    assert_eq!(next(), Ok(SecretValue::Text("hunter2".into())));
    assert_eq!(next(), Ok(SecretValue::Binary(zeroize::Zeroizing::new(vec![0xff, 0]))));
    assert_eq!(next().unwrap_err().kind, AwsErrorKind::NotFound);
    let error = next().unwrap_err();
    assert_eq!(error.to_string(), "GetSecretValue prod/d: it cannot be decrypted: Access to KMS is not allowed");
    assert!(error.hint().unwrap().starts_with("allow kms:Decrypt on the key of prod/d"));
    assert_eq!(next(), Ok(SecretValue::Text("single".into())), "what the batch says nothing of is read singly");
    assert_eq!(server.requests().len(), 2);
}

/// Regression: endless pages were read again until the step timed out, a thousand pages each time.
#[tokio::test]
async fn pages_that_never_end_are_no_reason_for_another_try() {
    let server = Loopback::serve(|_| Reply::new(200, r#"{"Parameters": [], "NextToken": "again"}"#));
    let error = aws(&server.url).parameters.under("/f/").await.unwrap_err();
    assert_eq!(error.to_string(), "GetParametersByPath /f/: the pages do not end");
    assert!(!error.is_transient());
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn parameters_keep_their_type_and_a_tree_has_pages() {
    let server = Loopback::serve(|request| match action(request) {
        "GetParameters" => Reply::new(
            200,
            r#"{"Parameters": [
                {"Name": "/list", "Type": "StringList", "Value": "a,b,"},
                {"Name": "/old", "Type": "SecureString", "Value": "v2", "Selector": ":2"},
                {"Name": "/old", "Type": "SecureString", "Value": "v3"}],
              "InvalidParameters": ["/missing"]}"#,
        ),
        _ if request.body.contains("page 3") => Reply::new(200, r#"{"Parameters": [{"Name": "/f/b/c", "Type": "String", "Value": "2"}]}"#),
        _ if request.body.contains("page 2") => Reply::new(200, r#"{"Parameters": [], "NextToken": "page 3"}"#),
        _ => Reply::new(200, r#"{"Parameters": [{"Name": "/f/a", "Type": "String", "Value": "1"}], "NextToken": "page 2"}"#),
    });
    let aws = aws(&server.url);
    let (list, old, new, missing) = futures_util::join!(
        aws.parameters.get("/list"),
        aws.parameters.get("/old:2"),
        aws.parameters.get("/old"),
        aws.parameters.get("/missing")
    );
    let text = |text: &str| ParameterValue::Text(SecretText::from(text));
    assert_eq!(list, Ok(ParameterValue::List(vec!["a".into(), "b".into(), "".into()])));
    assert_eq!((old, new), (Ok(text("v2")), Ok(text("v3"))));
    let missing = missing.unwrap_err();
    assert_eq!(missing.to_string(), "GetParameters /missing: not found (ParameterNotFound)");
    assert!(server.requests()[0].body.contains(r#""WithDecryption":true"#));

    let tree = aws.parameters.under("/f/").await.unwrap();
    assert_eq!(tree, [("a".into(), text("1")), ("b/c".into(), text("2"))]);
    assert!(server.requests()[1].body.contains(r#""Recursive":true"#));
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn an_instance_asks_imds_for_region_and_credentials_once() {
    let server = Loopback::serve(|request| match request.path.as_str() {
        "/latest/api/token" => Reply::new(200, "T"),
        "/latest/dynamic/instance-identity/document" => Reply::new(200, r#"{"instanceId": "i-0", "region": "ap-south-1"}"#),
        "/latest/meta-data/iam/security-credentials/" => Reply::new(200, "shop"),
        "/latest/meta-data/iam/security-credentials/shop" => Reply::new(
            200,
            r#"{"Code": "Success", "AccessKeyId": "AKIAROLE", "SecretAccessKey": "s", "Token": "t", "Expiration": "2099-01-01T00:00:00Z"}"#,
        ),
        _ if action(request) == "GetSecretValue" => Reply::new(200, r#"{"SecretString": "x"}"#),
        _ => Reply::new(200, r#"{"Parameters": [{"Name": "/p", "Type": "String", "Value": "x"}]}"#),
    });
    let http = Http::new(None);
    let imds = Imds::new(http.clone(), Some(&server.url), Patience::default()).unwrap();
    let credentials = ImdsCredentials::new(imds.clone(), std::time::Duration::ZERO);
    let aws = Aws::on_instance(http, imds, credentials.clone(), at(&server.url));
    let id = request("a");
    let (_, secret, parameter) = futures_util::join!(credentials.prefetch(), aws.secrets.get(&id), aws.parameters.get("/p"));
    assert!(secret.is_ok() && parameter.is_ok());
    let requests = server.requests();
    assert_eq!(requests.len(), 6, "{requests:?}");
    let signed = requests.iter().filter_map(|request| request.header("authorization")).collect::<Vec<_>>();
    assert!(signed.iter().all(|by| by.contains("AKIAROLE/") && by.contains("/ap-south-1/")), "{signed:?}");
    assert_eq!(signed.len(), 2);
}

/// As after hibernation: by the machine's own clock the credentials are valid for hours.
#[tokio::test]
async fn a_call_is_made_again_with_the_credentials_of_now() {
    for (code, calls) in [("ExpiredTokenException", 2), ("AccessDeniedException", 2), ("ResourceNotFoundException", 1)] {
        let fetched = std::sync::atomic::AtomicUsize::new(0);
        let server = Loopback::serve(move |request| match request.path.as_str() {
            "/latest/api/token" => Reply::new(200, "T"),
            "/latest/meta-data/iam/security-credentials/" => Reply::new(200, "shop"),
            "/latest/meta-data/iam/security-credentials/shop" => {
                let token = fetched.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let key = r#""Code": "Success", "AccessKeyId": "A", "SecretAccessKey": "s", "Expiration": "2099-01-01T00:00:00Z""#;
                Reply::new(200, format!(r#"{{{key}, "Token": "t{token}"}}"#))
            }
            _ if request.header("x-amz-security-token") == Some("t0") => Reply::new(400, format!(r#"{{"__type": "{code}"}}"#)),
            _ => Reply::new(200, r#"{"SecretString": "x"}"#),
        });
        let http = Http::new(None);
        let imds = Imds::new(http.clone(), Some(&server.url), Patience::default()).unwrap();
        let credentials = SharedCredentialsProvider::new(ImdsCredentials::new(imds, std::time::Duration::ZERO));
        let connection = Connection { http, region: RegionSource::Known("eu-west-1".into()), credentials, endpoints: at(&server.url) };
        let aws = Aws::of_caller(connection, others());
        assert_eq!(aws.secrets.get(&request("a")).await.is_ok(), calls == 2, "{code}");
        assert_eq!(server.requests().iter().filter(|request| request.method == "POST").count(), calls, "{code}");
    }
}

#[tokio::test]
async fn says_that_it_is_imds_that_does_not_answer_or_the_role_that_is_missing() {
    let server = Loopback::serve(|request| match request.path.as_str() {
        "/latest/api/token" => Reply::new(200, "T"),
        "/latest/dynamic/instance-identity/document" => Reply::new(200, r#"{"instanceId": "i-0", "region": "ap-south-1"}"#),
        _ => Reply::new(404, ""),
    });
    let http = Http::new(None);
    let imds = Imds::new(http.clone(), Some(&server.url), Patience::default()).unwrap();
    let credentials = ImdsCredentials::new(imds.clone(), std::time::Duration::ZERO);
    let error = Aws::on_instance(http.clone(), imds, credentials, at(&server.url)).secrets.get(&request("a")).await.unwrap_err();
    assert_eq!(error.to_string(), "GetSecretValue a: no credentials: this instance has no role");
    assert_eq!(error.kind, AwsErrorKind::NoCredentials);

    let metadata = FakeMetadata { failure: Some(ImdsError::Disabled), identity: Identity::default(), ..FakeMetadata::default() };
    let connection = Connection {
        http,
        region: RegionSource::Instance(Rc::new(metadata)),
        credentials: SharedCredentialsProvider::new(Credentials::new("a", "b", None, None, "test")),
        endpoints: BTreeMap::new(),
    };
    let error = Aws::of_caller(connection, others()).parameters.get("/p").await.unwrap_err();
    assert!(!error.is_transient());
    assert!(error.to_string().starts_with("GetParameters /p: the region is not known: the instance metadata service is disabled"));
}

#[test]
fn a_service_may_have_an_endpoint_of_its_own() {
    let mut endpoints = at("http://all");
    endpoints.insert("AWS_ENDPOINT_URL_SSM".into(), "http://ssm".into());
    let credentials = SharedCredentialsProvider::new(Credentials::new("a", "b", None, None, "test"));
    let connection = Connection { http: Http::new(None), region: RegionSource::Known("eu-west-1".into()), credentials, endpoints };
    assert_eq!(connection.endpoint("SSM"), Some("http://ssm"));
    assert_eq!(connection.endpoint("SECRETS_MANAGER"), Some("http://all"));
}

#[tokio::test]
async fn an_sdk_operation_follows_the_switches_and_never_falls_back() {
    let on = |name: &str| BTreeMap::from([(name.to_owned(), "true".to_owned())]);
    let connection = |endpoints: BTreeMap<String, String>| Connection {
        http: Http::new(None),
        region: RegionSource::Known("eu-west-1".into()),
        credentials: SharedCredentialsProvider::new(Credentials::new("a", "b", None, None, "test")),
        endpoints,
    };
    let host = async |name| connection(on(name)).place("ssm", "SSM").await.unwrap().parsed().unwrap().to_string();
    assert_eq!(host("AWS_USE_FIPS_ENDPOINT").await, "https://ssm-fips.eu-west-1.amazonaws.com/");
    assert_eq!(host("AWS_USE_DUALSTACK_ENDPOINT").await, "https://ssm.eu-west-1.api.aws/");

    let server = Loopback::serve(|_| Reply::new(200, "{}"));
    let both: BTreeMap<_, _> = on("AWS_USE_FIPS_ENDPOINT").into_iter().chain(at(&server.url)).collect();
    let error = Aws::of_caller(connection(both), others()).parameters.get("/p").await.unwrap_err();
    assert_eq!((error.kind, error.is_transient(), server.requests().len()), (AwsErrorKind::NoEndpoint, false, 0));
}
