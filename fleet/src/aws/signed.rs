//! Calls by AWS's Query protocol, signed: for the services whose SDK would cost more than the few calls made of it.
//! `aws-sdk-ec2` alone would be ten minutes of build.

use std::time::{Duration, SystemTime};

use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
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

/// Makes one call, again where it is throttled or gets no answer, and returns the answer.
pub(super) async fn query(aws: &Aws, api: &Api, action: &str, parameters: &[(&str, &str)]) -> Result<Element, Trouble> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", action).append_pair("Version", api.version);
    let body = form.extend_pairs(parameters).finish();
    let url = endpoint(aws, api).await?;
    let mut pause = Duration::from_secs(1);
    for _ in 1..ATTEMPTS {
        match once(aws, api, &url, &body).await {
            Err(trouble) if is_passing(&trouble) => sleep(pause.mul_f64(fastrand::f64())).await,
            answer => return answer,
        }
        pause *= 2;
    }
    once(aws, api, &url, &body).await
}

/// Whether the same call may have an answer in a moment.
fn is_passing(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Silence(_) => true,
        Trouble::Answer { status, code, .. } => *status >= 500 || is_throttling(code),
        Trouble::Credentials(_) | Trouble::Own(_) => false,
    }
}

async fn endpoint(aws: &Aws, api: &Api) -> Result<String, Trouble> {
    let own = std::env::var(api.variable).ok().filter(|url| !url.is_empty());
    let own = own.or_else(|| aws.sdk.endpoint_url().map(str::to_owned));
    let url = match own {
        Some(url) => url,
        None => {
            let is_on = |switch: Option<bool>| switch.unwrap_or_default();
            let (fips, dual_stack) = (is_on(aws.sdk.use_fips()), is_on(aws.sdk.use_dual_stack()));
            desk::endpoint(api.service, &aws.region, fips, dual_stack).await.map_err(Trouble::Own)?
        }
    };
    Ok(if url.ends_with('/') { url } else { url + "/" })
}

async fn once(aws: &Aws, api: &Api, url: &str, body: &str) -> Result<Element, Trouble> {
    let request = signed(aws, api, url, body).await?;
    let answer = async {
        let answer = aws.connector.call(request).await.map_err(|error| Trouble::Silence(chain(&error)))?;
        let status = answer.status().as_u16();
        let body = ByteStream::new(answer.into_body()).collect().await.map_err(|error| Trouble::Silence(chain(&error)))?;
        Ok((status, body.into_bytes()))
    };
    let late = |_| Trouble::Silence(format!("nothing within {} s", ANSWER.as_secs()));
    let (status, body) = timeout(ANSWER, answer).await.map_err(late)??;
    let answer = Element::parse(&body);
    if status < 300 {
        return answer.map_err(|why| Trouble::Silence(why.to_owned()));
    }
    let (code, message) = refusal(&answer.unwrap_or_default());
    Err(Trouble::Answer { status, code, message, region: None })
}

/// Code and message of a refusal: `<Response><Errors><Error>` of EC2, `<ErrorResponse><Error>` of others.
fn refusal(answer: &Element) -> (String, String) {
    let error = answer.items("Errors").next().or_else(|| answer.child("Error"));
    let text = |name: &str| error.and_then(|error| error.text(name)).unwrap_or_default().to_owned();
    (text("Code"), text("Message"))
}

async fn signed(aws: &Aws, api: &Api, url: &str, body: &str) -> Result<HttpRequest, Trouble> {
    let provider = aws.sdk.credentials_provider().ok_or_else(|| Trouble::Credentials("there are no credentials".into()))?;
    let credentials = provider.provide_credentials().await.map_err(|error| Trouble::Credentials(chain(&error)))?;
    let wrong = |why: String| Trouble::Own(format!("{url} is no URL to call: {why}"));
    let mut request = HttpRequest::new(SdkBody::from(body));
    request.set_method("POST").map_err(|error| wrong(error.to_string()))?;
    request.set_uri(url).map_err(|error| wrong(error.to_string()))?;
    request.headers_mut().insert("content-type", FORM);
    let host = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let identity = Identity::from(credentials);
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(&aws.region)
        .name(api.service)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| wrong(error.to_string()))?;
    let headers = [("host", host), ("content-type", FORM)];
    let signable = SignableRequest::new("POST", url, headers.into_iter(), SignableBody::Bytes(body.as_bytes()));
    let signature = signable.and_then(|signable| sign(signable, &parameters.into())).map_err(|error| wrong(error.to_string()))?;
    for (name, value) in signature.output().headers() {
        request.headers_mut().insert(name.to_owned(), value.to_owned());
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_however_a_service_writes_it() {
        for text in [
            "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error></Errors></Response>",
            "<ErrorResponse><Error><Type>Sender</Type><Code>UnauthorizedOperation</Code><Message>no</Message></Error></ErrorResponse>",
        ] {
            assert_eq!(refusal(&Element::parse(text.as_bytes()).unwrap()), ("UnauthorizedOperation".into(), "no".into()), "{text}");
        }
        assert_eq!(refusal(&Element::default()), (String::new(), String::new()));
    }
}
