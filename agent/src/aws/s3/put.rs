//! Requests for a small object as a whole: reading it, and writing it on a condition.

use base64::Engine as _;
use bytes::Bytes;
use reqwest::header::{DATE, ETAG, HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{Method, StatusCode};

use super::codes::{CONDITION, NO_KEY};
use super::get::{Refusal, Requester};
use super::{Found, Only, SMALL, Upload, Written};
use crate::aws::client::error::{AwsError, AwsErrorKind};
use crate::aws::client::skew::parsed;
use crate::digest::Sha256;

const CHECKSUM: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");

impl Requester {
    /// Reads the whole object. `None` if it does not exist.
    pub(super) async fn look(&self) -> Result<Option<Found>, Refusal> {
        let call = &self.call;
        let (mut response, signed) = self.send(Method::GET, Vec::new(), None).await?;
        if response.status() != StatusCode::OK {
            return match self.refusal(response, signed).await {
                Refusal::Final(error) if error.code == NO_KEY => Ok(None),
                refusal => Err(refusal),
            };
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| call.unsent(&error))? {
            if body.len() + chunk.len() > SMALL {
                return Err(call.error(AwsErrorKind::Invalid, format!("it is longer than {SMALL} bytes")).into());
            }
            body.extend_from_slice(&chunk);
        }
        let headers = response.headers();
        let time = |name| text(headers, name).and_then(parsed);
        let found = (|| {
            let etag = text(headers, ETAG)?.to_owned();
            Some(Found { etag, modified: time(LAST_MODIFIED)?, date: time(DATE)?, body: body.into() })
        })();
        found.map(Some).ok_or_else(|| call.malformed("the response lacks ETag, Last-Modified or Date").into())
    }

    /// Writes the object.
    pub(super) async fn put(&self, body: Bytes, only: Only<'_>, upload: Option<&Upload>) -> Result<Written, Refusal> {
        let call = &self.call;
        // Buckets with Object Lock require a checksum.
        let mut headers = vec![(CHECKSUM, base64::engine::general_purpose::STANDARD.encode(Sha256::of(&body).0))];
        match only {
            Only::Always => {}
            Only::IfAbsent => headers.push((IF_NONE_MATCH, "*".into())),
            Only::IfMatch(etag) => headers.push((IF_MATCH, etag.into())),
        }
        let (response, signed) = self.send(Method::PUT, headers, Some((body, upload))).await?;
        match response.status() {
            StatusCode::OK => match text(response.headers(), ETAG) {
                Some(etag) => Ok(Written { etag: etag.to_owned() }),
                None => Err(call.malformed("the response lacks the ETag").into()),
            },
            StatusCode::PRECONDITION_FAILED => {
                let why = call.error(AwsErrorKind::Invalid, "the object is not the one it should replace");
                Err(AwsError { code: CONDITION.into(), ..why }.into())
            }
            _ => Err(self.refusal(response, signed).await),
        }
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aws_credential_types::Credentials;

    use super::*;
    use crate::aws::client::connection::Connection;
    use crate::aws::client::http::{Bounds, Http};
    use crate::aws::loopback::{Loopback, Reply};
    use crate::aws::s3::live::LiveObjects;
    use crate::aws::s3::{Objects, Source, is_refused_condition};
    use crate::failure::Failure;

    fn objects(server: &Loopback) -> LiveObjects {
        objects_at(&server.url)
    }

    fn objects_at(url: &str) -> LiveObjects {
        objects_by(Http::new(None), url)
    }

    fn objects_by(http: Http, url: &str) -> LiveObjects {
        let credentials = Credentials::new("AKIA", "secret", None, None, "test");
        let endpoints = BTreeMap::from([("AWS_ENDPOINT_URL".into(), url.to_owned())]);
        LiveObjects::new(Connection::of_caller(http, credentials, "eu-west-1".into(), endpoints))
    }

    fn place() -> Source {
        Source::parse("s3://shop/claims/migrate").unwrap()
    }

    fn refusal(status: u16, code: &str) -> Reply {
        Reply::new(status, format!("<Error><Code>{code}</Code><Message>words</Message></Error>"))
    }

    async fn refused(reply: Reply) -> AwsError {
        let server = Loopback::serve(move |_| reply.clone());
        objects(&server).write(&place(), "{}".into(), Only::IfAbsent, None).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_write_says_on_which_condition_and_what() {
        let server = Loopback::serve(|_| Reply::new(200, "").header("ETag", "\"e1\""));
        let objects = objects(&server);
        for (only, name, value) in [
            (Only::IfAbsent, "if-none-match", Some("*")),
            (Only::IfMatch("\"e0\""), "if-match", Some("\"e0\"")),
            (Only::Always, "if-match", None),
        ] {
            assert_eq!(objects.write(&place(), "test".into(), only, None).await.unwrap().etag, "\"e1\"");
            let request = server.requests().pop().unwrap();
            assert_eq!((&*request.method, &*request.path, &*request.body), ("PUT", "/shop/claims/migrate", "test"));
            assert_eq!(request.header(name), value);
            assert_eq!(request.header("x-amz-content-sha256"), Some(&*Sha256::of(b"test").to_string()));
            assert_eq!(request.header("x-amz-checksum-sha256"), Some("n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="));
            assert!(request.header("authorization").unwrap().contains(name) == value.is_some(), "it is signed");
        }
    }

    #[tokio::test]
    async fn an_upload_tells_whether_s3_takes_it() {
        let server = Loopback::serve(|_| Reply::new(200, "").header("ETag", "\"e1\""));
        let (upload, content) = (Upload::default(), vec![b'x'; 100_000]);
        assert_eq!(upload.silent_for(), None);
        objects(&server).write(&place(), content.clone().into(), Only::Always, Some(&upload)).await.unwrap();
        assert!(upload.silent_for().unwrap().as_secs() < 60);
        let request = server.requests().pop().unwrap();
        assert_eq!((request.header("content-length"), request.header("transfer-encoding")), (Some("100000"), None));
        assert_eq!(request.body.len(), content.len());
        // If nothing listens, no activity is recorded.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (nowhere, upload) = (objects_at(&format!("http://127.0.0.1:{port}")), Upload::default());
        assert!(nowhere.write(&place(), content.into(), Only::Always, Some(&upload)).await.is_err());
        assert_eq!(upload.silent_for(), None);
    }

    /// Regression: only the silence before and within the answer was bounded.
    #[tokio::test]
    async fn all_of_a_small_object_comes_in_the_time_of_one_call() {
        let server = Loopback::serve(|_| Reply::new(200, "words").slow(std::time::Duration::from_secs(5)));
        let begin = std::time::Instant::now();
        let objects = objects_by(Http::within(Bounds::IMPATIENT, None), &server.url);
        assert!(objects.look(&place()).await.unwrap_err().is_transient());
        assert!(begin.elapsed().as_secs() < 4, "{:?}", begin.elapsed());
    }

    #[tokio::test]
    async fn a_read_brings_etag_and_times_of_s3() {
        let (modified, date) = ("Mon, 23 Nov 2026 02:29:00 GMT", "Mon, 23 Nov 2026 02:30:01 GMT");
        let reply = move || Reply::new(200, "words").header("ETag", "\"e1\"").header("Last-Modified", modified);
        let server = Loopback::serve(move |_| reply().header("Date", date));
        let found = objects(&server).look(&place()).await.unwrap().unwrap();
        assert_eq!((&*found.etag, &*found.body), ("\"e1\"", b"words".as_slice()));
        assert_eq!(found.date.duration_since(found.modified).unwrap().as_secs(), 61);
        let without = Loopback::serve(move |_| reply());
        assert!(objects(&without).look(&place()).await.unwrap_err().is_transient());
        let missing = Loopback::serve(|_| refusal(404, "NoSuchKey"));
        assert_eq!(objects(&missing).look(&place()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn every_refusal_has_its_kind_and_its_hint() {
        use AwsErrorKind::*;
        let table = [
            (412, "PreconditionFailed", Invalid, true, "look up PutObject in the CloudTrail data events of the bucket"),
            (404, "NoSuchKey", NotFound, true, "upload s3://shop/claims/migrate"),
            (409, "ConditionalRequestConflict", Invalid, false, "if this persists, look up PutObject in the CloudTrail data events"),
            (403, "AccessDenied", Denied, false, "allow s3:PutObject on arn:aws:s3:::shop/claims/migrate in the instance's role"),
            (404, "NoSuchBucket", NotFound, false, "correct the bucket's name in the document"),
            (301, "PermanentRedirect", Invalid, false, "find the bucket's region"),
            (503, "SlowDown", Throttled, false, "raise the account's quota"),
            (501, "NotImplemented", Invalid, false, "use an S3 bucket"),
        ];
        for (status, code, kind, is_condition, hint) in table {
            let error = refused(refusal(status, code)).await;
            assert_eq!((error.kind, is_refused_condition(&error)), (kind, is_condition), "{error:?}");
            assert!(error.hint().unwrap().starts_with(hint), "{code}: {:?}", error.hint());
            assert_eq!((error.is_transient(), error.is_unreachable()), (matches!(status, 409 | 503), false), "{code}");
        }
        assert!(refused(Reply::new(200, "")).await.is_transient(), "without an ETag it is not known what was written");
    }

    #[tokio::test]
    async fn a_bucket_of_another_region_is_written_to_there() {
        let server = Loopback::serve(|request| match request.header("authorization") {
            Some(signed) if signed.contains("/eu-north-1/s3/") => Reply::new(200, "").header("ETag", "\"e1\""),
            _ => refusal(301, "PermanentRedirect").header("x-amz-bucket-region", "eu-north-1"),
        });
        let objects = objects(&server);
        for _ in 0..2 {
            objects.write(&place(), "{}".into(), Only::Always, None).await.unwrap();
        }
        assert_eq!(server.requests().len(), 3, "it is asked for its region once");
    }

    /// Regression: they were used until IMDS reported their expiry, if nothing else called AWS.
    #[tokio::test]
    async fn credentials_that_s3_refuses_are_not_used_for_long() {
        for (code, is_refused) in [("ExpiredToken", true), ("AccessDenied", true), ("SlowDown", false)] {
            let (http, server) = (Http::new(None), Loopback::serve(move |_| refusal(if code == "SlowDown" { 503 } else { 403 }, code)));
            let _ = objects_by(http.clone(), &server.url).look(&place()).await;
            assert_eq!(http.take_refusal(), is_refused, "{code}");
        }
    }

    /// Where S3 is the only service called, AWS's time comes from its answers.
    #[tokio::test]
    async fn an_answer_tells_what_time_it_is() {
        let date = "Mon, 23 Nov 2026 02:30:01 GMT";
        let (http, server) = (Http::new(None), Loopback::serve(move |_| refusal(404, "NoSuchKey").header("Date", date)));
        let _ = objects_by(http.clone(), &server.url).look(&place()).await;
        let off = http.clock().by_aws().duration_since(parsed(date).unwrap()).unwrap();
        assert!(off.as_secs() < 60, "{off:?}");
    }
}
