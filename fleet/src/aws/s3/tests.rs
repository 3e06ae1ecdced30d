//! What is sent, and how each answer is handled. No network: scripted answers in order.

use super::*;
use crate::aws::script::{Answer, Script};

fn bucket(answers: &[Answer]) -> (Bucket, Script) {
    let script = Script::of(answers);
    (Bucket::new(&script.aws(), "acme-releases"), script)
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
async fn a_write_sends_its_condition() {
    let (bucket, script) = bucket(&[DONE, DONE]);
    let done = Put::Done { etag: "\"2\"".into() };
    assert_eq!(bucket.put("shop/1.json", b"x".to_vec(), Condition::Absent).await.unwrap(), done);
    assert_eq!(bucket.put("shop/1.json", b"y".to_vec(), Condition::Unchanged("\"1\"")).await.unwrap(), done);
    assert_eq!(script.asked(), ["PUT /shop/1.json if-none-match: *", "PUT /shop/1.json if-match: \"1\""]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_condition_is_refused() {
    for answers in [[FAILS].as_slice(), &[GONE], &[BUSY, BUSY, FAILS], &[None, FAILS], &[None, None, FAILS]] {
        let (bucket, script) = bucket(answers);
        assert_eq!(bucket.put("1.json", Vec::new(), Condition::Unchanged("\"1\"")).await.unwrap(), Put::Refused, "{answers:?}");
        assert_eq!(script.asked().len(), answers.len());
    }
}

#[tokio::test(start_paused = true)]
async fn lasting_failures_are_reported() {
    let (busy, _) = bucket(&[BUSY; 6]);
    let told = busy.put("1.json", Vec::new(), Condition::Absent).await.unwrap_err().to_string();
    assert!(told.contains("ConditionalRequestConflict"), "{told}");
    let (silent, _) = bucket(&[None; 3]);
    let failure = silent.put("1.json", Vec::new(), Condition::Absent).await.unwrap_err();
    assert!(failure.exit == Exit::Unreachable && failure.to_string().contains("AWS sent no response"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_missing_object_is_distinguished_from_a_denied_one() {
    let (there, _) = bucket(&[GONE, NO_BUCKET, DENIED, ELSEWHERE]);
    assert_eq!(there.get("1.json").await.unwrap(), None);
    for (exit, says) in [
        (Exit::Document, "correct `releases:`"),
        (Exit::Failed, "allow s3:GetObject on arn:aws:s3:::acme-releases/1.json"),
        (Exit::Failed, "its bucket is in us-east-1, but calls go to eu-central-1"),
    ] {
        let failure = there.get("1.json").await.unwrap_err();
        assert!(failure.exit == exit && failure.to_string().contains(says), "{failure}");
    }
}
