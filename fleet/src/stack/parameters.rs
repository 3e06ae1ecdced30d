//! The parameters of a stack, from the settings of its environment.

use std::time::Duration;

use serde::Serialize;

use crate::fleet::{Environment, Length, Mode, Policy, Refresh, Settings, Tier};
use crate::stack::known::{ACCOUNT, Known, REGION};
use crate::stack::template::Template;

/// The longest boot: `ingot boot` ends by then.
const DEADLINE: Duration = Duration::from_secs(30 * 60);

/// Minutes for the launch of an instance, and for a signal in the last seconds.
const MARGIN: u64 = 2;

/// The time that a leaving instance needs in addition to its messages in progress, because it also stops its units. In
/// seconds, as in the template.
const AROUND: u64 = 10 * 60;

/// The longest that a lifecycle hook waits, in seconds and in multiples of its timeout.
///
/// Source: <https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html>
const LONGEST_HOOK: u64 = 48 * 60 * 60;
const TIMEOUTS: u64 = 100;

/// The part of that time that a drain reserves for its end, and the shortest timeout, so that one or two heartbeats may
/// be late; in seconds.
const AFTERWARDS: u64 = 120;
const SHORTEST_TIMEOUT: u64 = 120;

/// A value, or a description of a value that is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    Known(String),
    /// Known when the environment is deployed.
    Later {
        what: String,
        /// A value of the same form.
        stand_in: String,
    },
}

impl Given {
    /// The value, or its stand-in.
    pub(crate) fn stand_in(&self) -> &str {
        match self {
            Self::Known(value) | Self::Later { stand_in: value, .. } => value,
        }
    }
}

/// One parameter.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) given: Given,
    /// The setting that it comes from; empty if it comes from none.
    pub(crate) from: &'static str,
}

/// The parameters collected so far.
struct Collected<'a> {
    template: &'a Template,
    parameters: Vec<Parameter>,
}

impl Collected<'_> {
    fn add(&mut self, name: &'static str, from: &'static str, given: Given) {
        // Each tier has only the parameters of its template.
        if self.template.parameter(name).is_some() {
            self.parameters.push(Parameter { name, given, from });
        }
    }

    fn known(&mut self, name: &'static str, from: &'static str, value: impl ToString) {
        self.add(name, from, Given::Known(value.to_string()));
    }

    fn perhaps(&mut self, name: &'static str, from: &'static str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.known(name, from, value);
        }
    }

    fn later(&mut self, name: &'static str, from: &'static str, what: impl Into<String>, stand_in: impl Into<String>) {
        self.add(name, from, Given::Later { what: what.into(), stand_in: stand_in.into() });
    }
}

/// The parameters of an environment at its creation; what it does not set has the template's default.
pub(super) fn of(known: &Known<'_>, template: &Template) -> Vec<Parameter> {
    let mut collected = Collected { template, parameters: Vec::new() };
    of_the_release(known, &mut collected);
    of_the_policy(known, &mut collected);
    of_the_network(known, &mut collected);
    let settings = &known.environment.settings;
    of_the_instances(settings, known.environment.mode, &mut collected);
    of_the_end(known, &mut collected);
    of_the_rights(settings, &mut collected);
    of_the_schedule(settings, &mut collected);
    of_the_refresh(settings, &mut collected);
    of_the_data(settings, &mut collected);
    of_the_queue(settings, &mut collected);
    collected.perhaps("AlarmEmail", "alarms.email", settings.alarms.email.as_ref().map(|email| email.as_str()));
    collected.perhaps("Runbook", "alarms.runbook", settings.alarms.runbook.as_ref().map(|link| link.as_str()));
    collected.perhaps("ErrorPercent", "alarms.error_percent", settings.alarms.error_percent.map(|percent| percent.0));
    collected.perhaps("MessageAge", "alarms.message_age", settings.alarms.message_age.map(|age| age.0));
    collected.parameters
}

fn of_the_release(known: &Known<'_>, to: &mut Collected<'_>) {
    let image = known.environment.settings.image.as_ref().map_or("", |image| image.as_str());
    to.known("Application", "", known.application);
    to.known("Environment", "", &known.environment.name);
    to.known("Mode", "mode", word(known.environment.mode));
    to.later("Release", "", "name of the release", "v1");
    to.later("ReleaseSha256", "", "SHA-256 of the release", "0".repeat(64));
    to.known("Document", "document", known.document);
    match image.strip_prefix("ssm:") {
        Some(parameter) => to.later("Image", "image", format!("AMI in the SSM parameter {parameter}"), "ami-0123456789abcdef0"),
        None => to.known("Image", "image", image),
    }
    to.later("Deployment", "", "number of the deployment", "1");
    to.known("ReleasesBucket", "", &known.releases.bucket);
    to.known("ReleasesPrefix", "", &known.releases.prefix);
    to.later("EvidenceBucket", "", "output EvidenceBucket of ingot-account", "ingot-evidence");
}

