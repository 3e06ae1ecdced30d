//! The front end through which steps read secrets and parameters: concurrent requests are combined into few calls.
//!
//! Reading fifty secrets one after another takes a second; in three concurrent batches it takes 28 ms. Steps do not
//! know about each other, so this module gathers what they ask for within one turn of the runtime, fetches each item
//! once, and keeps it for the rest of the run, unless it is told to forget. A failure is not kept: a retry makes a new
//! call.
//!
//! No request depends on the step that made it first: if that step's future is dropped at its timeout, the others still
//! get their answer.

mod gather;
mod once;
mod pace;
mod regions;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::Semaphore;

use self::gather::Gather;
use self::once::Once;
use self::pace::Pace;
use self::regions::Regions;
use crate::aws::arn::Arn;
use crate::aws::client::call::Call;
use crate::aws::client::error::{AwsError, AwsErrorKind};
use crate::aws::secrets_manager::{SecretRequest, SecretValue, SecretVersion, SecretsManager};
use crate::aws::ssm::{self, ParameterStore, ParameterValue};
use crate::gather::Gather as _;

/// The limit of BatchGetSecretValue.
const SECRETS_PER_CALL: usize = 20;
/// The limit of GetParameters.
const PARAMETERS_PER_CALL: usize = 10;

/// How many single calls run concurrently. Measured for fifty secrets at 20 ms a call: 86 ms with 50 at once, 231 ms
/// with 5. The account's quotas are thousands of calls a second.
const SINGLE_CALLS: usize = 50;

/// Secrets Manager, with batched calls and each secret fetched once, including other regions for ARNs.
#[derive(Clone)]
pub(crate) struct Secrets(Regions<dyn SecretsManager, SecretsInner>);

struct SecretsInner {
    service: Rc<dyn SecretsManager>,
    gather: Gather<Result<SecretValue, AwsError>>,
    once: Rc<Once<SecretRequest, SecretValue>>,
    pace: Rc<Pace>,
    singles: Semaphore,
    /// Whether the role lacks permission for the batch action, which IAM treats as a separate action.
    batch_denied: Cell<bool>,
    pace_of_singles: Pace,
}

impl Secrets {
    pub(crate) fn new(service: Rc<dyn SecretsManager>) -> Self {
        Self(Regions::new(service, SecretsInner::new))
    }

    /// The value of one secret.
    ///
    /// # Errors
    ///
    /// [`AwsError`] for this secret alone, even if it was requested together with others.
    pub(crate) async fn get(&self, request: &SecretRequest) -> Result<SecretValue, AwsError> {
        let elsewhere = |home: Rc<SecretsInner>, region: String| {
            let id = request.id.clone();
            async move { home.service.elsewhere(&region, &id).await }
        };
        let (this, asked) = (self.0.of(&request.id, elsewhere).await?, request.clone());
        let once = this.once.clone();
        once.get(request.clone(), async move { this.fetch(&asked).await }).await
    }

    /// Forgets every value, because one of them has turned out to be outdated.
    pub(crate) fn forget(&self) {
        self.0.each(|secrets| secrets.once.forget());
    }
}

impl SecretsInner {
    fn new(service: Rc<dyn SecretsManager>) -> Self {
        let batches = service.clone();
        let pace = Rc::<Pace>::default();
        let paced = pace.clone();
        let gather = Gather::new(SECRETS_PER_CALL, move |ids: Vec<String>| {
            let (service, pace) = (batches.clone(), paced.clone());
            async move {
                // A single secret needs neither a batch nor the permission for one.
                if ids.len() == 1 {
                    return Ok(BTreeMap::new());
                }
                let answers = pace.note(service.batch(&ids).await)?;
                Ok(ids.into_iter().zip(answers).filter_map(|(id, answer)| Some((id, answer?))).gather())
            }
        });
        Self {
            service,
            gather,
            once: Rc::default(),
            pace,
            singles: Semaphore::new(SINGLE_CALLS),
            batch_denied: Cell::new(false),
            pace_of_singles: Pace::default(),
        }
    }

    async fn fetch(&self, request: &SecretRequest) -> Result<SecretValue, AwsError> {
        if request.version == SecretVersion::Current && !self.batch_denied.get() {
            self.pace.ready().await;
            let batch = self.gather.get(&request.id).await;
            match &batch.answers {
                Ok(answers) => match answers.get(&request.id) {
                    // The secret may belong to another account, for which AWS documents only GetSecretValue.
                    Some(Err(error)) if Arn::parse(&request.id).is_some() && is_of_one(error) => {}
                    Some(answer) => return answer.clone(),
                    None => {}
                },
                Err(error) if error.kind == AwsErrorKind::Denied => {
                    if !self.batch_denied.replace(true) {
                        log::info!(action = "secretsmanager:BatchGetSecretValue"; "not allowed, reading secrets one by one");
                    }
                }
                Err(error) if is_of_one(error) => {}
                Err(error) => return Err(AwsError { resource: request.id.clone(), ..error.clone() }),
            }
        }
        let _permit = self.singles.acquire().await;
        self.pace_of_singles.ready().await;
        self.pace_of_singles.note(self.service.get(request).await)
    }
}

