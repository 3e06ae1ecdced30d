//! What is sent, and what is made of each answer. No network: answers are given in order.

use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;

use super::*;

/// An answer; none for a connection that ends.
type Answer = Option<(u16, &'static [(&'static str, &'static str)], &'static str)>;

/// Answers in order, and what was asked: method, path, conditions.
#[derive(Debug, Clone)]
struct Script(Arc<Mutex<(Vec<Answer>, Vec<String>)>>);

impl HttpConnector for Script {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut script = self.0.lock().unwrap();
        let condition =
            ["if-match", "if-none-match"].into_iter().find_map(|name| Some(format!(" {name}: {}", request.headers().get(name)?)));
        let path = request.uri().split_once("amazonaws.com").map_or("", |(_, path)| path);
        let path = path.split('?').next().unwrap_or_default();
        script.1.push(format!("{} {path}{}", request.method(), condition.unwrap_or_default()));
        let answer = if script.0.is_empty() { panic!("one call too many: {:?}", script.1) } else { script.0.remove(0) };
        HttpConnectorFuture::ready(match answer {
            None => Err(ConnectorError::io("connection reset by peer".into())),
            Some((status, headers, body)) => {
                let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
                headers.iter().for_each(|(name, value)| drop(response.headers_mut().insert(*name, *value)));
                Ok(response)
            }
        })
    }
}

fn bucket(answers: &[Answer]) -> (Bucket, Script) {
    let script = Script(Arc::new(Mutex::new((answers.to_vec(), Vec::new()))));
    let connector = SharedHttpConnector::new(script.clone());
    let same = connector.clone();
    let sdk = aws_config::SdkConfig::builder()
        .http_client(http_client_fn(move |_, _| same.clone()))
        .region(aws_config::Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("AKIA", "secret", None, None, "test")))
        .behavior_version(aws_config::BehaviorVersion::latest())
        .retry_config(aws_smithy_types::retry::RetryConfig::standard().with_max_attempts(3))
        .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(aws_smithy_async::rt::sleep::TokioSleep::new()))
        .build();
    (Bucket::new(&Aws { sdk, region: "eu-central-1".into(), connector }, "acme-releases"), script)
}

impl Script {
    fn asked(&self) -> Vec<String> {
        let script = self.0.lock().unwrap();
        assert_eq!(script.0, [], "nobody asked for these");
        script.1.clone()
    }
}

const DONE: Answer = Some((200, &[("etag", "\"2\"")], ""));
const FAILS: Answer = Some((412, &[], "<Error><Code>PreconditionFailed</Code><Message>At least one</Message></Error>"));
const BUSY: Answer = Some((409, &[], "<Error><Code>ConditionalRequestConflict</Code><Message>Busy</Message></Error>"));
const GONE: Answer = Some((404, &[], "<Error><Code>NoSuchKey</Code><Message>No</Message></Error>"));
const NO_BUCKET: Answer = Some((404, &[], "<Error><Code>NoSuchBucket</Code><Message>No</Message></Error>"));
const DENIED: Answer = Some((403, &[], ""));
const ELSEWHERE: Answer =
    Some((301, &[("x-amz-bucket-region", "us-east-1")], "<Error><Code>PermanentRedirect</Code><Message>Elsewhere</Message></Error>"));

#[tokio::test(start_paused = true)]
async fn a_write_says_on_what_it_depends() {
    let (bucket, script) = bucket(&[DONE, DONE]);
    let done = Put::Done { etag: "\"2\"".into() };
    assert_eq!(bucket.put("shop/1.json", b"x".to_vec(), Condition::Absent).await.unwrap(), done);
    assert_eq!(bucket.put("shop/1.json", b"y".to_vec(), Condition::Unchanged("\"1\"")).await.unwrap(), done);
    assert_eq!(script.asked(), ["PUT /shop/1.json if-none-match: *", "PUT /shop/1.json if-match: \"1\""]);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_hold_is_refused() {
    for answers in [[FAILS].as_slice(), &[GONE], &[BUSY, BUSY, FAILS], &[None, FAILS], &[None, None, FAILS]] {
        let (bucket, script) = bucket(answers);
        assert_eq!(bucket.put("1.json", Vec::new(), Condition::Unchanged("\"1\"")).await.unwrap(), Put::Refused, "{answers:?}");
        assert_eq!(script.asked().len(), answers.len());
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_too_long_is_told() {
    let (busy, _) = bucket(&[BUSY; 6]);
    let told = busy.put("1.json", Vec::new(), Condition::Absent).await.unwrap_err().to_string();
    assert!(told.contains("ConditionalRequestConflict"), "{told}");
    let (silent, _) = bucket(&[None; 3]);
    let failure = silent.put("1.json", Vec::new(), Condition::Absent).await.unwrap_err();
    assert!(failure.exit == Exit::Unreachable && failure.to_string().contains("AWS gave no answer"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_told_from_what_is_denied() {
    let (there, _) = bucket(&[GONE, NO_BUCKET, DENIED, ELSEWHERE]);
    assert_eq!(there.get("1.json").await.unwrap(), None);
    for (exit, says) in [
        (Exit::Document, "correct `releases:`"),
        (Exit::Failed, "allow s3:GetObject on arn:aws:s3:::acme-releases/1.json"),
        (Exit::Failed, "its bucket is in us-east-1, and calls go to eu-central-1"),
    ] {
        let failure = there.get("1.json").await.unwrap_err();
        assert!(failure.exit == exit && failure.to_string().contains(says), "{failure}");
    }
}
