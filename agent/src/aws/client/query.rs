//! Calls by AWS's Query protocol, signed: a form goes out, an XML tree comes back.
//!
//! For the services whose SDK would cost more than the few calls made of it. It tries once, and once more at once if the
//! call was refused for the time it was signed with; steps try again.
//! What each answer means is with the service.

mod xml;

use std::fmt::Display;
use std::time::SystemTime;

use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::SigningSettings;
use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use zeroize::Zeroizing;

use super::call::Call;
use super::classify::retry_after;
use super::connection::Connection;
use super::error::{AwsError, AwsErrorKind, Service};
use super::http::{ANSWER_LIMIT, CALL_TIMEOUT};
use super::signing::Signing;
use crate::text::SecretText;

pub(in crate::aws) use xml::Element;

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// The API of a service that speaks the Query protocol.
#[derive(Debug, Clone, Copy)]
pub(in crate::aws) struct Api {
    /// Called in host names and signatures as in IAM: `ec2`, `rds`, `autoscaling`, `cloudformation`.
    pub(in crate::aws) service: &'static Service,
    /// What it is called in the SDKs' variables: `EC2` of `AWS_ENDPOINT_URL_EC2`.
    pub(in crate::aws) variable: &'static str,
    /// The version of its API.
    pub(in crate::aws) version: &'static str,
}

/// What a call sends, in order. What is not given is left out.
#[derive(Debug, Clone, Default)]
pub(in crate::aws) struct Parameters(Vec<(String, SecretText)>);

impl Parameters {
    pub(in crate::aws) fn with(self, name: impl Into<String>, value: impl Display) -> Self {
        self.secret(name, value.to_string().into())
    }

    pub(in crate::aws) fn secret(mut self, name: impl Into<String>, value: SecretText) -> Self {
        self.0.push((name.into(), value));
        self
    }

    pub(in crate::aws) fn maybe(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// `Name.1`, `Name.2` …
    pub(in crate::aws) fn list(self, name: &str, values: impl IntoIterator<Item = impl Display>) -> Self {
        values.into_iter().zip(1..).fold(self, |parameters, (value, number)| parameters.with(format!("{name}.{number}"), value))
    }

    fn form(&self, operation: &str, version: &str) -> Zeroizing<String> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", operation).append_pair("Version", version);
        Zeroizing::new(form.extend_pairs(self.0.iter().map(|(name, value)| (name, value.expose()))).finish())
    }
}

/// A service at the other end of a connection.
pub(in crate::aws) struct Query {
    connection: Connection,
    api: Api,
}

impl Query {
    pub(in crate::aws) fn new(connection: Connection, api: Api) -> Self {
        Self { connection, api }
    }

    /// Makes one call, and reads its answer: the element called `OPERATIONResponse`.
    pub(in crate::aws) async fn call(&self, call: &Call, parameters: Parameters) -> Result<Element, AwsError> {
        let clock = self.connection.http.clock();
        let signed = clock.now();
        let refusal = match self.exchange(call, &parameters, signed).await? {
            Ok(answer) => return Ok(answer),
            Err(refusal) => refusal,
        };
        if !clock.corrected_by(Some(&refusal.error.code), refusal.date.as_deref(), signed) {
            return Err(refusal.error);
        }
        self.exchange(call, &parameters, clock.now()).await?.map_err(|refusal| refusal.error)
    }

    /// Makes one call, signed at `time`. What the service refuses is not yet an error.
    async fn exchange(&self, call: &Call, parameters: &Parameters, time: SystemTime) -> Result<Result<Element, Refusal>, AwsError> {
        let request = self.signed(call, parameters, time).await?;
        let client = self.connection.http.client().map_err(|error| call.unsent(&error))?;
        let exchange = self.connection.http.exchanges().begin(call.operation);
        let response = client.execute(request).await.map_err(|error| call.unsent(&error))?;
        exchange.answered(response.status().as_u16());
        let (status, after) = (response.status(), retry_after(text(response.headers(), RETRY_AFTER)));
        let date = text(response.headers(), DATE).map(str::to_owned);
        let body = body(call, response).await?;
        let answer = Element::parse(&body);
        if status.is_success() {
            let answer = answer.map_err(|why| call.malformed(why))?;
            let expected = answer.name.strip_suffix("Response") == Some(call.operation);
            return if expected { Ok(Ok(answer)) } else { Err(call.malformed("the answer is not that of this call")) };
        }
        let answer = answer.unwrap_or_default();
        let (code, message) = error_of(&answer);
        let error = AwsError { retry_after: after, ..call.refused(code, message, Some(status.as_u16())) };
        Ok(Err(Refusal { error, date }))
    }

    async fn signed(&self, call: &Call, parameters: &Parameters, time: SystemTime) -> Result<reqwest::Request, AwsError> {
        let Self { connection, api } = self;
        let place = connection.place(api.service.name, api.variable).await.map_err(|error| call.unplaced(error))?;
        let form = parameters.form(call.operation, api.version);
        let mut request = reqwest::Request::new(reqwest::Method::POST, place.parsed().map_err(|error| call.unplaced(error))?);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
        let identity = connection.credentials.provide_credentials().await.map_err(|error| call.unsent(&error))?.into();
        let signing = Signing { service: api.service.name, region: &place.region, time, settings: SigningSettings::default() };
        signing.sign(&mut request, form.as_bytes(), &identity).map_err(|why| call.error(AwsErrorKind::NoEndpoint, why))?;
        *request.timeout_mut() = Some(CALL_TIMEOUT);
        *request.body_mut() = Some(Bytes::from_owner(form).into());
        Ok(request)
    }
}

/// A call that the service has refused.
struct Refusal {
    error: AwsError,
    /// What time it was by the service.
    date: Option<String>,
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Reads an answer, as far as it may go.
async fn body(call: &Call, mut response: Response) -> Result<Vec<u8>, AwsError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| call.unsent(&error))? {
        if body.len() + chunk.len() > ANSWER_LIMIT {
            return Err(call.malformed("the answer is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Code and message of a refusal: `<Response><Errors><Error>` of EC2, `<ErrorResponse><Error>` of the others.
fn error_of(answer: &Element) -> (Option<&str>, Option<&str>) {
    let error = match answer.name.as_str() {
        "Response" => answer.items("Errors").next(),
        "ErrorResponse" => answer.child("Error"),
        _ => None,
    };
    error.map_or((None, None), |error| (error.text("Code"), error.text("Message")))
}

#[cfg(test)]
mod tests;
