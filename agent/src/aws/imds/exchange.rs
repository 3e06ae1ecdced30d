//! One request to the instance metadata service, and the meaning of its answer.
//!
//! This module neither waits nor retries; [`imds`](super) does.

use std::error::Error;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use futures_util::future::{Either, select};
use http::header::{DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Request, StatusCode, request};
use reqwest::Url;
use tokio::time::timeout;

use crate::aws::client::http::{Http, reason};
use crate::aws::client::skew;
use crate::aws::metadata::ImdsError;
use crate::net::plain_http::{Client, SendError};

/// How long a metadata session token is valid: six hours, the longest IMDS grants.
///
/// A boot is minutes long, so one token serves it; asking for the maximum means a boot that is stuck waiting does
/// not also fail with a 401.
///
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>
const TOKEN_TTL: Duration = Duration::from_secs(21_600);

/// How long connecting may take, for the first to the third try, and then for all later ones. On an instance whose
/// network is up it takes less than 1 ms; a packet lost while the interface comes up should not cost a second.
const CONNECT_TIMEOUTS: [Duration; 4] =
    [Duration::from_millis(150), Duration::from_millis(300), Duration::from_millis(600), Duration::from_secs(1)];

/// How long IPv4 is tried before IPv6 starts as well.
const HEAD_START: Duration = Duration::from_millis(150);

/// The largest answer that is read. User data is 16 KiB at most; everything else is smaller.
const BODY_LIMIT: usize = 1024 * 1024;

const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TOKEN_TTL_SECONDS: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");

/// The addresses of IMDS.
pub(super) struct Transport {
    pub(super) http: Http,
    endpoint: Url,
    /// Tried when `endpoint` does not connect.
    other: Option<Url>,
    client: Client,
}

/// A token, and the endpoint that issued it.
#[derive(Debug, Clone)]
pub(super) struct Session {
    token: HeaderValue,
    endpoint: Url,
    pub(super) rung: usize,
}

impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        self.token == other.token && self.endpoint == other.endpoint
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    /// The time according to IMDS.
    pub(super) date: Option<SystemTime>,
    retry_after: Option<Duration>,
}

impl Answer {
    /// The reason to retry if the service is reachable but overloaded.
    pub(super) fn busy(&self) -> Option<Again> {
        (self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS).then(|| Again {
            why: format!("status {}", self.status.as_u16()),
            retry_after: self.retry_after,
            connected: true,
            impostor: false,
        })
    }
}

/// Why a try failed with an error that may pass.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) why: String,
    pub(super) retry_after: Option<Duration>,
    pub(super) connected: bool,
    /// Whether the answer was something that IMDS never sends.
    pub(super) impostor: bool,
}

/// Why a try failed.
#[derive(Debug)]
pub(super) enum Miss {
    Again(Again),
    Final(ImdsError),
}

impl Transport {
    pub(super) fn new(http: Http, endpoint: Url, other: Option<Url>) -> Self {
        Self { http, endpoint, other, client: Client::default() }
    }

    /// Requests a token once: over IPv4 first, and over IPv6 too if IPv4 fails to connect or is slow.
    pub(super) async fn token(&self, rung: usize, limit: Duration) -> Result<Session, Miss> {
        let Some(other) = &self.other else { return self.put(&self.endpoint, rung, limit).await };
        let mut first = pin!(self.put(&self.endpoint, rung, limit));
        let early = tokio::time::timeout(HEAD_START, &mut first).await;
        match early {
            Ok(Err(Miss::Again(miss))) if !miss.connected => self.put(other, rung, limit).await.map_err(|_| Miss::Again(miss)),
            Ok(answered) => answered,
            Err(_) => match select(first, pin!(self.put(other, rung, limit))).await {
                Either::Left((Err(Miss::Again(miss)), second)) => second.await.map_err(|_| Miss::Again(miss)),
                Either::Left((answered, _)) => answered,
                Either::Right((Ok(session), _)) => Ok(session),
                // The IPv6 endpoint is off by default, so only the IPv4 endpoint's error is final.
                Either::Right((Err(_), first)) => first.await,
            },
        }
    }

