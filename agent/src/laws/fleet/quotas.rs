//! The published AWS quotas of an account: token buckets, shared by a whole fleet.
//!
//! [`Metered`] wraps an instance's own fakes. A call takes a few milliseconds and a token, and is refused if no token
//! is left. Only the milliseconds are random, and they come from a seed.
#![expect(clippy::disallowed_methods, reason = "a service of ours takes its time, which is tokio's and paused")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use crate::aws::client::error::Service;
use crate::aws::ec2::{self, Ec2, ElasticAddress, Here, NewVolume, Snapshot, SnapshotQuery, Volume, VolumeQuery};
use crate::aws::live::Services;
use crate::aws::{
    AwsError, AwsErrorKind, ParameterStore, ParameterValue, SecretRequest, SecretValue, SecretsManager, secrets_manager, ssm,
};

/// How often an action may be called: in a burst, and per second after that.
struct Quota {
    /// Actions that share the quota.
    actions: &'static [&'static str],
    at_once: f64,
    a_second: f64,
}

/// Sources: <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html> (a bucket for each action),
/// <https://docs.aws.amazon.com/general/latest/gr/ssm.html> (the default throughput of Parameter Store),
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>.
const QUOTAS: &[Quota] = &[
    Quota { actions: &["BatchGetSecretValue"], at_once: 100.0, a_second: 100.0 },
    Quota { actions: &["GetSecretValue"], at_once: 10_000.0, a_second: 10_000.0 },
    Quota { actions: &["GetParameters", "GetParametersByPath"], at_once: 40.0, a_second: 40.0 },
    Quota { actions: &["DescribeVolumes"], at_once: 100.0, a_second: 20.0 },
    Quota { actions: &["DescribeSnapshots"], at_once: 100.0, a_second: 20.0 },
    Quota { actions: &["CreateVolume"], at_once: 100.0, a_second: 5.0 },
    Quota { actions: &["CreateTags"], at_once: 100.0, a_second: 10.0 },
    Quota { actions: &["AttachVolume"], at_once: 50.0, a_second: 5.0 },
    Quota { actions: &["DetachVolume"], at_once: 50.0, a_second: 5.0 },
    Quota { actions: &["ModifyInstanceAttribute"], at_once: 50.0, a_second: 5.0 },
];

/// How long a call takes, in milliseconds.
pub(super) const LATENCY: std::ops::RangeInclusive<u64> = 5..=20;

/// An account and region, shared by all instances.
pub(super) struct Account {
    buckets: RefCell<Vec<Bucket>>,
    latency: RefCell<fastrand::Rng>,
    /// Calls made and calls refused, by action.
    calls: RefCell<BTreeMap<&'static str, (usize, usize)>>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Account {
    pub(super) fn new() -> Rc<Self> {
        let now = Instant::now();
        let full = QUOTAS.iter().map(|quota| Bucket { tokens: quota.at_once, at: now }).collect();
        Rc::new(Self { buckets: RefCell::new(full), latency: RefCell::new(fastrand::Rng::with_seed(7)), calls: RefCell::default() })
    }

    /// Calls made and calls refused, by action.
    pub(super) fn calls(&self) -> BTreeMap<&'static str, (usize, usize)> {
        self.calls.borrow().clone()
    }

    async fn call(&self, service: &'static Service, operation: &'static str) -> Result<(), AwsError> {
        let latency = Duration::from_millis(self.latency.borrow_mut().u64(LATENCY));
        // Half of the latency is on the way to the service.
        sleep(latency / 2).await;
        let taken = self.take(operation);
        sleep(latency - latency / 2).await;
        if taken { Ok(()) } else { Err(throttled(service, operation)) }
    }

    fn take(&self, operation: &'static str) -> bool {
        let (quota, at) = quota(operation);
        let bucket = &mut self.buckets.borrow_mut()[at];
        let now = Instant::now();
        bucket.tokens = (bucket.tokens + (now - bucket.at).as_secs_f64() * quota.a_second).min(quota.at_once);
        bucket.at = now;
        let taken = bucket.tokens >= 1.0;
        bucket.tokens -= f64::from(u8::from(taken));
        let mut calls = self.calls.borrow_mut();
        let (made, refused) = calls.entry(operation).or_default();
        (*made, *refused) = (*made + 1, *refused + usize::from(!taken));
        taken
    }

    /// The minimum time for this many calls, if they were all made as early as possible.
    pub(super) fn least(calls: &BTreeMap<&'static str, usize>) -> Duration {
        let of_quota = |quota: &Quota| {
            let needed: usize = quota.actions.iter().filter_map(|action| calls.get(action)).sum();
            (needed as f64 - quota.at_once).max(0.0) / quota.a_second
        };
        Duration::from_secs_f64(QUOTAS.iter().map(of_quota).fold(0.0, f64::max))
    }
}

