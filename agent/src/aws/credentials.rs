//! The instance's own credentials, those of its role, from IMDS.
//!
//! Concurrent callers share one request to IMDS. Credentials are kept until shortly before they expire or until AWS
//! refuses them, and longer if no new ones can be fetched. Their age is measured by the monotonic clock, starting from
//! the time that IMDS states, because the machine's own clock may be off by years. The monotonic clock stops while a
//! machine hibernates; in that case AWS's refusal shows that they have expired. The credentials of a user on a dev box
//! are in [`caller`](super::caller).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::imds::Imds;
use crate::aws::client::credentials_failure::CredentialsFailure;
use crate::json::of_bytes;

/// How long before their expiry credentials are replaced. IMDS has new ones at least five minutes before the expiry.
///
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>
const REFRESH_AHEAD: Duration = Duration::from_secs(300);

/// How long a refresh may delay calls that the old credentials could still sign.
const REFRESH_BUDGET: Duration = Duration::from_secs(3);

/// The pause after a failed refresh.
const REFRESH_AGAIN: Duration = Duration::from_secs(10);

/// How long after launch a role may still be missing, as observed in practice (amazon-eks-ami, pull request 2179).
pub(crate) const ROLE_PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait for IMDS to return the first credentials.
const FIRST_BUDGET: Duration = Duration::from_secs(240);

/// A handle on the credentials of the instance's role. Clones share them.
#[derive(Clone)]
pub(crate) struct ImdsCredentials(Arc<Shared>);

struct Shared {
    imds: Imds,
    role_patience: Duration,
    held: Mutex<Option<Held>>,
}

struct Held {
    credentials: Credentials,
    expires: Instant,
    /// When to fetch new ones.
    refresh: Instant,
}

impl ImdsCredentials {
    /// `role_patience` is how long to wait for a missing role; [`ROLE_PATIENCE`] except in tests.
    pub(crate) fn new(imds: Imds, role_patience: Duration) -> Self {
        Self(Arc::new(Shared { imds, role_patience, held: Mutex::default() }))
    }

    /// Fetches the credentials, so that the first call to AWS finds them. A failure is left for that call to report.
    pub(crate) async fn prefetch(&self) {
        if let Err(error) = self.get().await {
            log::debug!(error = error.to_string().as_str(); "no credentials yet");
        }
    }

    async fn get(&self) -> Result<Credentials, CredentialsFailure> {
        let mut held = self.0.held.lock().await;
        let now = Instant::now();
        let are_refused = self.0.imds.http().take_refusal();
        match &mut *held {
            Some(held) if now < held.refresh && !are_refused => Ok(held.credentials.clone()),
            Some(old) if now < old.expires => {
                match self.fetch(REFRESH_BUDGET).await {
                    Ok(new) => *old = new,
                    Err(error) => {
                        log::warn!(error = error.to_string().as_str(); "cannot refresh the credentials; the old ones are still valid");
                        old.refresh = Instant::now() + REFRESH_AGAIN;
                    }
                }
                Ok(old.credentials.clone())
            }
            _ => Ok(held.insert(self.fetch(FIRST_BUDGET).await?).credentials.clone()),
        }
    }

    async fn fetch(&self, budget: Duration) -> Result<Held, CredentialsFailure> {
        let role = self.0.imds.role_within(self.0.role_patience).await?.ok_or(CredentialsFailure::NoRole)?;
        let (body, date) = self.0.imds.credentials_of(&role, budget).await?;
        parse(&role, &Zeroizing::new(body), date.unwrap_or_else(SystemTime::now))
    }
}

impl std::fmt::Debug for ImdsCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ImdsCredentials")
    }
}

impl ProvideCredentials for ImdsCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.get().await.map_err(|error| match error {
                CredentialsFailure::NoRole => CredentialsError::not_loaded(error),
                _ => CredentialsError::provider_error(error),
            })
        })
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    access_key_id: String,
    #[serde(default)]
    secret_access_key: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    expiration: String,
}