    async fn put(&self, endpoint: &Url, rung: usize, limit: Duration) -> Result<Session, Miss> {
        let request = Request::put(at(endpoint, "api/token").as_str()).header(TOKEN_TTL_SECONDS, TOKEN_TTL.as_secs());
        let answer = self.exchange(rung, "api/token", request, limit).await?;
        if let Some(busy) = answer.busy() {
            return Err(Miss::Again(busy));
        }
        match answer.status {
            StatusCode::OK => {}
            StatusCode::FORBIDDEN => return Err(Miss::Final(ImdsError::Disabled)),
            status => return Err(Miss::Final(ImdsError::TokenRefused { status: status.as_u16() })),
        }
        match HeaderValue::from_bytes(answer.body.trim_ascii()) {
            Ok(mut token) if !token.is_empty() => {
                token.set_sensitive(true);
                Ok(Session { token, endpoint: endpoint.clone(), rung })
            }
            _ => Err(Miss::Final(ImdsError::Malformed { path: "api/token".into(), why: "no token in it".into() })),
        }
    }

    /// Reads one item once. Any status counts as an answer.
    pub(super) async fn get(&self, session: &Session, path: &str, rung: usize, limit: Duration) -> Result<Answer, Miss> {
        let request = Request::get(at(&session.endpoint, path).as_str()).header(TOKEN, session.token.clone());
        self.exchange(rung, path, request, limit).await
    }

    async fn exchange(&self, rung: usize, path: &str, request: request::Builder, limit: Duration) -> Result<Answer, Miss> {
        let late = |_| Miss::Again(Again { why: "no response in time".into(), retry_after: None, connected: true, impostor: false });
        timeout(limit, self.ask(rung, path, request)).await.map_err(late)?
    }

    async fn ask(&self, rung: usize, path: &str, request: request::Builder) -> Result<Answer, Miss> {
        let malformed = |why: String| Miss::Final(ImdsError::Malformed { path: path.into(), why });
        let request = request.body(String::new()).map_err(|error| malformed(error.to_string()))?;
        let exchange = self.http.exchanges().begin(format!("IMDS {path}"));
        let connect_timeout = CONNECT_TIMEOUTS[rung.min(CONNECT_TIMEOUTS.len() - 1)];
        let sent = self.client.send(request, self.http.resolver(), connect_timeout).await;
        let mut response = sent.map_err(|error| again(&error, !error.is_connect(), matches!(error, SendError::Interim)))?;
        let status = response.head.status;
        exchange.answered(status.as_u16());
        let retry_after = retry_after(&response.head.headers);
        let date = response.head.headers.get(DATE).and_then(|date| skew::parsed(date.to_str().ok()?));
        let mut body = Vec::new();
        // A body shorter than its Content-Length is an error here, never a short answer.
        while let Some(chunk) = self.client.chunk(&mut response).await.map_err(|error| again(&error, true, false))? {
            if body.len() + chunk.len() > BODY_LIMIT {
                return Err(malformed(format!("longer than {BODY_LIMIT} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body, date, retry_after })
    }
}

/// `path` below `/latest`, used as it is: the caller has already escaped it.
fn at(endpoint: &Url, path: &str) -> Url {
    let mut url = endpoint.clone();
    url.set_path(&format!("/latest/{path}"));
    url
}

fn again(error: &(dyn Error + 'static), connected: bool, impostor: bool) -> Miss {
    let mut why = reason(error);
    if impostor {
        why.push_str(": this is not IMDS");
    }
    Miss::Again(Again { why, retry_after: None, connected, impostor })
}

/// The longest pause that an answer may ask for. A larger number does not come from IMDS.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// `Retry-After` in seconds. IMDS does not use the other form, a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok();
    seconds.map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_makes_a_pause_of_years() {
        let after = |value: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(value).unwrap())]));
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(after("3"), seconds(3));
        assert_eq!([after("3600"), after("1000000000000000000")], [seconds(60); 2]);
        assert_eq!([after("1000000000000000000000"), after("Mon, 30 Nov 2026 00:00:00 GMT")], [None; 2]);
    }
}
