//! TLS with a database: which certificate authorities are trusted, and how untrusted certificates are handled.
//!
//! If the document names certificate authorities, only those are trusted. Otherwise the system's are trusted, or
//! Mozilla's if the system has none, plus RDS's if the image has them ([`BAKED`]): an RDS Proxy has a certificate of
//! Amazon's public authority. An untrusted certificate is an error only if it must be verified; otherwise the
//! connection is still encrypted, but counts as unverified.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::refusal::Refusal;
use super::target::{Target, Tls};
use super::wire::{Stream, Trust, Wire};
use crate::host::Files;

/// The image's copy of RDS's certificate authorities, if it has one.
const BAKED: &str = "/etc/ingot/rds-ca.pem";

/// The system's bundles of trusted authorities.
const SYSTEM: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// RDS's bundle for all regions has 170 kB, and a system's has 250 kB.
const LIMIT: u64 = 4 << 20;

/// Certificate authorities, read once.
pub(super) struct Roots {
    files: Rc<dyn Files>,
    read: RefCell<BTreeMap<Option<PathBuf>, Trusted>>,
    /// Why the system's authorities are not used.
    passed_over: RefCell<Option<Refusal>>,
}

#[derive(Clone)]
struct Trusted {
    roots: Arc<RootCertStore>,
    /// The source of the authorities, in readable form.
    from: String,
}

impl Roots {
    pub(super) fn new(files: Rc<dyn Files>) -> Self {
        Self { files, read: RefCell::default(), passed_over: RefCell::default() }
    }

    /// A remark for the user if the system's authorities could not be read.
    pub(super) fn remark(&self) -> Option<String> {
        let passed_over = self.passed_over.borrow();
        passed_over.as_ref().map(|refusal| format!("{refusal}; Mozilla's certificate authorities are used instead"))
    }

    async fn get(&self, named: Option<&Path>) -> Result<Trusted, Refusal> {
        let key = named.map(Path::to_owned);
        if let Some(known) = self.read.borrow().get(&key) {
            return Ok(known.clone());
        }
        let found = match named {
            Some(path) => {
                let missing = || Refusal::Roots { path: path.display().to_string(), why: "the file does not exist".into() };
                self.in_file(path).await?.ok_or_else(missing)?
            }
            None => self.of_this_machine().await?,
        };
        self.read.borrow_mut().insert(key, found.clone());
        Ok(found)
    }

    async fn of_this_machine(&self) -> Result<Trusted, Refusal> {
        let mut system = None;
        for path in SYSTEM {
            // A system bundle that is being written, or empty, is treated as missing. A file named by the author of the
            // document or the image is never skipped.
            system = self.in_file(Path::new(path)).await.unwrap_or_else(|refusal| {
                self.passed_over.replace(Some(refusal));
                None
            });
            if system.is_some() {
                self.passed_over.take();
                break;
            }
        }
        let system = system.unwrap_or_else(|| {
            let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            Trusted { roots: Arc::new(roots), from: "Mozilla's certificate authorities".into() }
        });
        let Some(baked) = self.in_file(Path::new(BAKED)).await? else { return Ok(system) };
        let mut roots = RootCertStore::clone(&baked.roots);
        roots.roots.extend_from_slice(&system.roots.roots);
        Ok(Trusted { roots: Arc::new(roots), from: format!("{} or {}", baked.from, system.from) })
    }

    /// `None` if the file does not exist. Unusable certificates in it are skipped if there are usable ones.
    async fn in_file(&self, path: &Path) -> Result<Option<Trusted>, Refusal> {
        let from = path.display().to_string();
        let wrong = |why: String| Refusal::Roots { path: from.clone(), why };
        let Some(text) = self.files.read(path, LIMIT).await.map_err(|error| wrong(error.to_string()))? else { return Ok(None) };
        let mut roots = RootCertStore::empty();
        let found = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok);
        roots.add_parsable_certificates(found);
        if roots.is_empty() {
            return Err(wrong("it contains no certificate".into()));
        }
        Ok(Some(Trusted { roots: Arc::new(roots), from: from.clone() }))
    }
}

/// Switches to TLS on a connection after the server has agreed to it.
pub(super) async fn encrypt(wire: Wire, target: &Target, roots: &Roots) -> Result<Wire, Refusal> {
    let at = target.at();
    let trusted = roots.get(target.ca.as_deref()).await?;
    let failed = |why: String| Refusal::Tls { at: at.clone(), why };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let strict = WebPkiServerVerifier::builder_with_provider(Arc::clone(&trusted.roots), Arc::clone(&provider));
    let verifier = Arc::new(Lenient {
        strict: strict.build().map_err(|error| failed(error.to_string()))?,
        refuses: target.tls == Tls::Verify,
        verified: AtomicBool::new(false),
    });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    // Certificates do not contain the trailing dot of an absolute name.
    let host = target.host.strip_suffix('.').unwrap_or(&target.host);
    let name = ServerName::try_from(host.to_owned()).map_err(|_| failed(format!("{} cannot be the name in a certificate", target.host)))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream: Box<dyn Stream> = wire.into_stream();
    match connector.connect(name, stream).await {
        Ok(stream) => {
            let trust = if verifier.verified.load(Ordering::Relaxed) { Trust::Verified } else { Trust::Encrypted };
            Ok(Wire::encrypted(stream, trust, at))
        }
        Err(error) => Err(match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(why)) => {
                Refusal::Untrusted { late: is_of_time(why), why: in_words(why), roots: trusted.from, at: at.clone() }
            }
            Some(other) => failed(other.to_string()),
            None => Refusal::of_io(&at, &error),
        }),
    }
}

/// Whether the certificate has expired or is not valid yet. This may pass, because the machine's clock may not be set
/// yet.
fn is_of_time(why: &CertificateError) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(why, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
}

fn in_words(why: &CertificateError) -> String {
    match why {
        // The signature does not match if an authority has the name of a trusted one but another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => "an unknown certificate authority issued it".into(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "it is for another name".into(),
        why => why.to_string(),
    }
}

/// Records whether a certificate is trusted and, unless it must be verified, continues with an untrusted one.
#[derive(Debug)]
struct Lenient {
    strict: Arc<WebPkiServerVerifier>,
    refuses: bool,
    verified: AtomicBool,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.strict.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Ok(verified) => {
                self.verified.store(true, Ordering::Relaxed);
                Ok(verified)
            }
            Err(error) if self.refuses => Err(error),
            Err(_) => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.strict.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.strict.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::host::files::DiskFiles;

    #[tokio::test]
    async fn a_bundle_of_the_system_without_certificates_is_as_good_as_none() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = root.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        let roots = || Roots::new(Rc::new(DiskFiles::new(Some(root.path().to_owned()))));
        write(SYSTEM[0], "");
        write(SYSTEM[1], "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let system = roots();
        assert_eq!(system.get(None).await.unwrap().from, "Mozilla's certificate authorities");
        let remark = system.remark().unwrap();
        assert!(remark.contains(SYSTEM[1]) && remark.ends_with("; Mozilla's certificate authorities are used instead"), "{remark}");
        let named = roots().get(Some(Path::new(SYSTEM[0]))).await.err().unwrap();
        assert!(matches!(named, Refusal::Roots { .. }), "{named}");
        write(BAKED, "");
        let baked = roots().get(None).await.err().unwrap();
        assert!(matches!(&baked, Refusal::Roots { path, .. } if path == BAKED), "{baked}");
    }
}
