//! The one HTTP client: one connection pool, one TLS configuration, one resolver.
//!
//! [`Http::client`] is for calls to AWS, and is built on first use: a boot talks to the instance metadata service
//! first, [without TLS](crate::net::plain_http), and should not build a root store before its first byte is sent.
//!
//! Everything that signs calls takes the time from [`Http::clock`], which is shared too.
//!
//! The client never uses a proxy and never follows a redirect. Names are resolved from /etc/hosts and the servers of
//! /etc/resolv.conf, never by getaddrinfo (a static glibc would load NSS modules) and never by a public resolver.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::ahead::Ahead;
use super::error::AwsErrorKind;
use super::exchanges::Exchanges;
use super::signature::Keys;
use super::skew::SigningClock;
use crate::net::resolver::SystemResolver;

/// How long connecting to AWS may take, TLS included. Every endpoint of AWS is tens of milliseconds away; anything
/// longer is packet loss, and a new attempt is faster than waiting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Limits on the calls of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// How long the server may send nothing, before an answer or within one.
    read: Duration,
    /// How long one call may take in total. Answers are small, and the step retries a slow one.
    call: Duration,
    /// How many exchanges are recorded.
    exchanges: usize,
    /// The longest answer that is read, in bytes. S3 objects are not limited by it.
    answer: usize,
}

impl Bounds {
    /// For a boot, which is short and reports its exchanges.
    pub(crate) const BOOT: Self =
        Self { read: Duration::from_secs(10), call: Duration::from_secs(20), exchanges: 10_000, answer: ANSWER_LIMIT };

    /// For tests that must not take longer.
    #[cfg(test)]
    pub(crate) const IMPATIENT: Self =
        Self { read: Duration::from_secs(10), call: Duration::from_secs(1), exchanges: 0, answer: ANSWER_LIMIT };

    /// For a process that polls as long as the machine runs. AWS holds an empty answer back for up to 20 s. An answer
    /// holds up to ten messages of 1 MiB each, which JSON escapes can make six times as long.
    pub(crate) const LONG_POLLS: Self =
        Self { read: Duration::from_secs(30), call: Duration::from_secs(40), exchanges: 0, answer: 64 << 20 };
}

/// The longest answer that a boot reads, in bytes. A page of 1000 volumes has about 2 MB, and twenty secrets of 64 KiB
/// each have at most 8 MB in JSON's longest spelling.
pub(super) const ANSWER_LIMIT: usize = 16 << 20;

/// A handle on the client. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Http(Arc<Shared>);

struct Shared {
    ca_bundle: Option<Vec<u8>>,
    resolver: SystemResolver,
    bounds: Bounds,
    exchanges: Exchanges,
    client: Mutex<Option<Result<reqwest::Client, HttpError>>>,
    ahead: Ahead,
    clock: SigningClock,
    keys: Keys,
    /// Whether AWS has refused the credentials that calls are signed with since this was last read.
    are_refused: AtomicBool,
}

impl Http {
    /// `ca_bundle` holds PEM certificates to trust in addition to Mozilla's roots.
    pub(crate) fn new(ca_bundle: Option<Vec<u8>>) -> Self {
        Self::within(Bounds::BOOT, ca_bundle)
    }

    /// As [`new`](Http::new), with limits other than those of a boot.
    pub(crate) fn within(bounds: Bounds, ca_bundle: Option<Vec<u8>>) -> Self {
        Self(Arc::new(Shared {
            ca_bundle,
            resolver: SystemResolver::default(),
            bounds,
            exchanges: Exchanges::at_most(bounds.exchanges),
            client: Mutex::default(),
            ahead: Ahead::default(),
            clock: SigningClock::default(),
            keys: Keys::default(),
            are_refused: AtomicBool::default(),
        }))
    }

    /// The exchanges of all clients.
    pub(crate) fn exchanges(&self) -> &Exchanges {
        &self.0.exchanges
    }

    /// How long one call may take in total.
    pub(in crate::aws) fn call_timeout(&self) -> Duration {
        self.0.bounds.call
    }

    /// The cached keys that calls are signed with.
    pub(super) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// The longest answer that is read, in bytes.
    pub(super) fn answer_limit(&self) -> usize {
        self.0.bounds.answer
    }

    /// The clock that calls are signed with.
    pub(crate) fn clock(&self) -> &SigningClock {
        &self.0.clock
    }

    /// Records that AWS has refused the credentials: they have expired, are no longer known, or lack a permission.
    pub(in crate::aws) fn refuse_credentials(&self) {
        self.0.are_refused.store(true, Ordering::Relaxed);
    }

    /// Whether AWS has refused the credentials since this was last called.
    pub(in crate::aws) fn take_refusal(&self) -> bool {
        self.0.are_refused.swap(false, Ordering::Relaxed)
    }

    /// The client for AWS, built on first use.
    ///
    /// # Errors
    ///
    /// [`HttpError`], the same each time, if the CA bundle cannot be used.
    pub(crate) fn client(&self) -> Result<reqwest::Client, HttpError> {
        let mut client = self.0.client.lock().unwrap_or_else(PoisonError::into_inner);
        client.get_or_insert_with(|| self.build()).clone()
    }