/// `now` must come from the same clock as `Expiration`.
fn parse(role: &str, body: &[u8], now: SystemTime) -> Result<Held, CredentialsFailure> {
    let malformed = |why: &str| CredentialsFailure::Malformed { role: role.into(), why: why.into() };
    // serde's own message could quote the offending value.
    let document: Document = of_bytes(body).map_err(|_| malformed("not the JSON of credentials"))?;
    if document.code != "Success" {
        let Document { code, message, .. } = document;
        return Err(CredentialsFailure::Refused { role: role.into(), code, message });
    }
    if document.access_key_id.is_empty() || document.secret_access_key.is_empty() || document.token.is_empty() {
        return Err(malformed("a key is missing"));
    }
    let expires = DateTime::from_str(&document.expiration, Format::DateTime)
        .ok()
        .and_then(|expiration| SystemTime::try_from(expiration).ok())
        .ok_or_else(|| malformed("no date in Expiration"))?;
    // Without an expiry, because only this file tracks it.
    let credentials = Credentials::new(document.access_key_id, document.secret_access_key, Some(document.token), None, "ingot-imds");
    let (left, now) = (expires.duration_since(now).unwrap_or_default(), Instant::now());
    Ok(Held { credentials, expires: now + left, refresh: now + left.saturating_sub(REFRESH_AHEAD) })
}

#[cfg(test)]
mod tests {
    use crate::aws::client::call::Call;
    use crate::aws::client::error::AwsErrorKind;
    use crate::aws::client::http::Http;
    use crate::aws::imds::Patience;
    use crate::aws::loopback::{Loopback, Reply, Request};
    use crate::aws::secrets_manager::SERVICE;
    use crate::failure::Failure as _;

    use super::*;

