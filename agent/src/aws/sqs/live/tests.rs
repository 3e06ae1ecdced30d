use std::collections::BTreeMap;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

use super::*;
use crate::aws::client::connection::RegionSource;
use crate::aws::client::http::{Bounds, Http};
use crate::aws::loopback::{Loopback, Reply, Request};
use crate::failure::Failure as _;

const URL: &str = "https://sqs.eu-central-1.amazonaws.com/123456789012/jobs";

/// An SQS that answers each call by its name, and a connection to it from eu-west-1.
fn served(answer: impl Fn(&str, &Request) -> Reply + Send + Sync + 'static) -> (Loopback, Connection) {
    let server = Loopback::serve(move |request| {
        let target = request.header("x-amz-target").unwrap_or_default().to_owned();
        answer(target.trim_start_matches("AmazonSQS."), request)
    });
    let connection = Connection {
        http: Http::within(Bounds::LONG_POLLS, None),
        region: RegionSource::Known("eu-west-1".into()),
        credentials: SharedCredentialsProvider::new(Credentials::new("AKIA", "secret", None, None, "test")),
        endpoints: BTreeMap::from([("AWS_ENDPOINT_URL_SQS".into(), server.url.clone())]),
    };
    (server, connection)
}

async fn found(connection: &Connection, named: &str) -> LiveQueue {
    LiveQueue::find(connection, &QueueName::parse(named).unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_arn_is_asked_for_in_its_region_by_its_account() {
    let (server, connection) = served(|_, _| Reply::new(200, format!(r#"{{"QueueUrl":"{URL}"}}"#)));
    let queue = found(&connection, "arn:aws:sqs:eu-central-1:210987654321:jobs").await;
    assert_eq!(queue.url, URL);
    let [request] = server.requests().try_into().unwrap();
    assert!(request.header("authorization").unwrap().contains("/eu-central-1/sqs/aws4_request"));
    assert_eq!(request.header("content-type"), Some("application/x-amz-json-1.0"));
    assert_eq!(request.body, r#"{"QueueName":"jobs","QueueOwnerAWSAccountId":"210987654321"}"#);
}

/// Regression: two queues of the same name shared their claims, and each got only half of its scheduled runs.
#[tokio::test]
async fn queues_of_one_name_are_told_apart_and_spellings_are_not() {
    let (_server, connection) = served(|_, _| Reply::new(200, format!(r#"{{"QueueUrl":"{URL}"}}"#)));
    let known_as = async |named: &str| found(&connection, named).await.known_as();
    for spelling in
        ["jobs", "arn:aws:sqs:eu-central-1:123456789012:jobs", URL, "https://vpce-1.sqs.eu-central-1.vpce.amazonaws.com/123456789012/jobs"]
    {
        assert_eq!(known_as(spelling).await, "eu-central-1.123456789012.jobs", "{spelling}");
    }
    assert_eq!(known_as("https://sqs.us-east-1.amazonaws.com/123456789012/jobs").await, "us-east-1.123456789012.jobs");
    assert_eq!(known_as("http://127.0.0.1:4566/123456789012/jobs").await, "123456789012.jobs");
}

#[tokio::test]
async fn a_url_is_taken_as_it_is() {
    let (server, connection) = served(|_, _| Reply::new(200, "{}"));
    assert_eq!(found(&connection, URL).await.url, URL);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_queue_is_called_where_its_url_says() {
    let (_server, with_variable) = served(|_, _| Reply::new(200, "{}"));
    let switch = BTreeMap::from([(USE_FIPS.to_owned(), "true".to_owned())]);
    let without = Connection { endpoints: BTreeMap::new(), ..with_variable.clone() };
    let with_switch = Connection { endpoints: switch, ..with_variable.clone() };
    let called = async |connection: &Connection, host: &str| {
        let queue = found(connection, &format!("https://{host}/123456789012/jobs")).await;
        queue.connection.place(SERVICE.name, VARIABLE).await.map(|place| place.parsed().unwrap().to_string())
    };
    const VPC: &str = "vpce-0a.sqs.eu-west-1.vpce.amazonaws.com";
    const FIPS: &str = "sqs-fips.us-east-1.amazonaws.com";
    assert_eq!(called(&without, VPC).await.unwrap(), format!("https://{VPC}/"));
    assert_eq!(called(&without, "sqs.eu-central-1.amazonaws.com").await.unwrap(), "https://sqs.eu-central-1.amazonaws.com/");
    assert!(called(&with_variable, VPC).await.unwrap().starts_with("http://127.0.0.1:"), "a stand-in stands in for all");
    for connection in [&without, &with_switch] {
        assert_eq!(called(connection, FIPS).await.unwrap(), format!("https://{FIPS}/"));
    }
    assert!(called(&with_switch, VPC).await.is_err(), "it does not leave FIPS without a word");

    let find = async |url: &str| LiveQueue::find(&without, &QueueName::parse(url).unwrap()).await;
    for elsewhere in ["sqs.example", "127.0.0.1.example:80", "localhost.example", "10.0.0.1:80"] {
        let error = find(&format!("http://{elsewhere}/123456789012/jobs")).await.err().unwrap();
        assert!(error.to_string().contains("AWS_ENDPOINT_URL_SQS"), "{error}");
    }
    for own in ["localhost:4566", "127.0.0.1:4566", "[::1]:4566"] {
        assert!(find(&format!("http://{own}/123456789012/jobs")).await.is_ok(), "{own}");
    }
}

#[tokio::test]
async fn a_role_that_may_not_settle_messages_is_found_out_before_it_takes_any() {
    const NOT_MINE: &str = r#"{"Failed":[{"Id":"0","Code":"ReceiptHandleIsInvalid","SenderFault":true}]}"#;
    for (denied, said) in [("DeleteMessageBatch", "sqs:DeleteMessage"), ("ChangeMessageVisibilityBatch", "sqs:ChangeMessageVisibility")] {
        let (_server, connection) = served(move |operation, _| match operation {
            _ if operation == denied => Reply::new(403, r#"{"__type":"AccessDeniedException","message":"no"}"#),
            _ => Reply::new(200, NOT_MINE),
        });
        let error = found(&connection, URL).await.check_rights().await.unwrap_err();
        assert!(error.hint().unwrap().contains(&format!("allow {said} on ")), "{:?}", error.hint());
    }
    for harmless in [Reply::new(200, NOT_MINE), Reply::new(400, r#"{"__type":"InvalidParameterValue"}"#), Reply::new(503, "")] {
        let (_server, connection) = served(move |_, _| harmless.clone());
        assert_eq!(found(&connection, URL).await.check_rights().await, Ok(()));
    }
}

#[tokio::test]
async fn messages_come_with_all_that_is_said_of_them() {
    let (server, connection) = served(|_, _| {
        Reply::new(
            200,
            r#"{"Messages":[{"MessageId":"m","ReceiptHandle":"r","Body":"{}","MD5OfBody":"x",
            "Attributes":{"SenderId":"AIDA","SentTimestamp":"1573692420000","ApproximateReceiveCount":"3"},
            "MessageAttributes":{"color":{"DataType":"String","StringValue":"red"},"raw":{"DataType":"Binary","BinaryValue":"AA=="}}}]}"#,
        )
    });
    let queue = found(&connection, URL).await;
    let wanted = Receive { most: 10, visibility: Duration::from_secs(300), attempt: Some("a".into()) };
    let [message] = queue.receive(&wanted).await.unwrap().try_into().unwrap();
    assert_eq!((message.receive_count(), message.sent_ms(), message.sender()), (3, Some(1_573_692_420_000), Some("AIDA")));
    assert_eq!((message.text("color"), message.text("raw")), (Some("red"), None));
    let body: Value = serde_json::from_str(&server.requests()[0].body).unwrap();
    assert_eq!((&body["VisibilityTimeout"], &body["WaitTimeSeconds"]), (&json!(300), &json!(10)));
    assert_eq!((&body["MaxNumberOfMessages"], &body["ReceiveRequestAttemptId"]), (&json!(10), &json!("a")));
}

#[tokio::test]
async fn a_message_is_sent_with_what_is_said_of_it() {
    let (server, connection) = served(|_, _| Reply::new(200, r#"{"MessageId":"m","MD5OfMessageBody":"x"}"#));
    let fifo = Some(("tasks".into(), "nightly-1".into()));
    let sent = Sent { body: "b", said: vec![("beanstalk.sqsd.path", "/nightly".into())], fifo };
    assert_eq!(found(&connection, URL).await.send(&sent).await.unwrap(), "m");
    let body: Value = serde_json::from_str(&server.requests()[0].body).unwrap();
    assert_eq!(body["MessageAttributes"], json!({ "beanstalk.sqsd.path": { "DataType": "String", "StringValue": "/nightly" } }));
    assert_eq!((&body["MessageGroupId"], &body["MessageDeduplicationId"]), (&json!("tasks"), &json!("nightly-1")));
}

#[tokio::test]
async fn an_empty_answer_has_no_messages() {
    let (_server, connection) = served(|_, _| Reply::new(200, "{}"));
    let wanted = Receive { most: 1, visibility: Duration::from_secs(1), attempt: None };
    assert_eq!(found(&connection, URL).await.receive(&wanted).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_batch_tells_what_was_not_done() {
    let (_server, connection) = served(|operation, _| {
        assert_eq!(operation, "DeleteMessageBatch");
        let failed = r#"{"Successful":[{"Id":"0"}],"Failed":[{"Id":"1","Code":"AWS.SimpleQueueService.ReceiptHandleIsInvalid",
            "SenderFault":true},{"Id":"2","Code":"InternalError","SenderFault":false},
            {"Id":"3","Code":"RequestThrottled","SenderFault":true}]}"#;
        Reply::new(200, failed)
    });
    let receipts: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).into();
    let rejected = found(&connection, URL).await.delete(&receipts).await.unwrap();
    let told: Vec<_> = rejected.iter().map(|rejected| (rejected.at, rejected.transient)).collect();
    assert_eq!(told, [(1, false), (2, true), (3, true), (4, true)], "what is not said to be done is not");
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    use AwsErrorKind::*;
    let table = [
        ("com.amazonaws.sqs#QueueDoesNotExist", NotFound, "correct `queue`"),
        ("AWS.SimpleQueueService.NonExistentQueue", NotFound, "correct `queue`"),
        ("AccessDeniedException", Denied, "allow sqs:DeleteMessage on"),
        ("RequestThrottled", Throttled, "quota"),
        ("OverLimit", Throttled, "in flight"),
        ("KmsAccessDenied", KmsDenied, "kms:Decrypt"),
        ("KmsThrottled", Throttled, "quota"),
        ("ExpiredToken", Expired, "clock"),
        ("ServiceUnavailable", Unreachable, "route to sqs"),
    ];
    for (code, kind, hint) in table {
        let (_server, connection) = served(move |_, _| Reply::new(400, format!(r#"{{"__type":"{code}","message":"no"}}"#)));
        let error = found(&connection, URL).await.delete(&["a".into()]).await.unwrap_err();
        assert_eq!(error.kind, kind, "{code}");
        assert!(error.hint().unwrap().contains(hint), "{code}: {:?}", error.hint());
    }
}
