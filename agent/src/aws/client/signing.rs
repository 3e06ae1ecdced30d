//! AWS's Signature Version 4 for requests built here, to services that are called without an SDK.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.

use std::borrow::Cow;
use std::time::SystemTime;

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use reqwest::header::HeaderValue;

/// The service, region and time that a request is signed for.
pub(in crate::aws) struct Signing<'a> {
    /// As in host names: `ec2`, `s3`.
    pub(in crate::aws) service: &'a str,
    pub(in crate::aws) region: &'a str,
    pub(in crate::aws) time: SystemTime,
    pub(in crate::aws) settings: SigningSettings,
}

impl Signing<'_> {
    /// Adds the signature headers over method, URL, the existing headers and `body`.
    ///
    /// # Errors
    ///
    /// A sentence that says which part of the URL or the headers cannot be signed.
    pub(in crate::aws) fn sign(self, request: &mut reqwest::Request, body: &[u8], identity: &Identity) -> Result<(), String> {
        let url = request.url().clone();
        let wrong = |why: String| format!("{url} is not a valid URL: {why}");
        // reqwest sends the same `host`.
        let host: Cow<str> = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}").into(),
            (Some(host), None) => host.into(),
            (None, _) => return Err(wrong("it has no host".into())),
        };
        let parameters = SigningParams::builder()
            .identity(identity)
            .region(self.region)
            .name(self.service)
            .time(self.time)
            .settings(self.settings)
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        let own = request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let headers = [("host", &*host)].into_iter().chain(own);
        let signable = SignableRequest::new(request.method().as_str(), url.as_str(), headers, SignableBody::Bytes(body));
        let signature = signable.and_then(|signable| sign(signable, &parameters.into())).map_err(|error| wrong(error.to_string()))?;
        for header in signature.into_parts().0.into_parts().0 {
            // The error would show the signature.
            let mut value = HeaderValue::from_str(header.value()).map_err(|_| wrong("its signature is not a valid header".into()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header.name(), value);
        }
        Ok(())
    }
}