    fn document(key: &str, valid_for: i64) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
        let expiration = DateTime::from_secs(now + valid_for).fmt(Format::DateTime).unwrap();
        format!(
            r#"{{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "{key}", "SecretAccessKey": "s", "Token": "t", "Expiration": "{expiration}"}}"#
        )
    }

    fn serve(role: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> (Loopback, ImdsCredentials) {
        let server = Loopback::serve(move |request| match request.path.as_str() {
            "/latest/api/token" => Reply::new(200, "TOKEN"),
            "/latest/meta-data/iam/security-credentials/" => Reply::new(200, "shop"),
            "/latest/meta-data/iam/security-credentials/shop" => role(request),
            _ => Reply::new(404, ""),
        });
        let imds = Imds::new(Http::new(None), Some(&server.url), Patience::default()).unwrap();
        (server, ImdsCredentials::new(imds, Duration::ZERO))
    }

    #[tokio::test]
    async fn callers_at_the_same_time_share_one_fetch() {
        let (server, credentials) = serve(|_| Reply::new(200, document("AKIA1", 3_600)));
        let (_, one, two) =
            futures_util::join!(credentials.prefetch(), credentials.provide_credentials(), credentials.provide_credentials());
        assert_eq!((one.unwrap().access_key_id(), two.unwrap().session_token()), ("AKIA1", Some("t")));
        assert_eq!(server.requests().len(), 3);
    }

    #[tokio::test]
    async fn near_their_end_they_are_replaced_and_kept_if_that_fails() {
        let next = std::sync::atomic::AtomicUsize::new(0);
        let (server, credentials) = serve(move |_| match next.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Reply::new(200, document("AKIA1", 200)),
            1 => Reply::new(200, document("AKIA2", 100)),
            _ => Reply::new(403, ""),
        });
        for expected in ["AKIA1", "AKIA2", "AKIA2", "AKIA2"] {
            assert_eq!(credentials.provide_credentials().await.unwrap().access_key_id(), expected);
        }
        assert_eq!(server.count("/shop"), 3);
    }

    /// A worker runs for months: its instance profile may be replaced in the meantime, or the machine may hibernate.
    #[tokio::test]
    async fn those_that_aws_refuses_are_replaced_by_those_of_the_role_of_now() {
        let is_replaced = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let now = is_replaced.clone();
        let server = Loopback::serve(move |request| {
            let (role, key) = if now.load(std::sync::atomic::Ordering::SeqCst) { ("new", "AKIA2") } else { ("old", "AKIA1") };
            match request.path.strip_prefix("/latest/meta-data/iam/security-credentials/") {
                Some("") => Reply::new(200, role),
                Some(asked) if asked == role => Reply::new(200, document(key, 21_600)),
                None => Reply::new(200, "TOKEN"),
                Some(_) => Reply::new(404, ""),
            }
        });
        let imds = Imds::new(Http::new(None), Some(&server.url), Patience::default()).unwrap();
        let credentials = ImdsCredentials::new(imds.clone(), Duration::ZERO);
        let key = async || credentials.provide_credentials().await.unwrap().access_key_id().to_owned();
        assert_eq!(key().await, "AKIA1");
        is_replaced.store(true, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(key().await, "AKIA1", "nobody has said a word against them");
        imds.http().refuse_credentials();
        assert_eq!((key().await, key().await), ("AKIA2".into(), "AKIA2".into()));
        assert_eq!(server.count("/new"), 1);
    }

    #[tokio::test]
    async fn their_time_is_counted_from_that_of_imds() {
        const YEAR: i64 = 365 * 86_400;
        for (valid_for, wrong_by, fetches) in [(3_600, -3 * YEAR, 1), (3_600, 3 * YEAR, 1), (200, -3 * YEAR, 2), (-1, 3 * YEAR, 2)] {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64 + wrong_by;
            let date = DateTime::from_secs(now).fmt(Format::HttpDate).unwrap();
            let (server, credentials) = serve(move |_| Reply::new(200, document("AKIA1", valid_for + wrong_by)).header("date", &date));
            for _ in 0..2 {
                credentials.provide_credentials().await.unwrap();
            }
            assert_eq!(server.count("/shop"), fetches, "{valid_for} {wrong_by}");
        }
    }

    #[tokio::test]
    async fn says_why_there_are_none() {
        for (reply, kind) in [
            (Reply::new(200, r#"{"Code": "AssumeRoleUnauthorizedAccess", "Message": "trust policy"}"#), AwsErrorKind::RoleRefused),
            (Reply::new(200, r#"{"Code": "Success", "AccessKeyId": "AKIA1"}"#), AwsErrorKind::Malformed),
            (Reply::new(404, ""), AwsErrorKind::NoCredentials),
        ] {
            let (_server, credentials) = serve(move |_| reply.clone());
            assert_eq!(credentials.get().await.unwrap_err().kind(), kind);
        }
    }

    /// AWS's message repeats the name of the role. A role that cannot be assumed must not be reported as a missing
    /// route.
    #[tokio::test]
    async fn a_role_that_cannot_be_assumed_is_named_once_with_what_to_do() {
        let said = r#"{"Code": "AssumeRoleUnauthorizedAccess", "Message": "EC2 cannot assume the role shop.  Please see documentation at https://docs.example/."}"#;
        let (_server, credentials) = serve(move |_| Reply::new(200, said));
        let why = credentials.provide_credentials().await.unwrap_err();
        let error = Call::new(SERVICE, "GetSecretValue", "prod/db").unsent(&why);
        assert_eq!(
            error.to_string(),
            "GetSecretValue prod/db: no credentials: EC2 cannot assume the role shop (AssumeRoleUnauthorizedAccess): Please see documentation \
             at https://docs.example/."
        );
        let hint = "allow sts:AssumeRole for ec2.amazonaws.com in the trust policy of the role shop";
        assert_eq!((error.hint().as_deref(), error.is_transient(), error.is_unreachable()), (Some(hint), true, false));
    }

    #[tokio::test]
    async fn an_instance_without_a_role_has_none() {
        let server = Loopback::serve(|request| if request.path.ends_with("token") { Reply::new(200, "T") } else { Reply::new(404, "") });
        let imds = Imds::new(Http::new(None), Some(&server.url), Patience::default()).unwrap();
        let error = ImdsCredentials::new(imds, Duration::from_millis(100)).provide_credentials().await.unwrap_err();
        assert!(matches!(error, CredentialsError::CredentialsNotLoaded(_)), "{error:?}");
        assert!(server.count("security-credentials/") > 1);
    }
}
