//! How each answer is handled. No network: scripted answers in order, in the form that EC2's documentation gives.

use super::*;
use crate::aws::script::{Answer, Script};

/// An error response in EC2's format.
macro_rules! refused {
    ($status:literal, $code:literal, $message:literal) => {
        Some((
            $status,
            &[],
            concat!("<Response><Errors><Error><Code>", $code, "</Code><Message>", $message, "</Message></Error></Errors></Response>"),
        ))
    };
}

const FOUND: Answer = Some((
    200,
    &[],
    "<DescribeImagesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId><imagesSet><item>\
     <imageId>ami-1</imageId><imageState>available</imageState><architecture>arm64</architecture></item></imagesSet>\
     </DescribeImagesResponse>",
));
const NONE: Answer = Some((200, &[], "<DescribeImagesResponse><imagesSet/></DescribeImagesResponse>"));
const THROTTLED: Answer = refused!(503, "RequestLimitExceeded", "Request limit exceeded.");
const GONE: Answer = refused!(400, "InvalidAMIID.NotFound", "The image id '[ami-1]' does not exist");
const NOT_SHARED: Answer = refused!(401, "AuthFailure", "Not authorized for images: [ami-1]");
const DENIED: Answer = refused!(403, "UnauthorizedOperation", "You are not authorized to perform this operation.");
const INVALID: Answer = refused!(401, "AuthFailure", "AWS was not able to validate the provided access credentials");
const OVER: Answer = refused!(400, "RequestExpired", "Request has expired.");

async fn looked_up(answers: &[Answer]) -> (Result<String, (Exit, String)>, usize) {
    let script = Script::of(answers);
    let found = image(&script.aws(), "ami-1").await;
    let calls = script.asked().len();
    (found.map(|image| image.architecture).map_err(|failure| (failure.exit, failure.to_string())), calls)
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_retried() {
    let arm = Ok("arm64".to_owned());
    assert_eq!(looked_up(&[FOUND]).await, (arm.clone(), 1));
    assert_eq!(looked_up(&[THROTTLED, None, Some((500, &[], "<html>")), FOUND]).await, (arm.clone(), 4));
    let (failure, calls) = looked_up(&[THROTTLED, THROTTLED, THROTTLED, THROTTLED]).await;
    assert!(matches!(failure, Err((Exit::Unreachable, _))) && calls == 4, "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_local_clock_is_corrected_for_the_call() {
    let late: Answer = Some((400, &[("date", "Tue, 01 Jan 2030 00:00:00 GMT")], "<Response/>"));
    assert_eq!(looked_up(&[late, FOUND]).await, (Ok("arm64".to_owned()), 2));
    let (failure, calls) = looked_up(&[late, late]).await;
    assert!(failure.is_err() && calls == 2, "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn each_refusal_has_its_hint() {
    for (answer, exit, hint) in [
        (GONE, Exit::Document, "correct `image:`"),
        (NOT_SHARED, Exit::Document, "share the image"),
        (NONE, Exit::Document, "correct `image:`"),
        (DENIED, Exit::Failed, "allow ec2:DescribeImages with Resource \"*\""),
        (INVALID, Exit::Failed, "the clock of this machine"),
        (OVER, Exit::Failed, "the credentials have expired"),
    ] {
        let (failure, calls) = looked_up(&[answer]).await;
        let (found, text) = failure.unwrap_err();
        assert!(found == exit && text.contains(hint) && calls == 1, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_subnet_is_named() {
    let gone: Answer = refused!(400, "InvalidSubnetID.NotFound", "The subnet ID 'subnet-2' does not exist");
    let failure = subnets(&Script::of(&[gone]).aws(), &["subnet-1", "subnet-2"]).await.unwrap_err();
    assert!(failure.exit == Exit::Document && failure.to_string().contains("'subnet-2' does not exist"), "{failure}");
}
