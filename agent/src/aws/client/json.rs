//! Signed calls to services that speak JSON: written by hand, or written and read by an SDK's types.
//!
//! Of the SDKs, only the serializers of requests and answers are used. Endpoints, signing and errors are handled as for
//! all other calls, so that the SDKs' own machinery for these (clients, identities, retries) is not linked: 346 kB.
//!
//! Source: <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>.

use aws_smithy_runtime_api::client::interceptors::context::{Input, Output};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::ser_de::{DeserializeResponse, SerializeRequest, SharedRequestSerializer, SharedResponseDeserializer};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{ConfigBag, FrozenLayer};
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::call::Call;
use super::connection::{Connection, Place};
use super::error::{AwsError, AwsErrorKind};
use super::signed::{Message, Refused};
use crate::json::of_bytes;

const JSON_1_1: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");
const JSON_1_0: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");
const TARGET: &str = "x-amz-target";

/// The fields of an error answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    #[serde(rename = "__type", alias = "code")]
    code: Option<String>,
    #[serde(alias = "Message", alias = "errorMessage")]
    message: Option<String>,
}

impl Connection {
    /// Makes the call that `target` names, such as `AmazonSSM.GetParameters`, and returns the JSON of the answer.
    pub(in crate::aws) async fn json(&self, call: &Call, place: &Place, target: &'static str, body: Bytes) -> Result<Vec<u8>, AwsError> {
        self.named(call, place, (JSON_1_1, target), body).await
    }

    /// As [`json`](Connection::json), for services that speak version 1.0 of the protocol, such as SQS.
    pub(in crate::aws) async fn json_1_0(
        &self,
        call: &Call,
        place: &Place,
        target: &'static str,
        body: Bytes,
    ) -> Result<Vec<u8>, AwsError> {
        self.named(call, place, (JSON_1_0, target), body).await
    }

    async fn named(
        &self,
        call: &Call,
        place: &Place,
        (kind, target): (HeaderValue, &'static str),
        body: Bytes,
    ) -> Result<Vec<u8>, AwsError> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind), (HeaderName::from_static(TARGET), HeaderValue::from_static(target))]);
        Ok(self.post(call, place, &Message { headers, body }, refused).await?.body)
    }

    /// Makes a call through an SDK `operation`, which serialises `input` and parses the output.
    pub(in crate::aws) async fn operate(
        &self,
        call: &Call,
        place: &Place,
        operation: Option<FrozenLayer>,
        input: Input,
    ) -> Result<Output, AwsError> {
        let no_operation = || call.error(AwsErrorKind::Invalid, "the SDK cannot serialize it");
        let operation = operation.ok_or_else(no_operation)?;
        let (writer, reader) = (operation.load::<SharedRequestSerializer>(), operation.load::<SharedResponseDeserializer>());
        let (writer, reader) = writer.zip(reader).ok_or_else(no_operation)?;
        let mut settings = ConfigBag::base();
        let written = writer.serialize_input(input, &mut settings);
        let request = written.map_err(|error| call.error(AwsErrorKind::Invalid, error.to_string()))?;
        let request = request.try_into_http1x().map_err(|error| call.error(AwsErrorKind::Invalid, error.to_string()))?;
        let (head, body) = request.into_parts();
        let message = Message { headers: head.headers, body: Bytes::copy_from_slice(body.bytes().unwrap_or_default()) };

        let answer = self.post(call, place, &message, refused).await?;
        let status = answer.status.try_into().map_err(|_| call.malformed("it has no status"))?;
        let read = reader.deserialize_nonstreaming_with_config(&HttpResponse::new(status, SdkBody::from(answer.body)), &settings);
        read.map_err(|_| call.malformed("the response cannot be understood"))
    }
}

/// Code and message of an error answer: the code without its namespace, and without the URL that may follow it.
fn refused(headers: &HeaderMap, body: &[u8]) -> Refused {
    let Said { code, message } = of_bytes(body).unwrap_or_default();
    let named = headers.get("x-amzn-errortype").and_then(|code| code.to_str().ok()).map(str::to_owned);
    let bare = |code: String| {
        let code = code.split(':').next().unwrap_or_default();
        code.rsplit('#').next().unwrap_or_default().to_owned()
    };
    Refused { code: named.or(code).map(bare), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(header: Option<&'static str>, body: &str) -> (Option<String>, Option<String>) {
        let headers = header.map(|code| ("x-amzn-errortype".parse().unwrap(), HeaderValue::from_static(code)));
        let Refused { code, message } = refused(&HeaderMap::from_iter(headers), body.as_bytes());
        (code, message)
    }

    #[test]
    fn a_refusal_has_its_code_in_the_header_or_in_the_body() {
        let some = |text: &str| Some(text.to_owned());
        let body = r#"{"__type":"com.amazonaws.ssm#ParameterNotFound","message":"none"}"#;
        assert_eq!(code(None, body), (some("ParameterNotFound"), some("none")));
        assert_eq!(code(Some("Throttled:http://x/"), body), (some("Throttled"), some("none")));
        assert_eq!(code(None, r#"{"code":"A","Message":"m"}"#), (some("A"), some("m")));
        assert_eq!(code(None, "<html>"), (None, None));
    }
}
