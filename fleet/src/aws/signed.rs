//! Calls signed here, for services of which only a few calls are needed and whose SDK would cost too much:
//! `aws-sdk-ec2` alone adds ten minutes to the build. Requests are forms answered in XML, or JSON both ways.

mod api;
mod endpoint;

use std::time::{Duration, SystemTime};

use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use ingot::desk::Element;
use serde_json::Value as Json;
use tokio::time::{sleep, timeout};

pub(super) use self::api::Api;
use self::endpoint::Endpoint;
use super::trouble::{Trouble, came, is_throttling};
use super::{ANSWER, ATTEMPTS, Aws};
use crate::failure::chain;

/// How far the local clock may be off before a call is signed with the service's clock, in seconds.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>: 5 minutes,
/// minus some time in transit.
const SKEW: u64 = 240;

/// Makes one call by AWS's Query protocol and returns the answer. A throttled or unanswered call is retried.
pub(super) async fn query(aws: &Aws, api: &Api, action: &str, parameters: &[(&str, &str)]) -> Result<Element, Trouble> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", action).append_pair("Version", api.version);
    let kind = "application/x-www-form-urlencoded; charset=utf-8";
    let message = Message { kind, target: None, body: form.extend_pairs(parameters).finish() };
    called(aws, api, &message, &Dialect { read: xml, refusal: xml_refusal }).await
}

/// Makes one call by AWS's JSON protocol, with the same retries.
pub(super) async fn json(aws: &Aws, api: &Api, action: &str, parameters: &Json) -> Result<Json, Trouble> {
    let target = Some(format!("{}.{action}", api.version));
    let message = Message { kind: "application/x-amz-json-1.1", target, body: parameters.to_string() };
    called(aws, api, &message, &Dialect { read: object, refusal: json_refusal }).await
}

async fn called<T: Default>(aws: &Aws, api: &Api, message: &Message, dialect: &Dialect<T>) -> Result<T, Trouble> {
    let provider = aws.sdk.credentials_provider().ok_or_else(|| Trouble::Credentials("no credentials were found".into()))?;
    let credentials = provider.provide_credentials().await.map_err(|error| Trouble::Credentials(chain(&error)))?;
    let line = Line { aws, api, endpoint: endpoint::of(aws, api).await?, identity: credentials.into() };
    let mut pause = Duration::from_secs(1);
    for _ in 1..ATTEMPTS {
        match line.call(message, dialect).await {
            Err(trouble) if is_passing(&trouble) => sleep(pause.mul_f64(fastrand::f64())).await,
            answer => return answer,
        }
        pause *= 2;
    }
    line.call(message, dialect).await
}

/// Returns whether the same call may succeed in a moment.
fn is_passing(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Silence(_) | Trouble::Strange(_) => true,
        Trouble::Answer { status, code, .. } => matches!(status, 429 | 500..) || is_throttling(code),
        Trouble::Credentials(_) | Trouble::Own(_) => false,
    }
}

/// The content of a request.
struct Message {
    /// Its Content-Type.
    kind: &'static str,
    /// Its X-Amz-Target.
    target: Option<String>,
    body: String,
}

impl Message {
    fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        [("content-type", self.kind)].into_iter().chain(self.target.as_deref().map(|target| ("x-amz-target", target)))
    }
}

/// How answers are read.
struct Dialect<T> {
    read: fn(&[u8]) -> Option<T>,
    /// Extracts code and message of an error response.
    refusal: fn(&T) -> (String, String),
}

/// A service and what is needed to call it.
struct Line<'a> {
    aws: &'a Aws,
    api: &'a Api,
    endpoint: Endpoint,
    identity: Identity,
}

/// An HTTP response.
struct Answer {
    status: u16,
    /// The service's clock.
    time: Option<SystemTime>,
    kind: String,
    body: Bytes,
}