/// The sizes at creation; a deployment counts the instances that run.
fn of_the_policy(known: &Known<'_>, to: &mut Collected<'_>) {
    let Environment { settings, tier, mode, .. } = known.environment;
    let capacity = settings.instances.min(*tier, *mode).max(1);
    let batch = settings.deployment.batch().of(capacity).min(capacity);
    let policy = settings.deployment.policy();
    // The template has no traffic splitting, and `immutable` requires nothing of the sizes: nothing is replaced at
    // creation.
    to.known("Policy", "deployment.policy", word(if policy == Policy::TrafficSplitting { Policy::Immutable } else { policy }));
    to.known("Capacity", "instances.min", capacity);
    to.known("BatchSize", "deployment.batch", batch);
    to.known("MinInService", "deployment.batch", capacity - batch);
    let boot = known.longest.unwrap_or(DEADLINE).min(DEADLINE);
    let pause = Length::minutes_of(boot) + MARGIN;
    to.known("PauseTime", "document", format!("PT{pause}M"));
}

fn of_the_network(known: &Known<'_>, to: &mut Collected<'_>) {
    let Settings { network, load_balancer, .. } = &known.environment.settings;
    to.known("Vpc", "network.vpc", network.vpc.as_ref().map_or("", |vpc| vpc.as_str()));
    to.known("Subnets", "network.subnets", joined(network.subnets.iter().map(|one| one.as_str())));
    let path = "network.load_balancer_subnets";
    to.known("LoadBalancerSubnets", path, joined(network.load_balancer_subnets.iter().map(|one| one.as_str())));
    to.perhaps("ClientCidr", "network.clients", network.clients.as_ref().map(|clients| clients.as_str()));
    to.known("ExtraSecurityGroups", "network.security_groups", joined(network.security_groups.iter().map(|one| one.as_str())));
    let slot = known.environment.joined().map(|(edge, slot)| format!("{edge}-{slot}"));
    to.perhaps("Slot", "load_balancer.slot", slot);
    to.perhaps("Public", "load_balancer.public", load_balancer.public);
    to.perhaps("Certificate", "load_balancer.certificate", load_balancer.certificate.as_ref().map(|arn| arn.as_str()));
    to.perhaps("Port", "load_balancer.port", load_balancer.port.map(|port| port.0));
    to.perhaps("HealthCheckPath", "load_balancer.health_check", load_balancer.health_check.as_ref().map(|path| path.as_str()));
    to.perhaps("Deregistration", "load_balancer.deregistration", load_balancer.deregistration.map(|length| length.0));
}

fn of_the_instances(settings: &Settings, mode: Mode, to: &mut Collected<'_>) {
    let instances = &settings.instances;
    let mut types = instances.types.iter().map(|name| name.as_str());
    to.perhaps("InstanceType", "instances.types.0", types.next());
    to.perhaps("SecondInstanceType", "instances.types.1", types.next());
    to.perhaps("OnDemandPercent", "instances.spot", instances.spot.map(|spot| 100 - spot.0));
    to.perhaps("RootDevice", "instances.root_device", instances.root_device.as_ref().map(|device| device.as_str()));
    to.perhaps("RootVolumeGib", "instances.root_volume_gib", instances.root_volume_gib.map(|gib| gib.0));
    to.perhaps("MetadataHops", "metadata_hops", settings.metadata_hops.map(|hops| hops.0));
    if mode == Mode::SingleInstance {
        return;
    }
    to.perhaps("MinSize", "instances.min", instances.min.map(|min| min.0));
    to.perhaps("MaxSize", "instances.max", instances.max.map(|max| max.0));
    to.known("WarmPool", "warm_pool.min", settings.warm_pool.as_ref().and_then(|pool| pool.min).map_or(0, |min| min.0));
    let scale = instances.scale_on.clone().unwrap_or_default();
    to.known("RequestsPerTarget", "instances.scale_on", scale.requests_per_target.map_or(0, |requests| requests.0));
    to.known("CpuPercent", "instances.scale_on", scale.cpu_percent.map_or(0, |percent| percent.0));
    to.known("MessagesPerInstance", "instances.scale_on", scale.messages_per_instance.map_or(0, |messages| messages.0));
}

