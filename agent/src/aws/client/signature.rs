//! AWS's Signature Version 4 for a POST to the root path of a service, which is every call except those to S3. It is
//! cheap, for a process that makes calls all the time. [`Signing`](super::signing::Signing) signs everything else.
//!
//! A signing key is valid for a day, so the last one is cached.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use aws_credential_types::Credentials;
use jiff::Timestamp;
use reqwest::header::HeaderValue;
use ring::hmac;
use zeroize::Zeroizing;

use crate::digest::Sha256;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The last key that was derived.
#[derive(Default)]
pub(super) struct Keys(Mutex<Option<Known>>);

struct Known {
    secret: Zeroizing<String>,
    scope: String,
    key: hmac::Key,
}

/// The credentials, service, region and time that a request is signed with.
pub(super) struct Signature<'a> {
    pub(super) credentials: &'a Credentials,
    pub(super) service: &'a str,
    pub(super) region: &'a str,
    pub(super) time: SystemTime,
}

impl Signature<'_> {
    /// Adds the signature headers. Returns `None`, and adds nothing, if the request is not of the simple form handled
    /// here.
    pub(super) fn sign(&self, request: &mut reqwest::Request, body: &[u8], keys: &Keys) -> Option<()> {
        let url = request.url();
        if url.path() != "/" || url.query().is_some() {
            return None;
        }
        // reqwest sends the same `host`.
        let host = match (url.host_str()?, url.port()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        };
        let time = Timestamp::try_from(self.time).ok()?.as_second();
        let at = Timestamp::from_second(time).ok()?.to_string().replace(['-', ':'], "");
        let day = at.get(..8)?;
        let mut headers: Vec<(&str, &str)> = Vec::new();
        let own = [("host", &*host), ("x-amz-date", &*at)];
        let token = self.credentials.session_token().map(|token| ("x-amz-security-token", token));
        let given = request.headers().iter().map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        for header in own.into_iter().chain(token).map(Some).chain(given) {
            let (name, value) = header.filter(|(_, value)| value.trim() == *value && !value.contains("  "))?;
            let place = headers.iter().take_while(|(before, _)| *before < name).count();
            headers.insert(place, (name, value));
        }
        let (mut canonical, mut names) = ("POST\n/\n\n".to_owned(), String::new());
        for (name, value) in headers {
            let _ = writeln!(canonical, "{name}:{value}");
            let _ = write!(names, "{}{name}", if names.is_empty() { "" } else { ";" });
        }
        let _ = write!(canonical, "\n{names}\n{}", hex(&Sha256::of(body).0));
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let signed = format!("{ALGORITHM}\n{at}\n{scope}\n{}", hex(&Sha256::of(canonical.as_bytes()).0));
        let signature = hex(hmac::sign(&self.key(&scope, keys), signed.as_bytes()).as_ref());
        let id = self.credentials.access_key_id();
        let authorization = format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
        for (name, value) in [("x-amz-date", &*at), ("authorization", &*authorization)].into_iter().chain(token) {
            let mut value = HeaderValue::from_str(value).ok()?;
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        Some(())
    }

    fn key(&self, scope: &str, keys: &Keys) -> hmac::Key {
        let secret = self.credentials.secret_access_key();
        let mut known = keys.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref().filter(|known| known.scope == scope && *known.secret == secret) {
            return known.key.clone();
        }
        let first = Zeroizing::new(format!("AWS4{secret}"));
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.as_bytes());
        for part in scope.split('/') {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        *known = Some(Known { secret: Zeroizing::new(secret.to_owned()), scope: scope.to_owned(), key: key.clone() });
        key
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from(b"0123456789abcdef"[usize::from(four)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::aws::client::signing::Signing;

    fn request(url: &str) -> reqwest::Request {
        let mut request = reqwest::Request::new(reqwest::Method::POST, url.parse().unwrap());
        request.headers_mut().insert("x-amz-target", HeaderValue::from_static("AmazonSQS.ReceiveMessage"));
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/x-amz-json-1.0"));
        request
    }

    #[test]
    fn it_is_the_signature_of_the_sdk() {
        let keys = Keys::default();
        for (token, days) in [(None, 0), (Some("token"), 0), (Some("token"), 1), (Some("token"), 1)] {
            let credentials = Credentials::new("AKIA", "secret", token.map(str::to_owned), None, "test");
            let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_573_692_420_500) + days * Duration::from_secs(86_400);
            for url in ["https://sqs.eu-central-1.amazonaws.com/", "http://127.0.0.1:4566"] {
                let (mut ours, mut theirs) = (request(url), request(url));
                let signature = Signature { credentials: &credentials, service: "sqs", region: "eu-central-1", time };
                signature.sign(&mut ours, b"{}", &keys).unwrap();
                let signing = Signing { service: "sqs", region: "eu-central-1", time, settings: Default::default() };
                signing.sign(&mut theirs, b"{}", &credentials.clone().into()).unwrap();
                assert_eq!(ours.headers(), theirs.headers(), "{url} {token:?}");
            }
        }
    }

    #[test]
    fn what_is_not_plain_is_for_others() {
        let credentials = Credentials::new("AKIA", "secret", None, None, "test");
        let signature = Signature { credentials: &credentials, service: "sqs", region: "eu-central-1", time: SystemTime::UNIX_EPOCH };
        for url in ["https://example.com/path", "https://example.com/?a=b"] {
            let mut request = request(url);
            assert!(signature.sign(&mut request, b"", &Keys::default()).is_none() && request.headers().len() == 2, "{url}");
        }
    }
}