impl Line<'_> {
    async fn call<T: Default>(&self, message: &Message, dialect: &Dialect<T>) -> Result<T, Trouble> {
        let now = SystemTime::now();
        let mut answer = self.exchange(message, now).await?;
        if let (400..500, Some(time)) = (answer.status, answer.time)
            && apart(time, now) > Duration::from_secs(SKEW)
        {
            answer = self.exchange(message, time).await?;
        }
        match ((dialect.read)(&answer.body), answer.status) {
            (Some(read), ..300) => Ok(read),
            // An overloaded service may answer in any format.
            (None, status) if status < 500 && status != 429 => Err(Trouble::Strange(came(status, &answer.kind, &answer.body))),
            (read, status) => {
                let (code, message) = (dialect.refusal)(&read.unwrap_or_default());
                Err(Trouble::Answer { status, code, message, region: None })
            }
        }
    }

    async fn exchange(&self, message: &Message, time: SystemTime) -> Result<Answer, Trouble> {
        let request = self.signed(message, time)?;
        let answer = async {
            let answer = self.aws.connector.call(request).await.map_err(|error| Trouble::Silence(chain(&error)))?;
            let header = |name: &str| answer.headers().get(name).map(str::to_owned);
            let (status, date, kind) = (answer.status().as_u16(), header("date"), header("content-type").unwrap_or_default());
            let body = ByteStream::new(answer.into_body()).collect().await.map_err(|error| Trouble::Silence(chain(&error)))?;
            let time = date.and_then(|date| DateTime::from_str(&date, Format::HttpDate).ok()?.try_into().ok());
            Ok(Answer { status, time, kind, body: body.into_bytes() })
        };
        let late = |_| Trouble::Silence(format!("timed out after {} s", ANSWER.as_secs()));
        timeout(ANSWER, answer).await.map_err(late)?
    }

    fn signed(&self, message: &Message, time: SystemTime) -> Result<HttpRequest, Trouble> {
        let Endpoint { url, region } = &self.endpoint;
        let wrong = |why: String| Trouble::Own(format!("{url} is not a valid URL: {why}"));
        let mut request = HttpRequest::new(SdkBody::from(message.body.as_str()));
        request.set_method("POST").map_err(|error| wrong(error.to_string()))?;
        request.set_uri(url.as_str()).map_err(|error| wrong(error.to_string()))?;
        for (name, value) in message.headers() {
            request.headers_mut().insert(name.to_owned(), value.to_owned());
        }
        let parameters = SigningParams::builder()
            .identity(&self.identity)
            .region(region)
            .name(self.api.service)
            .time(time)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        let signable = SignableRequest::new("POST", url, message.headers(), SignableBody::Bytes(message.body.as_bytes()));
        let signature = signable.and_then(|signable| sign(signable, &parameters.into())).map_err(|error| wrong(error.to_string()))?;
        for (name, value) in signature.output().headers() {
            request.headers_mut().insert(name.to_owned(), value.to_owned());
        }
        Ok(request)
    }
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|error| error.duration())
}

/// Accepts only AWS's root elements, since an HTML page may also be valid XML.
fn xml(body: &[u8]) -> Option<Element> {
    Element::parse(body).ok().filter(|answer| answer.name.ends_with("Response"))
}

/// Reads `<Response><Errors><Error>` of EC2, and `<ErrorResponse><Error>` of all other services.
fn xml_refusal(answer: &Element) -> (String, String) {
    let error = answer.items("Errors").next().or_else(|| answer.child("Error"));
    let text = |name: &str| error.and_then(|error| error.text(name)).unwrap_or_default().to_owned();
    (text("Code"), text("Message"))
}

fn object(body: &[u8]) -> Option<Json> {
    serde_json::from_slice(body).ok().filter(Json::is_object)
}

/// Reads `{"__type": "…#Code", "message": …}`; some services spell it `Message`.
///
/// Source: <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html#operation-error-serialization>
fn json_refusal(answer: &Json) -> (String, String) {
    let text = |name: &str| answer[name].as_str().unwrap_or_default();
    let code = text("__type").rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default();
    let message = if text("message").is_empty() { text("Message") } else { text("message") };
    (code.to_owned(), message.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_is_read_in_each_form() {
        let told = ("C".to_owned(), "m".to_owned());
        for xml in [
            "<Response><Errors><Error><Code>C</Code><Message>m</Message></Error></Errors><RequestID>1</RequestID></Response>",
            "<ErrorResponse><Error><Type>Sender</Type><Code>C</Code><Message>m</Message></Error><RequestId>1</RequestId></ErrorResponse>",
        ] {
            assert_eq!(xml_refusal(&Element::parse(xml.as_bytes()).unwrap()), told, "{xml}");
        }
        for json in [
            json!({ "__type": "com.amazonaws.acm#C", "message": "m" }),
            json!({ "__type": "C:http://internal.amazon.com/", "Message": "m" }),
        ] {
            assert_eq!(json_refusal(&json), told, "{json}");
        }
        let none = (String::new(), String::new());
        assert_eq!((xml_refusal(&Element::default()), json_refusal(&Json::Null)), (none.clone(), none));
    }
}