/// How long a leaving instance may take, which depends on the document of a worker.
fn of_the_end(known: &Known<'_>, to: &mut Collected<'_>) {
    let Some(drain) = known.drain.filter(|_| known.environment.tier == Tier::Worker) else { return };
    let grace = (drain.as_secs() + AROUND).min(LONGEST_HOOK);
    to.known("Grace", "document", grace);
    to.known("LeavingTimeout", "document", (grace + AFTERWARDS).div_ceil(TIMEOUTS).max(SHORTEST_TIMEOUT));
}

/// The names of secrets as ARNs, with the account and the region of the deployment.
fn of_the_rights(settings: &Settings, to: &mut Collected<'_>) {
    let boundary = format!("arn:aws:iam::{ACCOUNT}:policy/ingot-boundary");
    to.later("PermissionsBoundary", "", "output Boundary of ingot-account", boundary);
    let (parameters, secrets): (Vec<&String>, Vec<&String>) = settings.secrets.iter().partition(|name| name.starts_with('/'));
    // Secrets Manager appends six characters to a name.
    let suffix = |name: &str| if name.ends_with('*') { "" } else { "-??????" };
    let secret = |region: &str, account: &str| {
        joined(secrets.iter().map(|name| format!("arn:aws:secretsmanager:{region}:{account}:secret:{name}{}", suffix(name))))
    };
    let parameter =
        |region: &str, account: &str| joined(parameters.iter().map(|name| format!("arn:aws:ssm:{region}:{account}:parameter{name}")));
    match secrets.is_empty() {
        true => to.known("SecretArns", "secrets", ""),
        false => to.later("SecretArns", "secrets", secret("REGION", "ACCOUNT"), secret(REGION, ACCOUNT)),
    }
    match parameters.is_empty() {
        true => to.known("ParameterArns", "secrets", ""),
        false => to.later("ParameterArns", "secrets", parameter("REGION", "ACCOUNT"), parameter(REGION, ACCOUNT)),
    }
    to.known("KeyArns", "keys", joined(settings.keys.iter().map(|key| key.as_str())));
}

fn of_the_schedule(settings: &Settings, to: &mut Collected<'_>) {
    let names = [
        ("FirstSchedule", "FirstScheduleMinSize", "schedule.0.cron", "schedule.0.min"),
        ("SecondSchedule", "SecondScheduleMinSize", "schedule.1.cron", "schedule.1.min"),
    ];
    for (schedule, (cron, min, of_cron, of_min)) in settings.schedule.iter().zip(names) {
        to.known(cron, of_cron, schedule.cron.split_whitespace().collect::<Vec<_>>().join(" "));
        to.known(min, of_min, schedule.min.0);
    }
}

fn of_the_refresh(settings: &Settings, to: &mut Collected<'_>) {
    to.perhaps("Refresh", "refresh", settings.refresh.map(Refresh::expression));
}

fn of_the_data(settings: &Settings, to: &mut Collected<'_>) {
    if let Some(database) = &settings.database {
        to.perhaps("DatabaseClass", "database.class", database.class.as_ref().map(|class| class.as_str()));
        to.perhaps("DatabaseSnapshot", "database.restore_from", database.restore_from.as_ref().map(|from| from.snapshot.as_str()));
        to.perhaps("DatabaseEngine", "database.engine", database.engine.map(word));
        to.perhaps("DatabaseStorageGib", "database.storage_gib", database.storage_gib.map(|gib| gib.0));
        to.perhaps("DatabaseName", "database.name", database.name.as_ref().map(|name| name.as_str()));
        to.perhaps("DatabaseUser", "database.user", database.user.as_ref().map(|user| user.as_str()));
        to.perhaps("DatabaseMultiAz", "database.multi_az", database.multi_az);
    }
    if let Some(cache) = &settings.cache {
        to.perhaps("CacheNode", "cache.node", cache.node.as_ref().map(|node| node.as_str()));
        to.perhaps("CacheReplicas", "cache.replicas", cache.replicas.map(|replicas| replicas.0));
    }
}

fn of_the_queue(settings: &Settings, to: &mut Collected<'_>) {
    let queue = &settings.queue;
    to.perhaps("Fifo", "queue.fifo", queue.fifo);
    to.perhaps("Visibility", "queue.visibility", queue.visibility.map(|length| length.0));
    to.perhaps("Deliveries", "queue.retries", queue.retries.map(|retries| retries.0));
    to.perhaps("Retention", "queue.retention", queue.retention.map(|length| length.0));
}

fn joined(items: impl Iterator<Item = impl AsRef<str>>) -> String {
    items.map(|item| item.as_ref().to_owned()).collect::<Vec<_>>().join(",")
}

/// A value as fleet.yaml spells it.
pub(super) fn word(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
