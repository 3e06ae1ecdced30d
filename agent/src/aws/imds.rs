//! The instance metadata service, version 2 only, and never through a proxy.
//!
//! One token serves the whole boot, and is requested once however many reads begin together. Each item is read once and
//! kept, except user data, which only the start of a boot needs, and items that change: the target lifecycle state, the
//! role and its credentials. The meaning of each status and of silence is described at [`Imds::read`]; a single request
//! is in [`exchange`].
//!
//! An error is never read as "not found": that would boot an instance from half of its document.

use crate::json::of_bytes;

mod exchange;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::StatusCode;
use reqwest::Url;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout_at};

use self::exchange::{Again, Answer, Miss, Session, Transport};
use crate::aws::client::http::Http;
use crate::aws::metadata::{Identity, ImdsError, Metadata, Notice};
use crate::backoff::{Backoff, Pauses};

const IPV4_ENDPOINT: &str = "http://169.254.169.254";
/// For subnets without IPv4.
const IPV6_ENDPOINT: &str = "http://[fd00:ec2::254]";

/// How long a refusal of the token is reused, for reads that begin together. IMDS can be turned on again while the
/// machine runs.
const REFUSED_FOR: Duration = Duration::from_secs(10);

const ROLES: &str = "meta-data/iam/security-credentials/";

/// The longest name of a role, in characters. Source:
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_Role.html>
const LONGEST_ROLE: usize = 64;

/// How long and how often to try IMDS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For one item, including all tries and the token.
    pub(crate) budget: Duration,
    /// For one try, including the body.
    pub(crate) attempt: Duration,
    /// The pauses between tries.
    pub(crate) pauses: Backoff,
}

impl Default for Patience {
    /// IMDS becomes available within minutes at most.
    fn default() -> Self {
        Self { budget: Duration::from_secs(240), attempt: Duration::from_secs(5), pauses: Backoff::IMDS }
    }
}

/// A handle on the service. Clones share the token and everything read.
#[derive(Clone)]
pub(crate) struct Imds(Arc<Shared>);

struct Shared {
    transport: Transport,
    patience: Patience,
    /// The token, or why there is none, with the time of the answer.
    session: tokio::sync::Mutex<Option<(Instant, Result<Session, ImdsError>)>>,
    identity: OnceCell<Identity>,
    /// The time until which all callers wait for a missing role. Set by the first caller.
    role_deadline: std::sync::OnceLock<Instant>,
    tags: Mutex<BTreeMap<String, Arc<OnceCell<Option<String>>>>>,
    /// Items that did not arrive at the first try, by path.
    waiting: Mutex<BTreeMap<String, Waiting>>,
}

struct Waiting {
    since: Instant,
    tries: u32,
    last: String,
}

impl Imds {
    /// `endpoint` replaces IMDS's own addresses: the SDKs' `AWS_EC2_METADATA_SERVICE_ENDPOINT`.
    ///
    /// # Errors
    ///
    /// [`ImdsError::Endpoint`] if it is not an `http://` URL.
    pub(crate) fn new(http: Http, endpoint: Option<&str>, patience: Patience) -> Result<Self, ImdsError> {
        let transport = match endpoint {
            Some(endpoint) => Transport::new(http, url(endpoint)?, None),
            None => Transport::new(http, url(IPV4_ENDPOINT)?, Some(url(IPV6_ENDPOINT)?)),
        };
        Ok(Self::over(transport, patience))
    }

    fn over(transport: Transport, patience: Patience) -> Self {
        Self(Arc::new(Shared {
            transport,
            patience,
            session: tokio::sync::Mutex::default(),
            identity: OnceCell::new(),
            role_deadline: std::sync::OnceLock::new(),
            tags: Mutex::default(),
            waiting: Mutex::default(),
        }))
    }

    /// The client that all calls of this process share.
    pub(super) fn http(&self) -> &Http {
        &self.0.transport.http
    }

    /// The longest-running wait, in readable form: `for IMDS: connection refused, 12 tries, 9 s`. `None` if nothing is
    /// being waited for.
    pub(crate) fn waiting(&self) -> Option<String> {
        let waiting = self.waiting_now();
        let Waiting { since, tries, last } = waiting.values().min_by_key(|waiting| waiting.since)?;
        let tries = if *tries == 1 { "1 try".into() } else { format!("{tries} tries") };
        Some(format!("for IMDS: {last}, {tries}, {} s", since.elapsed().as_secs()))
    }

