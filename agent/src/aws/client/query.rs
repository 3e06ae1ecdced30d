//! Signed calls over AWS's Query protocol: a form is sent, an XML tree is received.
//!
//! For services of which only a few calls are made, too few to be worth the size of an SDK. What each answer means is
//! decided in the service's own file.

mod xml;

use std::fmt::Display;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::call::Call;
use super::connection::{Connection, Place};
use super::error::{AwsError, Service};
use super::signed::{Message, Refused};
use crate::text::SecretText;

pub use xml::Element;

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// The API of a service that speaks the Query protocol.
#[derive(Debug, Clone, Copy)]
pub(in crate::aws) struct Api {
    /// The service's name in host names and signatures, which is also its name in IAM: `ec2`, `rds`, `autoscaling`,
    /// `cloudformation`.
    pub(in crate::aws) service: &'static Service,
    /// The service's name in the SDKs' variables, such as `EC2` in `AWS_ENDPOINT_URL_EC2`.
    pub(in crate::aws) variable: &'static str,
    /// The version of its API.
    pub(in crate::aws) version: &'static str,
}

/// The parameters of a call, in order. Absent values are left out.
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

/// A service and the connection to it.
pub(in crate::aws) struct Query {
    connection: Connection,
    api: Api,
}

impl Query {
    pub(in crate::aws) fn new(connection: Connection, api: Api) -> Self {
        Self { connection, api }
    }

    /// Makes one call and returns the answer, an element named `OPERATIONResponse`.
    pub(in crate::aws) async fn call(&self, call: &Call, parameters: Parameters) -> Result<Element, AwsError> {
        let place = self.place(call).await?;
        let answer = self.connection.post(call, &place, &self.message(call, &parameters), refused).await?;
        let answer = Element::parse(&answer.body).map_err(|why| call.malformed(why))?;
        let expected = answer.name.strip_suffix("Response") == Some(call.operation);
        if expected { Ok(answer) } else { Err(call.malformed("the response does not belong to this call")) }
    }

    async fn place(&self, call: &Call) -> Result<Place, AwsError> {
        self.connection.place(self.api.service.name, self.api.variable).await.map_err(|error| call.unplaced(error))
    }

    fn message(&self, call: &Call, parameters: &Parameters) -> Message {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(FORM))]);
        Message { headers, body: Bytes::from_owner(parameters.form(call.operation, self.api.version)) }
    }
}

/// Code and message of an error answer: `<Response><Errors><Error>` in EC2, `<ErrorResponse><Error>` elsewhere.
fn refused(_: &HeaderMap, body: &[u8]) -> Refused {
    let answer = Element::parse(body).unwrap_or_default();
    let error = match answer.name.as_str() {
        "Response" => answer.items("Errors").next(),
        "ErrorResponse" => answer.child("Error"),
        _ => None,
    };
    let text = |name| error.and_then(|error| error.text(name)).map(str::to_owned);
    Refused { code: text("Code"), message: text("Message") }
}

#[cfg(test)]
mod tests;
