//! One signed call over the shared client, for any protocol: a body is sent, a body is received.
//!
//! A call is made once. It is retried at once if it was refused because of the time it was signed with, or because of
//! credentials that have since been replaced. All other retries are up to the steps.

use std::time::SystemTime;

use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::SigningSettings;
use bytes::Bytes;
use reqwest::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Request, Response};

use super::call::Call;
use super::classify::retry_after;
use super::connection::{Connection, Place};
use super::error::{AwsError, AwsErrorKind};
use super::signature::Signature;
use super::signing::Signing;

/// The header that carries the session token of temporary credentials.
const TOKEN: &str = "x-amz-security-token";

/// The headers and body of a POST.
pub(in crate::aws) struct Message {
    pub(in crate::aws) headers: HeaderMap,
    pub(in crate::aws) body: Bytes,
}

/// A successful answer.
#[derive(Debug)]
pub(in crate::aws) struct Answer {
    pub(in crate::aws) status: u16,
    pub(in crate::aws) body: Vec<u8>,
}

/// Code and message of an error answer.
#[derive(Debug, Default)]
pub(in crate::aws) struct Refused {
    pub(in crate::aws) code: Option<String>,
    pub(in crate::aws) message: Option<String>,
}

/// Reads the code and message from the headers and body of an error answer.
pub(in crate::aws) type ReadRefusal = fn(&HeaderMap, &[u8]) -> Refused;

/// A call that the service refused.
struct Refusal {
    error: AwsError,
    /// The `Date` of the answer: the service's time.
    date: Option<String>,
}

impl Connection {
    /// Sends `message` to `place`, signed.
    ///
    /// # Errors
    ///
    /// If the service refuses the call, or gives no complete answer.
    pub(in crate::aws) async fn post(&self, call: &Call, place: &Place, message: &Message, read: ReadRefusal) -> Result<Answer, AwsError> {
        let clock = self.http.clock();
        let mut signed = clock.now();
        let mut is_second = false;
        loop {
            let request = self.signed(call, place, message, signed).await?;
            let token = request.headers().get(TOKEN).cloned();
            let refusal = match self.exchange(request, call, read).await? {
                Ok(answer) => return Ok(answer),
                Err(refusal) => refusal,
            };
            let is_corrected = clock.corrected_by(Some(&refusal.error.code), refusal.date.as_deref(), signed);
            if is_second || !(is_corrected || self.has_newer(&refusal.error, token.as_ref()).await) {
                return Err(refusal.error);
            }
            (signed, is_second) = (clock.now(), true);
        }
    }

    /// Whether there are newer credentials than those AWS refused with `error`: after the role was replaced, or after
    /// the machine hibernated.
    async fn has_newer(&self, error: &AwsError, token: Option<&HeaderValue>) -> bool {
        if !matches!(error.kind, AwsErrorKind::Expired | AwsErrorKind::Denied) {
            return false;
        }
        self.http.refuse_credentials();
        let now = self.credentials.provide_credentials().await;
        now.is_ok_and(|now| now.session_token().map(str::as_bytes) != token.map(HeaderValue::as_bytes))
    }

    /// The request, signed for `time`.
    pub(super) async fn signed(&self, call: &Call, place: &Place, message: &Message, time: SystemTime) -> Result<Request, AwsError> {
        let mut request = Request::new(Method::POST, place.parsed().map_err(|error| call.unplaced(error))?);
        request.headers_mut().clone_from(&message.headers);
        let credentials = self.credentials.provide_credentials().await.map_err(|error| call.unsent(&error))?;
        let (service, region) = (call.service.name, &*place.region);
        let signature = Signature { credentials: &credentials, service, region, time };
        if signature.sign(&mut request, &message.body, self.http.keys()).is_none() {
            let signing = Signing { service, region, time, settings: SigningSettings::default() };
            let signed = signing.sign(&mut request, &message.body, &credentials.into());
            signed.map_err(|why| call.error(AwsErrorKind::NoEndpoint, why))?;
        }
        *request.timeout_mut() = Some(self.http.call_timeout());
        *request.body_mut() = Some(message.body.clone().into());
        Ok(request)
    }

    /// Makes one call. A refusal by the service is returned as a value, because it may still be retried.
    async fn exchange(&self, request: Request, call: &Call, read: ReadRefusal) -> Result<Result<Answer, Refusal>, AwsError> {
        let client = self.http.client().map_err(|error| call.unsent(&error))?;
        let exchange = self.http.exchanges().begin(call.operation);
        let response = client.execute(request).await.map_err(|error| call.unsent(&error))?;
        let status = response.status();
        exchange.answered(status.as_u16());
        let headers = response.headers().clone();
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        self.http.clock().heard(text(DATE));
        let body = whole(call, response, self.http.answer_limit()).await?;
        if status.is_success() {
            return Ok(Ok(Answer { status: status.as_u16(), body }));
        }
        let Refused { code, message } = read(&headers, &body);
        let refused = call.refused(code.as_deref(), message.as_deref(), Some(status.as_u16()));
        let error = AwsError { retry_after: retry_after(text(RETRY_AFTER)), ..refused };
        Ok(Err(Refusal { error, date: text(DATE).map(str::to_owned) }))
    }
}

/// Reads an answer up to `limit` bytes.
async fn whole(call: &Call, mut response: Response, limit: usize) -> Result<Vec<u8>, AwsError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| call.unsent(&error))? {
        if body.len() + chunk.len() > limit {
            return Err(call.malformed("the response is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
