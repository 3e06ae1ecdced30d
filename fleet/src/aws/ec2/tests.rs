//! What is made of each answer. No network: answers are given in order, as EC2's documentation has them.

use super::*;
use crate::aws::script::{Answer, Script};

/// A refusal as EC2 writes it.
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
async fn what_passes_is_asked_again() {
    let arm = Ok("arm64".to_owned());
    assert_eq!(looked_up(&[FOUND]).await, (arm.clone(), 1));
    assert_eq!(looked_up(&[THROTTLED, None, Some((500, &[], "<html>")), FOUND]).await, (arm.clone(), 4));
    let (failure, calls) = looked_up(&[THROTTLED, THROTTLED, THROTTLED, THROTTLED]).await;
    assert!(matches!(failure, Err((Exit::Unreachable, _))) && calls == 4, "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_clock_of_this_machine_is_set_right_for_the_call() {
    let late: Answer = Some((400, &[("date", "Tue, 01 Jan 2030 00:00:00 GMT")], "<Response/>"));
    assert_eq!(looked_up(&[late, FOUND]).await, (Ok("arm64".to_owned()), 2));
    let (failure, calls) = looked_up(&[late, late]).await;
    assert!(failure.is_err() && calls == 2, "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn each_refusal_has_its_way_out() {
    for (answer, exit, hint) in [
        (GONE, Exit::Document, "correct `image:`"),
        (NOT_SHARED, Exit::Document, "share the image"),
        (NONE, Exit::Document, "correct `image:`"),
        (DENIED, Exit::Failed, "allow ec2:DescribeImages with Resource \"*\""),
        (INVALID, Exit::Failed, "the clock of this machine"),
        (OVER, Exit::Failed, "the credentials are over"),
    ] {
        let (failure, calls) = looked_up(&[answer]).await;
        let (found, text) = failure.unwrap_err();
        assert!(found == exit && text.contains(hint) && calls == 1, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_subnet_that_is_not_there_is_named() {
    let gone: Answer = refused!(400, "InvalidSubnetID.NotFound", "The subnet ID 'subnet-2' does not exist");
    let failure = subnets(&Script::of(&[gone]).aws(), &["subnet-1", "subnet-2"]).await.unwrap_err();
    assert!(failure.exit == Exit::Document && failure.to_string().contains("'subnet-2' does not exist"), "{failure}");
}

#[test]
fn what_an_instance_was_launched_with_is_read() {
    let answer = Element::parse(
        b"<r><reservationSet><item><instancesSet><item><instanceId>i-1</instanceId><imageId>ami-1</imageId>\
          <launchTime>2026-12-01T09:00:00.000Z</launchTime><tagSet><item><key>ingot:deployment</key><value>7</value></item></tagSet></item>\
          <item><imageId>ami-2</imageId></item></instancesSet></item></reservationSet></r>",
    );
    let answer = answer.unwrap();
    let found: Vec<Known> = answer.items("reservationSet").flat_map(|one| one.items("instancesSet")).filter_map(known).collect();
    let [found] = found.as_slice() else { panic!("{found:?}") };
    let launched = found.launched.unwrap().to_string();
    assert_eq!((found.id.as_str(), found.image.as_str(), launched.as_str()), ("i-1", "ami-1", "2026-12-01T09:00:00Z"));
    assert_eq!(found.tags["ingot:deployment"], "7");
}