    /// The role's name, waiting at most `patience` for one to appear, because right after launch it may be late. Read
    /// again each time, since an instance can be given another role.
    pub(super) async fn role_within(&self, patience: Duration) -> Result<Option<String>, ImdsError> {
        let deadline = *self.0.role_deadline.get_or_init(|| Instant::now() + patience);
        let mut pauses = self.0.patience.pauses.pauses();
        loop {
            match self.read_role().await {
                Ok(role) => return Ok(Some(role)),
                Err(ImdsError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
            let pause = pauses.next();
            if Instant::now() + pause > deadline {
                self.waiting_now().remove(ROLES);
                return Ok(None);
            }
            self.note(ROLES, "no role yet");
            sleep(pause).await;
        }
    }

    async fn read_role(&self) -> Result<String, ImdsError> {
        let missing = || ImdsError::NotFound { path: ROLES.into() };
        let body = self.read(ROLES, self.0.patience.budget).await?.ok_or_else(missing)?;
        let text = text(ROLES, body)?;
        let role = text.lines().map(str::trim).find(|line| !line.is_empty()).ok_or_else(missing)?;
        if !is_role(role) {
            return Err(ImdsError::Malformed { path: ROLES.into(), why: "not the name of a role".into() });
        }
        Ok(role.to_owned())
    }

    /// The JSON that holds the role's credentials, and the time according to IMDS, by which their expiry is stated.
    pub(super) async fn credentials_of(&self, role: &str, budget: Duration) -> Result<(Vec<u8>, Option<SystemTime>), ImdsError> {
        let path = format!("{ROLES}{}", escaped(role));
        let answer = self.answer(&path, budget).await?;
        answer.map(|answer| (answer.body, answer.date)).ok_or(ImdsError::NotFound { path })
    }

    /// Reads one item. `None` is a 404.
    async fn read(&self, path: &str, budget: Duration) -> Result<Option<Vec<u8>>, ImdsError> {
        Ok(self.answer(path, budget).await?.map(|answer| answer.body))
    }

    /// IMDS's answer for one item. `None` is a 404.
    ///
    /// A 401 means that the token has become invalid, so a new one is fetched, once. A 5xx, a failed connection and a
    /// truncated answer are retried. Every other status is final.
    async fn answer(&self, path: &str, budget: Duration) -> Result<Option<Answer>, ImdsError> {
        let deadline = Instant::now() + budget;
        let mut last = None;
        let read = timeout_at(deadline, self.read_patiently(path, &mut last)).await;
        let waiting = self.waiting_now().remove(path);
        read.unwrap_or_else(|_| {
            let impostor = last.as_ref().is_some_and(|again| again.impostor);
            let last = last.map(|again| again.why).or(waiting.map(|waiting| waiting.last));
            Err(ImdsError::Unreachable { waited: budget, last: last.unwrap_or_else(|| "no response in time".into()), impostor })
        })
    }

    async fn read_patiently(&self, path: &str, last: &mut Option<Again>) -> Result<Option<Answer>, ImdsError> {
        let Shared { transport, patience, .. } = &*self.0;
        let mut pauses = patience.pauses.pauses();
        let mut renewed = false;
        loop {
            let session = self.session(path, last).await?;
            let again = match transport.get(&session, path, session.rung + pauses.taken as usize, patience.attempt).await {
                Ok(answer) => match (answer.busy(), answer.status) {
                    (Some(busy), _) => busy,
                    (None, StatusCode::OK) => return Ok(Some(answer)),
                    (None, StatusCode::NOT_FOUND) => return Ok(None),
                    (None, StatusCode::UNAUTHORIZED) if !renewed => {
                        renewed = true;
                        self.forget(&session).await;
                        continue;
                    }
                    (None, status) => return Err(ImdsError::Refused { path: path.into(), status: status.as_u16() }),
                },
                Err(Miss::Final(error)) => return Err(error),
                Err(Miss::Again(again)) => again,
            };
            self.pause(path, &mut pauses, again, last).await;
        }
    }

    /// The token, fetched for `path` if there is none. Callers that arrive while it is being fetched wait for that
    /// request, and share a refusal.
    async fn session(&self, path: &str, last: &mut Option<Again>) -> Result<Session, ImdsError> {
        let mut held = self.0.session.lock().await;
        match &*held {
            Some((since, Err(_))) if since.elapsed() > REFUSED_FOR => {}
            Some((_, known)) => return known.clone(),
            None => {}
        }
        let mut pauses = self.0.patience.pauses.pauses();
        loop {
            match self.0.transport.token(pauses.taken as usize, self.0.patience.attempt).await {
                Ok(session) => return held.insert((Instant::now(), Ok(session))).1.clone(),
                Err(Miss::Final(error)) => return held.insert((Instant::now(), Err(error))).1.clone(),
                Err(Miss::Again(again)) => self.pause(path, &mut pauses, again, last).await,
            }
        }
    }

    /// Drops a token that IMDS no longer accepts, unless another read has already replaced it.
    async fn forget(&self, gone: &Session) {
        let mut held = self.0.session.lock().await;
        if matches!(&*held, Some((_, Ok(session))) if session == gone) {
            *held = None;
        }
    }

    async fn pause(&self, path: &str, pauses: &mut Pauses, again: Again, last: &mut Option<Again>) {
        self.note(path, &again.why);
        log::debug!(why = again.why.as_str(); "waiting for the instance metadata service");
        let pause = pauses.next().max(again.retry_after.unwrap_or_default());
        *last = Some(again);
        sleep(pause).await;
    }

    fn note(&self, path: &str, why: &str) {
        let mut waiting = self.waiting_now();
        let waiting = waiting.entry(path.to_owned()).or_insert_with(|| Waiting { since: Instant::now(), tries: 0, last: String::new() });
        waiting.tries += 1;
        why.clone_into(&mut waiting.last);
    }

    fn waiting_now(&self) -> MutexGuard<'_, BTreeMap<String, Waiting>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads an item that changes, and is therefore not kept.
    async fn of_now(&self, path: &str) -> Result<Option<String>, ImdsError> {
        let body = self.read(path, self.0.patience.budget).await?;
        let found = body.map(|body| text(path, body)).transpose()?;
        Ok(found.map(|found| found.trim().to_owned()).filter(|found| !found.is_empty()))
    }

    async fn read_tag(&self, key: &str) -> Result<Option<String>, ImdsError> {
        let path = format!("meta-data/tags/instance/{}", escaped(key));
        if let Some(body) = self.read(&path, self.0.patience.budget).await? {
            return text(&path, body).map(Some);
        }
        // Either there is no such tag, or this instance's metadata shows no tags at all. Only the list tells which.
        match self.read("meta-data/tags/instance", self.0.patience.budget).await? {
            Some(_) => Ok(None),
            None => Err(ImdsError::TagsDisabled),
        }
    }
}

#[async_trait(?Send)]
impl Metadata for Imds {
    async fn user_data(&self) -> Result<Option<Vec<u8>>, ImdsError> {
        self.read("user-data", self.0.patience.budget).await
    }

    async fn identity(&self) -> Result<Identity, ImdsError> {
        const PATH: &str = "dynamic/instance-identity/document";
        let identity = self.0.identity.get_or_try_init(|| async {
            let body = self.read(PATH, self.0.patience.budget).await?.ok_or(ImdsError::NotFound { path: PATH.into() })?;
            of_bytes(&body).map_err(|error| ImdsError::Malformed { path: PATH.into(), why: error.to_string() })
        });
        identity.await.cloned()
    }

    async fn tag(&self, key: &str) -> Result<Option<String>, ImdsError> {
        // Tags in metadata cannot have these keys, and each of these paths would read something else.
        if matches!(key, "" | "." | ".." | "_index") {
            return Ok(None);
        }
        let cell = self.0.tags.lock().unwrap_or_else(PoisonError::into_inner).entry(key.into()).or_default().clone();
        cell.get_or_try_init(|| self.read_tag(key)).await.cloned()
    }

    async fn target_lifecycle_state(&self) -> Result<Option<String>, ImdsError> {
        self.of_now("meta-data/autoscaling/target-lifecycle-state").await
    }

    async fn notice(&self, notice: Notice) -> Result<Option<String>, ImdsError> {
        self.of_now(notice.path()).await
    }

    async fn primary_interface(&self) -> Result<String, ImdsError> {
        let item = async |path: String| {
            let body = self.read(&path, self.0.patience.budget).await?.ok_or(ImdsError::NotFound { path: path.clone() })?;
            text(&path, body).map(|text| text.trim().to_owned())
        };
        let mac = item("meta-data/mac".into()).await?;
        item(format!("meta-data/network/interfaces/macs/{}/interface-id", escaped(&mac))).await
    }
}

fn url(endpoint: &str) -> Result<Url, ImdsError> {
    match Url::parse(endpoint) {
        Ok(url) if url.scheme() == "http" && url.has_host() => Ok(url),
        _ => Err(ImdsError::Endpoint { endpoint: endpoint.into() }),
    }
}

fn text(path: &str, body: Vec<u8>) -> Result<String, ImdsError> {
    String::from_utf8(body).map_err(|_| ImdsError::Malformed { path: path.into(), why: "not UTF-8".into() })
}

/// Whether IAM would accept this as the name of a role. If not, the answer does not come from IMDS.
fn is_role(name: &str) -> bool {
    name.len() <= LONGEST_ROLE && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte))
}

/// Escapes `segment` for use as one path segment. Tag keys contain colons and slashes.
fn escaped(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:@+=,".contains(&byte);
    segment.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
