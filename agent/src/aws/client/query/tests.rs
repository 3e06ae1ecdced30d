//! What is sent, and how each raw answer is read.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};

use super::*;
use crate::aws::client::connection::RegionSource;
use crate::aws::client::error::AwsErrorKind;
use crate::aws::client::http::{ANSWER_LIMIT, Http};
use crate::aws::ec2::SERVICE;
use crate::aws::loopback::{Loopback, Reply};
use crate::failure::Failure;

const EC2: Api = Api { service: SERVICE, variable: "EC2", version: "2016-11-15" };

const REFUSAL: &str = "<Response><Errors><Error><Code>VolumeInUse</Code><Message>vol-1 is already attached to an instance</Message></Error>\
                       </Errors><RequestID>r</RequestID></Response>";

fn query(url: &str) -> Query {
    let credentials = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", Some("session".into()), None, "test");
    let connection = Connection {
        http: Http::new(None),
        region: RegionSource::Known("eu-west-1".into()),
        credentials: SharedCredentialsProvider::new(credentials),
        endpoints: BTreeMap::from([("AWS_ENDPOINT_URL_EC2".into(), url.into())]),
    };
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
    connection.http.clock().set(time);
    Query::new(connection, EC2)
}

fn call() -> Call {
    Call::new(SERVICE, "AttachVolume", "vol-1")
}

async fn answered(reply: Reply) -> Result<Element, AwsError> {
    let server = Loopback::serve(move |_| reply.clone());
    let answer = query(&server.url).call(&call(), Parameters::default()).await;
    assert_eq!(server.requests().len(), 1, "steps try again, not this");
    answer
}

#[tokio::test]
async fn a_call_is_a_signed_form() {
    let server =
        Loopback::serve(|_| Reply::new(200, "<AttachVolumeResponse xmlns=\"x\"><status>attaching</status></AttachVolumeResponse>"));
    let parameters = Parameters::default()
        .with("VolumeId", "vol 1&ü*")
        .maybe("Size", None::<u32>)
        .maybe("Iops", Some(3000))
        .list("Owner", ["self", "amazon"]);
    let answer = query(&server.url).call(&call(), parameters).await.unwrap();
    assert_eq!(answer.text("status"), Some("attaching"));

    let request = server.requests().remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/"));
    let form = "Action=AttachVolume&Version=2016-11-15&VolumeId=vol+1%26%C3%BC*&Iops=3000&Owner.1=self&Owner.2=amazon";
    assert_eq!(request.body, form);
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded; charset=utf-8"));
    assert_eq!((request.header("x-amz-date"), request.header("x-amz-security-token")), (Some("20150830T123600Z"), Some("session")));
    let authorization = request.header("authorization").unwrap();
    let head = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/ec2/aws4_request, \
                SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=";
    assert!(authorization.starts_with(head), "{authorization}");
    assert_eq!(request.header("host"), server.url.strip_prefix("http://"));
}

/// The expected signature was computed by botocore for the same request.
#[tokio::test]
async fn a_signature_is_that_of_other_sdks() {
    let query = query("");
    let message = query.message(&call(), &Parameters::default().with("VolumeId", "vol 1&ü*"));
    let (place, time) = (query.place(&call()).await.unwrap(), query.connection.http.clock().now());
    let request = query.connection.signed(&call(), &place, &message, time).await.unwrap();
    assert_eq!(request.url().as_str(), "https://ec2.eu-west-1.amazonaws.com/");
    assert_eq!(request.timeout(), Some(&query.connection.http.call_timeout()));
    let authorization = &request.headers()["authorization"];
    assert!(authorization.is_sensitive() && !format!("{request:?}").contains("\"session\""), "{request:?}");
    let (_, signature) = authorization.to_str().unwrap().split_once("Signature=").unwrap();
    assert_eq!(signature, "f91a540c0965023de7c87a8cd50072422108314a4dd13b98a29698d83a48273a");
}

/// Answers as EC2 does: refuses a request that was not signed on `day`, and accepts one that was.
fn of_time(date: &'static str, day: &'static str) -> Loopback {
    const REFUSAL: &str =
        "<Response><Errors><Error><Code>RequestExpired</Code><Message>Request has expired.</Message></Error></Errors></Response>";
    Loopback::serve(move |request| match request.header("x-amz-date") {
        Some(signed) if signed.starts_with(day) => Reply::new(200, "<AttachVolumeResponse/>"),
        _ => Reply::new(400, REFUSAL).header("date", date),
    })
}