    /// Makes later calls open new connections, because the address of this instance has changed.
    pub(in crate::aws) fn forget_connections(&self) {
        *self.0.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Starts to connect to the host of `url`, because a call to it will follow soon. Connects once for each place and
    /// ignores failures: the call itself will report them.
    pub(super) fn open_ahead(&self, url: &str) {
        if let (Ok(client), Ok(url)) = (self.client(), url.parse()) {
            self.0.ahead.open(&client, &url);
        }
    }

    /// The resolver for host names that every call uses.
    pub(in crate::aws) fn resolver(&self) -> &SystemResolver {
        &self.0.resolver
    }

    fn build(&self) -> Result<reqwest::Client, HttpError> {
        reqwest::Client::builder()
            .tls_backend_preconfigured(trusting(roots(self.0.ca_bundle.as_deref())?)?)
            .dns_resolver(self.0.resolver.clone())
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(self.0.bounds.read)
            .connector_layer(self.0.ahead.clone())
            .build()
            .map_err(|error| HttpError::Build { why: reason(&error) })
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("ca_bundle", &self.ca_bundle.is_some()).finish_non_exhaustive()
    }
}

/// Mozilla's roots, which are compiled in and cost 60 µs, plus those of `bundle`.
fn roots(bundle: Option<&[u8]>) -> Result<rustls::RootCertStore, HttpError> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let Some(bundle) = bundle else { return Ok(roots) };
    let known = roots.len();
    for certificate in CertificateDer::pem_slice_iter(bundle) {
        let certificate = certificate.map_err(|error| HttpError::Bundle { why: error.to_string() })?;
        roots.add(certificate).map_err(|error| HttpError::Bundle { why: error.to_string() })?;
    }
    if roots.len() == known {
        return Err(HttpError::Bundle { why: "it contains no certificate".into() });
    }
    Ok(roots)
}

fn trusting(roots: rustls::RootCertStore) -> Result<rustls::ClientConfig, HttpError> {
    // Named explicitly: the process-wide default depends on which code installed a provider first.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| HttpError::Build { why: error.to_string() })?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.look_up(name.as_str()).await?;
            Ok(Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

/// What went wrong on the wire, in a few words: the root cause, without the layers above it.
pub(crate) fn reason(error: &(dyn Error + 'static)) -> String {
    let mut connecting = false;
    let mut timed_out = false;
    let mut next = Some(error);
    let mut last = error;
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<reqwest::Error>() {
            connecting |= error.is_connect();
            timed_out |= error.is_timeout();
        }
        last = cause;
        next = cause.source();
    }
    match last.downcast_ref::<std::io::Error>() {
        _ if timed_out && connecting => "no connection in time".into(),
        _ if timed_out => "no response in time".into(),
        Some(io) if io.raw_os_error().is_some() => io.kind().to_string(),
        _ => last.to_string(),
    }
}

/// The kind of a refused server certificate, if this error is one. A certificate that is untrusted, or issued for
/// another name, stays so on a retry. One that has expired or is not valid yet may be accepted later, since the
/// machine's clock may not be set yet, so the caller should not give up.
pub(super) fn certificate_refusal<'e>(error: &'e (dyn Error + 'static)) -> Option<AwsErrorKind> {
    use rustls::CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    // `io::Error::source()` skips the error that it wraps.
    let below = |&error: &&'e (dyn Error + 'static)| -> Option<&'e (dyn Error + 'static)> {
        match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        }
    };
    let mut refusals = std::iter::successors(Some(error), below).filter_map(|error| error.downcast_ref::<rustls::Error>());
    refusals.find_map(|refusal| match refusal {
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }) => {
            Some(AwsErrorKind::Untimely)
        }
        rustls::Error::InvalidCertificate(_) => Some(AwsErrorKind::Untrusted),
        _ => None,
    })
}

#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("the CA bundle cannot be used: {why}")]
    Bundle { why: String },
    #[error("the HTTP client cannot be created: {why}")]
    Build { why: String },
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_certificate_of_nobody_is_untrusted_and_one_of_tomorrow_untimely() {
        let wrapped = |why| {
            let refusal = rustls::Error::InvalidCertificate(why);
            // Wrapped as hyper-rustls and tokio-rustls wrap it.
            certificate_refusal(&io::Error::other(io::Error::new(io::ErrorKind::InvalidData, refusal)))
        };
        assert_eq!(wrapped(rustls::CertificateError::UnknownIssuer), Some(AwsErrorKind::Untrusted));
        assert_eq!(wrapped(rustls::CertificateError::NotValidForName), Some(AwsErrorKind::Untrusted));
        assert_eq!(wrapped(rustls::CertificateError::NotValidYet), Some(AwsErrorKind::Untimely));
        assert_eq!(certificate_refusal(&io::Error::from(io::ErrorKind::ConnectionRefused)), None);
    }

    #[test]
    fn a_ca_bundle_that_cannot_be_used_is_named() {
        for (bundle, why) in [("", "it contains no certificate"), ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "")] {
            let error = Http::new(Some(bundle.into())).client().unwrap_err();
            assert!(error.to_string().starts_with(&format!("the CA bundle cannot be used: {why}")), "{error}");
        }
    }
}
