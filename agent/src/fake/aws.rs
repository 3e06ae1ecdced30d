//! AWS, in memory, for `ingot dry-run` and the tests.
//!
//! A fake holds state: it returns what was put in, and refuses what was never put in as AWS would refuse it. It counts
//! the calls made, by action.

mod balancers;
mod calls;
mod ec2;
mod objects;
#[cfg(test)]
mod queue;
mod rds;
mod registries;
mod signals;

use std::collections::BTreeMap;
use std::rc::Rc;

use async_trait::async_trait;

use self::calls::Calls;
use crate::aws::client::call::Call;
use crate::aws::live::Services;
use crate::aws::{
    AwsError, Identity, ImdsError, Metadata, Notice, ParameterStore, ParameterValue, SecretRequest, SecretValue, SecretVersion,
    SecretsManager, secrets_manager, ssm,
};

pub(crate) use balancers::FakeBalancers;
pub(crate) use ec2::FakeEc2;
pub(crate) use objects::FakeObjects;
#[cfg(test)]
pub(crate) use queue::FakeQueue;
pub(crate) use rds::FakeRds;
#[cfg(test)]
pub(crate) use rds::{BY_RDS, Pace, managed};
pub(crate) use registries::FakeRegistries;
pub(crate) use signals::{FakeAutoScaling, FakeCloudFormation};

/// An account for a rehearsal, empty except for what `ec2` and `rds` hold. Every object that is requested exists, and
/// every parameter names one.
pub(crate) fn services(ec2: Rc<FakeEc2>, rds: Rc<FakeRds>) -> Services {
    Services {
        secrets: Rc::new(FakeSecretsManager::default()),
        parameters: Rc::new(FakeParameterStore::default().inventing(|name| Some(ParameterValue::Text(named_by(name).into())))),
        stacks: Rc::new(FakeCloudFormation::new(ec2.machine())),
        groups: Rc::new(FakeAutoScaling::new(ec2.machine())),
        balancers: Rc::new(FakeBalancers::default()),
        registries: Rc::new(FakeRegistries),
        ec2,
        rds,
        objects: Rc::new(FakeObjects::inventing()),
    }
}

/// Prefix of the release names that invented parameters hold.
pub(crate) const NAMED_BY: &str = "named-by-";

/// The URL of the release that an invented parameter names.
fn named_by(parameter: &str) -> String {
    format!("s3://bucket/{NAMED_BY}{}.tar.zst", parameter.trim_matches('/').replace('/', "-"))
}

type Invent<K, V> = Box<dyn Fn(&K) -> Option<V>>;

/// Secrets Manager, in memory.
#[derive(Default)]
pub(crate) struct FakeSecretsManager {
    secrets: BTreeMap<SecretRequest, SecretValue>,
    invent: Option<Invent<SecretRequest, SecretValue>>,
    /// The services of other regions. A region that is not listed here is treated as this one.
    elsewhere: BTreeMap<String, Rc<FakeSecretsManager>>,
    calls: Calls,
}

impl FakeSecretsManager {
    /// Adds a secret, in its current version.
    pub(crate) fn with(self, id: &str, value: &str) -> Self {
        self.with_version(id, SecretVersion::Current, SecretValue::Text(value.into()))
    }

    pub(crate) fn with_version(mut self, id: &str, version: SecretVersion, value: SecretValue) -> Self {
        self.secrets.insert(SecretRequest { id: id.into(), version }, value);
        self
    }

    /// For a secret that was never put in, answers with what `invent` makes up.
    pub(crate) fn inventing(mut self, invent: impl Fn(&SecretRequest) -> Option<SecretValue> + 'static) -> Self {
        self.invent = Some(Box::new(invent));
        self
    }