/// Parameter Store, with batched calls and each parameter fetched once, including other regions for ARNs.
#[derive(Clone)]
pub(crate) struct Parameters(Regions<dyn ParameterStore, ParametersInner>);

struct ParametersInner {
    service: Rc<dyn ParameterStore>,
    gather: Gather<ParameterValue>,
    once: Rc<Once<String, ParameterValue>>,
    trees: Rc<Once<String, Vec<(String, ParameterValue)>>>,
    pace: Rc<Pace>,
    pace_of_trees: Pace,
    singles: Semaphore,
}

impl Parameters {
    pub(crate) fn new(service: Rc<dyn ParameterStore>) -> Self {
        Self(Regions::new(service, ParametersInner::new))
    }

    /// The value of one parameter.
    ///
    /// # Errors
    ///
    /// [`AwsError`] for this parameter alone, even if it was requested together with others; [`AwsErrorKind::NotFound`]
    /// if it does not exist.
    pub(crate) async fn get(&self, name: &str) -> Result<ParameterValue, AwsError> {
        let elsewhere = |home: Rc<ParametersInner>, region: String| {
            let name = name.to_owned();
            async move { home.service.elsewhere(&region, &name).await }
        };
        let (this, asked) = (self.0.of(name, elsewhere).await?, name.to_owned());
        let once = this.once.clone();
        once.get(name.to_owned(), async move { this.fetch(asked).await }).await
    }

    /// Every parameter below `path`: names relative to it, and their values.
    pub(crate) async fn under(&self, path: &str) -> Result<Vec<(String, ParameterValue)>, AwsError> {
        let (this, asked) = (self.0.home(), path.to_owned());
        let trees = this.trees.clone();
        let fetch = async move {
            this.pace_of_trees.ready().await;
            this.pace_of_trees.note(this.service.under(&asked).await)
        };
        trees.get(path.to_owned(), fetch).await
    }

    /// As [`Secrets::forget`].
    pub(crate) fn forget(&self) {
        self.0.each(|parameters| {
            parameters.once.forget();
            parameters.trees.forget();
        });
    }
}

impl ParametersInner {
    fn new(service: Rc<dyn ParameterStore>) -> Self {
        let batches = service.clone();
        let pace = Rc::<Pace>::default();
        let paced = pace.clone();
        let gather = Gather::new(PARAMETERS_PER_CALL, move |names: Vec<String>| {
            let (service, pace) = (batches.clone(), paced.clone());
            async move { pace.note(values(&*service, names).await) }
        });
        let singles = Semaphore::new(SINGLE_CALLS);
        Self { service, gather, once: Rc::default(), trees: Rc::default(), pace, pace_of_trees: Pace::default(), singles }
    }

    async fn fetch(&self, name: String) -> Result<ParameterValue, AwsError> {
        self.pace.ready().await;
        let batch = self.gather.get(&name).await;
        let found = match &batch.answers {
            Ok(answers) => answers.get(&name).cloned(),
            // One forbidden parameter fails the call for all ten.
            Err(error) if batch.size > 1 && is_of_one(error) => {
                let _permit = self.singles.acquire().await;
                values(&*self.service, vec![name.clone()]).await?.remove(&name)
            }
            Err(error) => return Err(AwsError { resource: name, ..error.clone() }),
        };
        let missing = || Call::new(ssm::SERVICE, "GetParameters", name).refused(Some("ParameterNotFound"), None, None);
        found.ok_or_else(missing)
    }
}

async fn values(service: &dyn ParameterStore, names: Vec<String>) -> Result<BTreeMap<String, ParameterValue>, AwsError> {
    let answers = service.batch(&names).await?;
    Ok(names.into_iter().zip(answers).filter_map(|(name, answer)| Some((name, answer?))).gather())
}

/// Whether a single item may have failed the whole batch, so that the others should be fetched in calls of their own.
fn is_of_one(error: &AwsError) -> bool {
    matches!(error.kind, AwsErrorKind::Denied | AwsErrorKind::KmsDenied | AwsErrorKind::NotFound | AwsErrorKind::Invalid)
}