fn quota(operation: &str) -> (&'static Quota, usize) {
    let at = QUOTAS.iter().position(|quota| quota.actions.contains(&operation));
    let at = at.unwrap_or_else(|| panic!("what is the quota of {operation}?"));
    (&QUOTAS[at], at)
}

fn throttled(service: &'static Service, operation: &'static str) -> AwsError {
    let code = if service == ec2::SERVICE { "RequestLimitExceeded" } else { "ThrottlingException" };
    AwsError {
        operation,
        service,
        resource: "its own".into(),
        what: "throttled: Rate exceeded".into(),
        kind: AwsErrorKind::Throttled,
        code: code.into(),
        retry_after: None,
        paced: false,
    }
}

/// An instance's AWS services, limited by the account's quotas.
struct Metered {
    account: Rc<Account>,
    own: Services,
}

/// `own`, with every service that has a quota wrapped.
pub(super) fn metered(account: &Rc<Account>, own: Services) -> Services {
    let metered = Rc::new(Metered { account: account.clone(), own: own.clone() });
    let mut services = own;
    (services.secrets, services.parameters, services.ec2) = (metered.clone(), metered.clone(), metered);
    services
}

#[async_trait(?Send)]
impl SecretsManager for Metered {
    async fn batch(&self, ids: &[String]) -> Result<Vec<Option<Result<SecretValue, AwsError>>>, AwsError> {
        self.account.call(secrets_manager::SERVICE, "BatchGetSecretValue").await?;
        self.own.secrets.batch(ids).await
    }

    async fn get(&self, secret: &SecretRequest) -> Result<SecretValue, AwsError> {
        self.account.call(secrets_manager::SERVICE, "GetSecretValue").await?;
        self.own.secrets.get(secret).await
    }
}

#[async_trait(?Send)]
impl ParameterStore for Metered {
    async fn batch(&self, names: &[String]) -> Result<Vec<Option<ParameterValue>>, AwsError> {
        self.account.call(ssm::SERVICE, "GetParameters").await?;
        self.own.parameters.batch(names).await
    }

    async fn under(&self, path: &str) -> Result<Vec<(String, ParameterValue)>, AwsError> {
        self.account.call(ssm::SERVICE, "GetParametersByPath").await?;
        self.own.parameters.under(path).await
    }
}

#[async_trait(?Send)]
impl Ec2 for Metered {
    async fn address(&self, allocation: &str) -> Result<ElasticAddress, AwsError> {
        self.own.ec2.address(allocation).await
    }

    async fn primary_interface(&self) -> Result<String, AwsError> {
        self.own.ec2.primary_interface().await
    }

    async fn associate_address(&self, allocation: &str, interface: &str) -> Result<(), AwsError> {
        self.own.ec2.associate_address(allocation, interface).await
    }

    async fn here(&self) -> Result<Here, AwsError> {
        self.own.ec2.here().await
    }

    async fn snapshots(&self, query: &SnapshotQuery) -> Result<Vec<Snapshot>, AwsError> {
        self.account.call(ec2::SERVICE, "DescribeSnapshots").await?;
        self.own.ec2.snapshots(query).await
    }

    async fn volumes(&self, query: &VolumeQuery) -> Result<Vec<Volume>, AwsError> {
        self.account.call(ec2::SERVICE, "DescribeVolumes").await?;
        self.own.ec2.volumes(query).await
    }

    async fn create_volume(&self, new: &NewVolume) -> Result<Volume, AwsError> {
        self.account.call(ec2::SERVICE, "CreateVolume").await?;
        self.own.ec2.create_volume(new).await
    }

    async fn attach_volume(&self, volume: &str, instance: &str, device: &str) -> Result<(), AwsError> {
        self.account.call(ec2::SERVICE, "AttachVolume").await?;
        self.own.ec2.attach_volume(volume, instance, device).await
    }

    async fn detach_volume(&self, volume: &str, instance: &str) -> Result<(), AwsError> {
        self.account.call(ec2::SERVICE, "DetachVolume").await?;
        self.own.ec2.detach_volume(volume, instance).await
    }

    async fn set_delete_on_termination(&self, instance: &str, device: &str, delete: bool) -> Result<(), AwsError> {
        self.account.call(ec2::SERVICE, "ModifyInstanceAttribute").await?;
        self.own.ec2.set_delete_on_termination(instance, device, delete).await
    }

    async fn create_tags(&self, resource: &str, tags: &BTreeMap<String, String>) -> Result<(), AwsError> {
        self.account.call(ec2::SERVICE, "CreateTags").await?;
        self.own.ec2.create_tags(resource, tags).await
    }

    async fn tags(&self, resource: &str) -> Result<BTreeMap<String, String>, AwsError> {
        self.account.call(ec2::SERVICE, "DescribeTags").await?;
        self.own.ec2.tags(resource).await
    }
}
