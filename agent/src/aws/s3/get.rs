//! Requests for one object: a range of it, and how the answer is read. Whole objects are read and written in
//! [`put`](super::put).

use std::time::SystemTime;

use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::http_request::{PayloadChecksumKind, PercentEncodingMode, SigningSettings, UriPathNormalizationMode};
use bytes::Bytes;
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, LAST_MODIFIED, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Method, Response, StatusCode, Url};

use super::codes::{self, CHANGED};
use super::{SERVICE, Upload};
use crate::aws::client::call::Call;
use crate::aws::client::classify::retry_after;
use crate::aws::client::error::{AwsError, AwsErrorKind};
use crate::aws::client::http::Http;
use crate::aws::client::query::Element;
use crate::aws::client::signing::Signing;
use crate::digest::Sha256;

/// How much of an error answer is read, in bytes.
const REFUSAL_LIMIT: usize = 64 << 10;

/// Everything that each request for the same object needs.
#[derive(Debug, Clone)]
pub(super) struct Requester {
    pub(super) http: Http,
    pub(super) url: Url,
    /// The credentials and region that requests are signed with; `None` for a plain server.
    pub(super) signer: Option<(SharedCredentialsProvider, String)>,
    pub(super) call: Call,
}

/// A range of bytes from the first to the last one. The last one may not be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u64,
    pub(super) last: Option<u64>,
}

/// An answer that holds bytes of the object.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response,
    /// Whether it begins at the requested byte, not at the beginning of the object.
    pub(super) is_part: bool,
    /// Length of the whole object.
    pub(super) length: Option<u64>,
    pub(super) version: Version,
    pub(super) sha256: Option<Sha256>,
}

/// What distinguishes one version of an object from another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Version {
    etag: Option<String>,
    modified: Option<String>,
}

/// An answer without bytes of the object.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The bucket is in another region: repeat the request there.
    Region(String, AwsError),
    /// The object is at another URL: repeat the request there.
    Location(Url),
    /// The request was signed with a time that was not AWS's. AWS's time is now known: repeat the request.
    Clock(AwsError),
    /// There is no first byte: the object is empty.
    Empty,
    Final(AwsError),
}

impl From<AwsError> for Refusal {
    fn from(error: AwsError) -> Self {
        Self::Final(error)
    }
}

impl Refusal {
    /// The error, for callers that do not repeat the request.
    pub(super) fn error(self, call: &Call) -> AwsError {
        match self {
            Self::Final(error) | Self::Region(_, error) | Self::Clock(error) => error,
            Self::Location(_) => call.error(AwsErrorKind::Invalid, "the server redirects too often"),
            Self::Empty => changed(call),
        }
    }
}