#[tokio::test]
async fn a_call_refused_for_the_clock_is_made_again_by_the_clock_of_aws() {
    let server = of_time("Mon, 23 Nov 2026 02:30:00 GMT", "20261123T0230");
    let query = query(&server.url);
    for _ in 0..2 {
        query.call(&call(), Parameters::default()).await.unwrap();
    }
    assert_eq!(server.requests().len(), 3, "what was learnt is kept");
}

#[tokio::test]
async fn a_call_is_made_again_for_the_clock_only_once() {
    let server = of_time("Mon, 23 Nov 2026 02:30:00 GMT", "never");
    let error = query(&server.url).call(&call(), Parameters::default()).await.unwrap_err();
    assert_eq!((error.kind, server.requests().len()), (AwsErrorKind::Expired, 2));
}

#[tokio::test]
async fn a_refusal_is_understood_in_both_shapes() {
    let error = answered(Reply::new(400, REFUSAL)).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.kind), ("VolumeInUse", AwsErrorKind::Invalid));
    assert_eq!(error.to_string(), "AttachVolume vol-1: the request was not accepted: vol-1 is already attached to an instance");

    let other = "<ErrorResponse xmlns=\"http://rds.amazonaws.com/doc/2014-10-31/\"><Error><Type>Sender</Type><Code>Throttling</Code>\
                 <Message>Rate exceeded</Message></Error></ErrorResponse>";
    let error = answered(Reply::new(400, other).header("retry-after", "7")).await.unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.kind, error.retry_after()),
        ("Throttling", AwsErrorKind::Throttled, Some(Duration::from_secs(7)))
    );
}

#[tokio::test]
async fn what_is_not_of_aws_is_malformed_and_what_never_came_unreachable() {
    use AwsErrorKind::*;
    let whole = "<AttachVolumeResponse></AttachVolumeResponse>";
    let cases = [
        (Reply::new(200, "<html>Log in to the network</html>"), Malformed),
        (Reply::new(200, "Log in to the network"), Malformed),
        (Reply::new(200, ""), Malformed),
        (Reply::new(200, "<AttachVolumeResponse>"), Malformed),
        (Reply::new(200, "<DetachVolumeResponse/>"), Malformed),
        (Reply::new(200, vec![b' '; ANSWER_LIMIT + 1]), Malformed),
        (Reply::new(302, "").header("location", "http://192.0.2.1/"), Malformed),
        (Reply::new(404, "<html>"), Malformed),
        (Reply::new(403, "<html>"), Denied),
        (Reply::new(502, "<html>"), Unreachable),
        (Reply::new(200, whole).truncated_by(9), Unreachable),
    ];
    for (reply, kind) in cases {
        let label: String = format!("{reply:?}").chars().take(120).collect();
        let error = answered(reply).await.unwrap_err();
        assert_eq!(error.kind, kind, "{label}: {error}");
        assert!(error.code.is_empty());
    }
    let error = query("http://127.0.0.1:1").call(&call(), Parameters::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "AttachVolume vol-1: connection refused");
    assert!(error.is_unreachable() && error.is_transient());
}

#[tokio::test]
async fn says_what_is_wrong_before_the_call() {
    let mut without = query("http://127.0.0.1:1");
    without.connection.credentials = SharedCredentialsProvider::new(Nobody);
    let error = without.call(&call(), Parameters::default()).await.unwrap_err();
    assert_eq!(error.kind, AwsErrorKind::NoCredentials);

    let error = query("localhost").call(&call(), Parameters::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "AttachVolume vol-1: localhost is not a valid URL");

    let mut fips = query("http://127.0.0.1:1");
    fips.connection.endpoints.insert("AWS_USE_FIPS_ENDPOINT".into(), "true".into());
    let error = fips.call(&call(), Parameters::default()).await.unwrap_err();
    assert_eq!(error.kind, AwsErrorKind::NoEndpoint);
    insta::assert_snapshot!(crate::failure::Explanation::of(&error), @r"
    AttachVolume vol-1: ec2 has no such endpoint in eu-west-1: Invalid Configuration: FIPS and custom endpoint are not supported
      hint: correct AWS_ENDPOINT_URL, or unset AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT: not every partition has such endpoints, and one of your own cannot be combined with them
    ");
}

#[derive(Debug)]
struct Nobody;

impl ProvideCredentials for Nobody {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        aws_credential_types::provider::future::ProvideCredentials::ready(Err(CredentialsError::not_loaded_no_source()))
    }
}