    /// How often an action such as `GetSecretValue` was called.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.calls.count(operation)
    }

    fn value(&self, request: &SecretRequest) -> Result<SecretValue, AwsError> {
        let call = Call::new(secrets_manager::SERVICE, "GetSecretValue", &request.id);
        self.calls.refusal(&call, std::slice::from_ref(&request.id))?;
        let known = self.secrets.get(request).cloned().or_else(|| self.invent.as_ref()?(request));
        let message = "Secrets Manager can't find the specified secret.";
        known.ok_or_else(|| call.refused(Some("ResourceNotFoundException"), Some(message), Some(400)))
    }
}

#[async_trait(?Send)]
impl SecretsManager for FakeSecretsManager {
    async fn batch(&self, ids: &[String]) -> Result<Vec<Option<Result<SecretValue, AwsError>>>, AwsError> {
        assert!(ids.len() <= 20, "BatchGetSecretValue takes at most 20");
        self.calls.begin(secrets_manager::SERVICE, "BatchGetSecretValue", ids).await?;
        let request = |id: &String| SecretRequest { id: id.clone(), version: SecretVersion::Current };
        Ok(ids.iter().map(|id| Some(self.value(&request(id)))).collect())
    }

    async fn elsewhere(&self, region: &str, _id: &str) -> Result<Option<Rc<dyn SecretsManager>>, AwsError> {
        Ok(self.elsewhere.get(region).map(|service| service.clone() as Rc<dyn SecretsManager>))
    }

    async fn get(&self, secret: &SecretRequest) -> Result<SecretValue, AwsError> {
        self.calls.begin(secrets_manager::SERVICE, "GetSecretValue", std::slice::from_ref(&secret.id)).await?;
        self.value(secret)
    }
}

/// Parameter Store, in memory.
#[derive(Default)]
pub(crate) struct FakeParameterStore {
    parameters: BTreeMap<String, ParameterValue>,
    /// As in [`FakeSecretsManager`].
    elsewhere: BTreeMap<String, Rc<FakeParameterStore>>,
    invent: Option<Invent<str, ParameterValue>>,
    invent_tree: Option<Invent<str, Vec<(String, ParameterValue)>>>,
    calls: Calls,
}

impl FakeParameterStore {
    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        self.with_value(name, ParameterValue::Text(value.into()))
    }

    pub(crate) fn with_list(self, name: &str, values: &[&str]) -> Self {
        self.with_value(name, ParameterValue::List(values.iter().map(|value| (*value).into()).collect()))
    }

    fn with_value(mut self, name: &str, value: ParameterValue) -> Self {
        self.parameters.insert(name.into(), value);
        self
    }

    /// For a parameter that was never put in, answers with what `invent` makes up.
    pub(crate) fn inventing(mut self, invent: impl Fn(&str) -> Option<ParameterValue> + 'static) -> Self {
        self.invent = Some(Box::new(invent));
        self
    }

    /// For a path below which nothing was put, answers with what `invent` makes up.
    pub(crate) fn inventing_trees(mut self, invent: impl Fn(&str) -> Option<Vec<(String, ParameterValue)>> + 'static) -> Self {
        self.invent_tree = Some(Box::new(invent));
        self
    }

    /// How often an action such as `GetParameters` was called.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.calls.count(operation)
    }
}

#[async_trait(?Send)]
impl ParameterStore for FakeParameterStore {
    async fn batch(&self, names: &[String]) -> Result<Vec<Option<ParameterValue>>, AwsError> {
        assert!(names.len() <= 10, "GetParameters takes at most 10");
        self.calls.begin(ssm::SERVICE, "GetParameters", names).await?;
        let value = |name: &String| self.parameters.get(name).cloned().or_else(|| self.invent.as_ref()?(name));
        Ok(names.iter().map(value).collect())
    }

    async fn elsewhere(&self, region: &str, _name: &str) -> Result<Option<Rc<dyn ParameterStore>>, AwsError> {
        Ok(self.elsewhere.get(region).map(|service| service.clone() as Rc<dyn ParameterStore>))
    }

