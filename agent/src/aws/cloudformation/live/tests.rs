//! What each call sends, and how its answer is read.

use std::collections::BTreeMap;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

use super::*;
use crate::aws::client::connection::RegionSource;
use crate::aws::cloudformation::{SignalStatus, waits_no_more};
use crate::aws::loopback::{Loopback, Reply};
use crate::failure::{Explanation, Failure};

fn cloudformation(url: &str) -> LiveCloudFormation {
    LiveCloudFormation::new(Connection {
        http: Http::new(None),
        region: RegionSource::Known("eu-west-1".into()),
        credentials: SharedCredentialsProvider::new(Credentials::new("AKIA", "secret", None, None, "test")),
        endpoints: BTreeMap::from([("AWS_ENDPOINT_URL_CLOUDFORMATION".into(), url.into())]),
    })
}

fn signal() -> ResourceSignal {
    ResourceSignal { stack: "shop".into(), resource: "Web".into(), unique_id: "i-0".into(), status: SignalStatus::Failure }
}

fn wait_signal() -> WaitSignal {
    WaitSignal { status: SignalStatus::Success, unique_id: "i-0".into(), data: "d".into(), reason: "a \"b\"".into() }
}

#[tokio::test]
async fn a_resource_is_signalled_by_a_signed_form() {
    let answer = "<SignalResourceResponse><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></SignalResourceResponse>";
    let server = Loopback::serve(move |_| Reply::new(200, answer));
    cloudformation(&server.url).signal_resource(&signal()).await.unwrap();
    let request = server.requests().pop().unwrap();
    let expected = "Action=SignalResource&Version=2010-05-15&StackName=shop&LogicalResourceId=Web&UniqueId=i-0&Status=FAILURE";
    assert_eq!(request.body, expected);
    let signed = request.header("authorization").unwrap();
    assert!(signed.contains("/eu-west-1/cloudformation/aws4_request"), "{signed}");
}

async fn refused(message: &str) -> AwsError {
    let body = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code><Message>{message}</Message></Error></ErrorResponse>"
    );
    let server = Loopback::serve(move |_| Reply::new(400, body.clone()));
    cloudformation(&server.url).signal_resource(&signal()).await.unwrap_err()
}

#[tokio::test]
async fn a_stack_that_waits_no_more_is_told_from_one_that_is_not_there() {
    assert!(waits_no_more(
        &refused("Stack arn:aws:cloudformation:eu-west-1:1:stack/shop/1 is in CREATE_COMPLETE state and cannot be signaled").await
    ));
    assert!(waits_no_more(&refused("Resource Web is in UPDATE_COMPLETE state and can not be signaled").await));
    let gone = refused("Stack shop does not exist").await;
    assert!(!waits_no_more(&gone) && !gone.is_transient(), "{gone}");
}

#[tokio::test]
async fn a_wait_condition_gets_json_and_nothing_that_its_url_is_not_signed_for() {
    let server = Loopback::serve(|_| Reply::new(200, ""));
    let url = format!("{}/arn%3Aaws/x?AWSAccessKeyId=A&Expires=1&Signature=s3cr3t%3D", server.url);
    cloudformation(&server.url).signal_wait_condition(&url.as_str().into(), &wait_signal()).await.unwrap();
    let request = server.requests().pop().unwrap();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("PUT", "/arn%3Aaws/x?AWSAccessKeyId=A&Expires=1&Signature=s3cr3t%3D"));
    assert_eq!(request.body, r#"{"Status":"SUCCESS","UniqueId":"i-0","Data":"d","Reason":"a \"b\""}"#);
    assert_eq!((request.header("content-type"), request.header("authorization")), (None, None));
}

#[tokio::test]
async fn the_url_of_a_wait_condition_is_in_no_error() {
    let server = Loopback::serve(|_| Reply::new(403, "<Error><Message>Request has expired</Message></Error>"));
    let refused = format!("{}/?Signature=s3cr3t", server.url);
    for url in [refused.as_str(), "http://127.0.0.1:1/?Signature=s3cr3t", "s3cr3t"] {
        let error = cloudformation(&server.url).signal_wait_condition(&url.into(), &wait_signal()).await.unwrap_err();
        let shown = format!("{error:?} {}", Explanation::of(&error));
        assert!(!shown.contains("s3cr3t") && !shown.contains("127.0.0.1"), "{shown}");
    }
}
