//! Calls by AWS's Query protocol, signed: for the services whose SDK would cost more than the few calls made of it.
//! `aws-sdk-ec2` alone would be ten minutes of build.

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
use ingot::desk::{self, Element};
use tokio::time::{sleep, timeout};

use super::trouble::{Trouble, is_throttling};
use super::{ANSWER, ATTEMPTS, Aws};
use crate::failure::chain;

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// The API of a service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Api {
    /// As in host names and signatures.
    pub(super) service: &'static str,
    /// Where it is called instead, for stand-ins.
    pub(super) variable: &'static str,
    pub(super) version: &'static str,
}

/// How far a clock may be off, in seconds, for a signature to be valid.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>: 5 minutes; less, for
/// the time on the way.
const SKEW: u64 = 240;

/// Makes one call, again where it is throttled or gets no answer, and returns the answer.
pub(super) async fn query(aws: &Aws, api: &Api, action: &str, parameters: &[(&str, &str)]) -> Result<Element, Trouble> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", action).append_pair("Version", api.version);
    let body = form.extend_pairs(parameters).finish();
    let provider = aws.sdk.credentials_provider().ok_or_else(|| Trouble::Credentials("there are no credentials".into()))?;
    let credentials = provider.provide_credentials().await.map_err(|error| Trouble::Credentials(chain(&error)))?;
    let line = Line { aws, api, url: endpoint(aws, api).await?, identity: credentials.into() };
    let mut pause = Duration::from_secs(1);
    for _ in 1..ATTEMPTS {
        match line.call(&body).await {
            Err(trouble) if is_passing(&trouble) => sleep(pause.mul_f64(fastrand::f64())).await,
            answer => return answer,
        }
        pause *= 2;
    }
    line.call(&body).await
}

/// Whether the same call may have an answer in a moment.
fn is_passing(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Silence(_) => true,
        Trouble::Answer { status, code, .. } => matches!(status, 429 | 500..) || is_throttling(code),
        Trouble::Credentials(_) | Trouble::Own(_) => false,
    }
}

async fn endpoint(aws: &Aws, api: &Api) -> Result<String, Trouble> {
    let own = std::env::var(api.variable).ok().filter(|url| !url.is_empty());
    let url = match own.or_else(|| aws.sdk.endpoint_url().map(str::to_owned)) {
        Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
            return Err(Trouble::Own(format!("`{url}` is no URL to call: look at {} and AWS_ENDPOINT_URL", api.variable)));
        }
        Some(url) => url,
        None => {
            let is_on = |switch: Option<bool>| switch.unwrap_or_default();
            let (fips, dual_stack) = (is_on(aws.sdk.use_fips()), is_on(aws.sdk.use_dual_stack()));
            desk::endpoint(api.service, &aws.region, fips, dual_stack).await.map_err(Trouble::Own)?
        }
    };
    Ok(if url.ends_with('/') { url } else { url + "/" })
}

/// A service at the other end.
struct Line<'a> {
    aws: &'a Aws,
    api: &'a Api,
    url: String,
    identity: Identity,
}

/// What came back.
struct Answer {
    status: u16,
    /// The service's clock.
    time: Option<SystemTime>,
    body: Bytes,
}

impl Line<'_> {
    async fn call(&self, body: &str) -> Result<Element, Trouble> {
        let now = SystemTime::now();
        let mut answer = self.exchange(body, now).await?;
        if let (400..500, Some(time)) = (answer.status, answer.time)
            && apart(time, now) > Duration::from_secs(SKEW)
        {
            answer = self.exchange(body, time).await?;
        }
        let read = Element::parse(&answer.body);
        if answer.status < 300 {
            return read.map_err(|why| Trouble::Silence(why.to_owned()));
        }
        let (code, message) = refusal(&read.unwrap_or_default());
        Err(Trouble::Answer { status: answer.status, code, message, region: None })
    }

    async fn exchange(&self, body: &str, time: SystemTime) -> Result<Answer, Trouble> {
        let request = self.signed(body, time)?;
        let answer = async {
            let answer = self.aws.connector.call(request).await.map_err(|error| Trouble::Silence(chain(&error)))?;
            let (status, date) = (answer.status().as_u16(), answer.headers().get("date").map(str::to_owned));
            let body = ByteStream::new(answer.into_body()).collect().await.map_err(|error| Trouble::Silence(chain(&error)))?;
            let time = date.and_then(|date| DateTime::from_str(&date, Format::HttpDate).ok()?.try_into().ok());
            Ok(Answer { status, time, body: body.into_bytes() })
        };
        let late = |_| Trouble::Silence(format!("nothing within {} s", ANSWER.as_secs()));
        timeout(ANSWER, answer).await.map_err(late)?
    }

    fn signed(&self, body: &str, time: SystemTime) -> Result<HttpRequest, Trouble> {
        let url = self.url.as_str();
        let wrong = |why: String| Trouble::Own(format!("{url} is no URL to call: {why}"));
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST").map_err(|error| wrong(error.to_string()))?;
        request.set_uri(url).map_err(|error| wrong(error.to_string()))?;
        request.headers_mut().insert("content-type", FORM);
        let parameters = SigningParams::builder()
            .identity(&self.identity)
            .region(&self.aws.region)
            .name(self.api.service)
            .time(time)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        let signable = SignableRequest::new("POST", url, [("content-type", FORM)].into_iter(), SignableBody::Bytes(body.as_bytes()));
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

/// Code and message of a refusal: `<Response><Errors><Error>` of EC2, `<ErrorResponse><Error>` of all others.
fn refusal(answer: &Element) -> (String, String) {
    let error = answer.items("Errors").next().or_else(|| answer.child("Error"));
    let text = |name: &str| error.and_then(|error| error.text(name)).unwrap_or_default().to_owned();
    (text("Code"), text("Message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_in_both_forms() {
        for xml in [
            "<Response><Errors><Error><Code>C</Code><Message>m</Message></Error></Errors><RequestID>1</RequestID></Response>",
            "<ErrorResponse><Error><Type>Sender</Type><Code>C</Code><Message>m</Message></Error><RequestId>1</RequestId></ErrorResponse>",
        ] {
            assert_eq!(refusal(&Element::parse(xml.as_bytes()).unwrap()), ("C".to_owned(), "m".to_owned()), "{xml}");
        }
        assert_eq!(refusal(&Element::default()), (String::new(), String::new()));
    }
}