impl Requester {
    /// Requests some bytes, of `version` if given.
    pub(super) async fn get(&self, span: Span, version: Option<&Version>) -> Result<Answer, Refusal> {
        let call = &self.call;
        let last = span.last.map_or_else(String::new, |last| last.to_string());
        let mut headers = vec![(RANGE, format!("bytes={}-{last}", span.first))];
        // If-Match does not accept a weak ETag. The answer still says which version it belongs to.
        let strong = version.and_then(|version| version.etag.clone()).filter(|etag| !etag.starts_with("W/"));
        headers.extend(strong.map(|etag| (IF_MATCH, etag)));
        let (response, signed) = self.send(Method::GET, headers, None).await?;
        let answered = Version::of(response.headers());
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok()).and_then(content_range);
                let Some((_, length)) = range.filter(|(first, _)| *first == span.first) else {
                    return Err(call.malformed("it is not the requested range").into());
                };
                if version.is_some_and(|version| *version != answered) {
                    return Err(changed(call).into());
                }
                // The answer to a range request may carry the digest of that range only.
                let is_all = length.is_some() && response.content_length() == length;
                let sha256 = whole_sha256(response.headers()).filter(|_| is_all);
                Ok(Answer { response, is_part: true, length, version: answered, sha256 })
            }
            StatusCode::OK => {
                let (length, sha256) = (response.content_length(), whole_sha256(response.headers()));
                Ok(Answer { response, is_part: false, length, version: answered, sha256 })
            }
            StatusCode::RANGE_NOT_SATISFIABLE if span.first == 0 => Err(Refusal::Empty),
            StatusCode::PRECONDITION_FAILED => Err(changed(call).into()),
            _ => Err(self.refusal(response, signed).await),
        }
    }

    /// The digest that S3 keeps of the whole object. S3 returns it for a HEAD, but not with a range.
    pub(super) async fn sha256(&self) -> Result<Option<Sha256>, AwsError> {
        let (response, signed) = self.send(Method::HEAD, Vec::new(), None).await?;
        match response.status() {
            StatusCode::OK => Ok(whole_sha256(response.headers())),
            _ => Err(self.refusal(response, signed).await.error(&self.call)),
        }
    }

    /// Sends a request, with a body if it writes. Returns the answer, and the time the request was signed with.
    pub(super) async fn send(
        &self,
        method: Method,
        headers: Vec<(HeaderName, String)>,
        body: Option<(Bytes, Option<&Upload>)>,
    ) -> Result<(Response, SystemTime), AwsError> {
        let call = &self.call;
        let client = self.http.client().map_err(|error| call.unsent(&error))?;
        let time = self.http.clock().now();
        let mut request = reqwest::Request::new(method, self.url.clone());
        // A range may take long; all other requests are short.
        if headers.iter().all(|(name, _)| *name != RANGE) {
            *request.timeout_mut() = Some(self.http.call_timeout());
        }
        for (name, value) in headers {
            let value = HeaderValue::from_str(&value).map_err(|_| call.malformed("the server's ETag is not a valid header"))?;
            request.headers_mut().insert(name, value);
        }
        if let Some((credentials, region)) = &self.signer {
            if body.is_none() {
                request.headers_mut().insert("x-amz-checksum-mode", HeaderValue::from_static("ENABLED"));
            }
            let identity = credentials.provide_credentials().await.map_err(|error| call.unsent(&error))?.into();
            let signing = Signing { service: SERVICE.name, region, time, settings: as_s3_signs() };
            let signed = body.as_ref().map_or(&[][..], |(body, _)| body);
            signing.sign(&mut request, signed, &identity).map_err(|why| call.error(AwsErrorKind::NoEndpoint, why))?;
        }
        let upload = body.as_ref().and_then(|(_, upload)| *upload);
        if let Some((body, _)) = body {
            *request.body_mut() = Some(match upload {
                Some(upload) => {
                    // Without a length, reqwest would send the body chunked, which S3 does not accept.
                    request.headers_mut().insert(CONTENT_LENGTH, body.len().into());
                    upload.body(body)
                }
                None => body.into(),
            });
        }
        let exchange = self.http.exchanges().begin(call.operation);
        let response = client.execute(request).await.map_err(|error| call.unsent(&error))?;
        exchange.answered(response.status().as_u16());
        if self.signer.is_some() {
            self.http.clock().heard(response.headers().get(DATE).and_then(|date| date.to_str().ok()));
        }
        upload.into_iter().for_each(Upload::moves);
        Ok((response, time))
    }

    pub(super) async fn refusal(&self, response: Response, signed: SystemTime) -> Refusal {
        let call = &self.call;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if self.signer.is_none() {
            let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
            if let Some(location) = location.filter(|_| status.is_redirection()) {
                return match self.url.join(location) {
                    Ok(url) if url.scheme() == "https" => Refusal::Location(url),
                    _ => call.error(AwsErrorKind::Invalid, "the server redirects to a URL that is not https").into(),
                };
            }
            return of_a_server(call, status, retry_after(text(RETRY_AFTER.as_str()))).into();
        }
        let answer = Element::parse(&beginning(response).await).unwrap_or_default();
        let (code, message) = match answer.name.as_str() {
            "Error" => (answer.text("Code"), answer.text("Message")),
            // The answer to a HEAD has no body that could carry the code.
            _ if status == StatusCode::NOT_FOUND => (Some("NoSuchKey"), None),
            _ => (None, None),
        };
        let mut error = call.refused(code, message, Some(status.as_u16()));
        if let Some(kind) = codes::kind(code.unwrap_or_default(), message.unwrap_or_default()) {
            error.kind = kind;
        }
        error.retry_after = retry_after(text(RETRY_AFTER.as_str()));
        if matches!(error.kind, AwsErrorKind::Expired | AwsErrorKind::Denied) {
            // The next try then uses the credentials of the role that replaced this one, if there is one.
            self.http.refuse_credentials();
        }
        if self.http.clock().corrected_by(code, text("date"), signed) {
            return Refusal::Clock(error);
        }
        let own = self.signer.as_ref().map_or("", |(_, region)| region);
        match text("x-amz-bucket-region").or(answer.text("Region")) {
            Some(region) if region != own && is_region(region) => Refusal::Region(region.to_owned(), error),
            _ => error.into(),
        }
    }
}