    async fn under(&self, path: &str) -> Result<Vec<(String, ParameterValue)>, AwsError> {
        self.calls.begin(ssm::SERVICE, "GetParametersByPath", &[path.to_owned()]).await?;
        let below = |name: &str| Some(name.strip_prefix(path.trim_end_matches('/'))?.strip_prefix('/')?.to_owned());
        let found: Vec<_> = self.parameters.iter().filter_map(|(name, value)| Some((below(name)?, value.clone()))).collect();
        match &self.invent_tree {
            Some(invent) if found.is_empty() => Ok(invent(path).unwrap_or_default()),
            _ => Ok(found),
        }
    }
}

/// The instance metadata service, in memory.
#[derive(Debug, Default, Clone)]
pub(crate) struct FakeMetadata {
    pub(crate) user_data: Option<Vec<u8>>,
    pub(crate) identity: Identity,
    /// `None` if instance tags are not available in the metadata.
    pub(crate) tags: Option<BTreeMap<String, String>>,
    pub(crate) target_lifecycle_state: Option<String>,
    /// The notices that EC2 has announced.
    pub(crate) notices: Vec<(Notice, String)>,
    /// The error that every read fails with.
    pub(crate) failure: Option<ImdsError>,
}

impl FakeMetadata {
    fn read<T>(&self, value: T) -> Result<T, ImdsError> {
        self.failure.clone().map_or(Ok(value), Err)
    }
}

#[async_trait(?Send)]
impl Metadata for FakeMetadata {
    async fn user_data(&self) -> Result<Option<Vec<u8>>, ImdsError> {
        self.read(self.user_data.clone())
    }

    async fn identity(&self) -> Result<Identity, ImdsError> {
        self.read(self.identity.clone())
    }

    async fn tag(&self, key: &str) -> Result<Option<String>, ImdsError> {
        let tags = self.read(self.tags.as_ref())?;
        tags.map(|tags| tags.get(key).cloned()).ok_or(ImdsError::TagsDisabled)
    }

    async fn target_lifecycle_state(&self) -> Result<Option<String>, ImdsError> {
        self.read(self.target_lifecycle_state.clone())
    }

    async fn notice(&self, notice: Notice) -> Result<Option<String>, ImdsError> {
        self.read(self.notices.iter().find(|(known, _)| *known == notice).map(|(_, text)| text.clone()))
    }

    async fn primary_interface(&self) -> Result<String, ImdsError> {
        self.read("eni-0123456789abcdef0".to_owned())
    }
}

/// Failures on request.
#[cfg(test)]
mod knobs {
    use std::rc::Rc;

    use super::{FakeParameterStore, FakeSecretsManager};

    impl FakeSecretsManager {
        /// Adds the service of another region.
        pub(crate) fn and_in(mut self, region: &str, service: &Rc<Self>) -> Self {
            self.elsewhere.insert(region.into(), service.clone());
            self
        }

        /// Refuses the next `times` calls as AWS does under load.
        pub(crate) fn throttled(self, times: usize) -> Self {
            self.calls.throttle.set(times);
            self
        }

        /// Denies an action such as `BatchGetSecretValue`, or access to a secret by its id.
        pub(crate) fn denied(mut self, what: &str) -> Self {
            self.calls.denied.insert(what.into());
            self
        }
    }

    impl FakeParameterStore {
        /// As [`FakeSecretsManager::and_in`].
        pub(crate) fn and_in(mut self, region: &str, service: &Rc<Self>) -> Self {
            self.elsewhere.insert(region.into(), service.clone());
            self
        }

        /// As [`FakeSecretsManager::throttled`].
        pub(crate) fn throttled(self, times: usize) -> Self {
            self.calls.throttle.set(times);
            self
        }

        /// As [`FakeSecretsManager::denied`].
        pub(crate) fn denied(mut self, what: &str) -> Self {
            self.calls.denied.insert(what.into());
            self
        }
    }
}