impl Version {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self { etag: text(ETAG), modified: text(LAST_MODIFIED) }
    }
}

/// S3 signatures differ from those of all other services: paths are encoded once and not normalized, and the digest of
/// the body is sent along.
fn as_s3_signs() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings
}

fn changed(call: &Call) -> AwsError {
    AwsError { code: CHANGED.into(), ..call.error(AwsErrorKind::Unreachable, "it was replaced while it was being downloaded") }
}

/// Parses the first byte and the total length from `bytes 0-99/1234`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, length) = text.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, length.parse().ok()))
}

/// The digest of the whole object. A digest of part digests is recognized by its dash, and ignored.
///
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>.
fn whole_sha256(headers: &HeaderMap) -> Option<Sha256> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let of_parts = text("x-amz-checksum-type").is_some_and(|kind| kind.eq_ignore_ascii_case("COMPOSITE"));
    text("x-amz-checksum-sha256").filter(|_| !of_parts).and_then(Sha256::parse)
}

fn is_region(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn of_a_server(call: &Call, status: StatusCode, retry_after: Option<std::time::Duration>) -> AwsError {
    let (kind, what) = match status.as_u16() {
        401 | 403 | 407 => (AwsErrorKind::Denied, "access denied"),
        404 | 410 => (AwsErrorKind::NotFound, "not found"),
        429 => (AwsErrorKind::Throttled, "throttled"),
        408 | 500.. => (AwsErrorKind::Unreachable, "the server failed to respond"),
        _ => (AwsErrorKind::Invalid, "the request was not accepted"),
    };
    AwsError { retry_after, ..call.error(kind, format!("{what} (status {})", status.as_u16())) }
}

async fn beginning(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > REFUSAL_LIMIT {
            break;
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_content_ranges() {
        assert_eq!(content_range("bytes 5-99/1234"), Some((5, Some(1234))));
        assert_eq!(content_range("bytes 5-99/*"), Some((5, None)));
        for wrong in ["", "bytes */5", "5-9/10", "bytes 5"] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_digest_of_parts_is_not_that_of_the_whole() {
        let of = |sum: &str, kind: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-checksum-sha256", sum.parse().unwrap());
            kind.map(|kind| headers.insert("x-amz-checksum-type", HeaderValue::from_static(kind)));
            whole_sha256(&headers)
        };
        let sum = "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=";
        assert_eq!(of(sum, Some("FULL_OBJECT")), Some(Sha256::of(b"test")));
        assert_eq!(of(sum, None), Some(Sha256::of(b"test")));
        assert_eq!(of(sum, Some("COMPOSITE")), None);
        assert_eq!(of(&format!("{sum}-3"), None), None);
    }
}
