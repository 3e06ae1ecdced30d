//! The instance that boots an example: a machine and an AWS in memory, which outlive each process of ingot.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::aws::Identity;
use crate::aws::live::{Aws, Services};
use crate::boot::{Boot, Ground, Request, StandIn, UserData};
use crate::execute::Halt;
use crate::facts;
use crate::fake::aws::{
    FakeAutoScaling, FakeBalancers, FakeCloudFormation, FakeEc2, FakeMetadata, FakeObjects, FakeParameterStore, FakeRds, FakeRegistries,
    FakeSecretsManager,
};
use crate::fake::machine::{FakeMachine, Snapshot};
use crate::host::{Host, identity};
use crate::laws::example::Example;
use crate::laws::invented::{Invented, rendered};
use crate::laws::reading::ReadingUnits;
use crate::laws::transcript::Transcript;
use crate::plan::Plan;
use crate::report::{BootOutcome, Outcome, Report};
use crate::step::{Known, Phase, World};

pub(super) const ZONE: &str = "eu-central-1a";
pub(super) const REGION: &str = "eu-central-1";

/// An instance that boots one document repeatedly.
pub(super) struct Instance {
    pub(super) example: Example,
    pub(super) machine: FakeMachine,
    pub(super) units: ReadingUnits,
    pub(super) secrets: Rc<FakeSecretsManager>,
    pub(super) parameters: Rc<FakeParameterStore>,
    pub(super) ec2: Rc<FakeEc2>,
    pub(super) rds: Rc<FakeRds>,
    pub(super) objects: Rc<FakeObjects>,
    pub(super) stacks: Rc<FakeCloudFormation>,
    pub(super) groups: Rc<FakeAutoScaling>,
    pub(super) balancers: Rc<FakeBalancers>,
    /// The phase that the group wants for the instance.
    pub(super) phase: Cell<Phase>,
    /// Whether tags are available in the metadata.
    pub(super) shows_tags: Cell<bool>,
    /// The value of every secret.
    pub(super) values: Vec<String>,
}

/// Part of every release: extensions that change the machine, besides the processes.
const EXTENSIONS: &str = "files:\n  /etc/cron.d/law: { mode: '000600', content: a }\ncommands:\n  01_first: { command: first }\n\
                          container_commands:\n  01_migrate: { command: migrate, leader_only: true }\n";

impl Instance {
    /// A new instance, with a secret for everything that the example needs, and services that are ready only while they
    /// run.
    pub(super) async fn of(example: &Example) -> Self {
        let mut instance = Self::with_aws(example, FakeSecretsManager::default(), FakeParameterStore::default());
        let plan = example.plan(&*instance.machine.host().files).await;
        let known = instance.known(&plan).await;
        for (service, step) in example.steps("services") {
            let probes = ["http", "tcp"].iter().filter_map(|probe| step["ready"][*probe].as_str());
            for probe in probes.filter_map(|probe| rendered(probe, &known)) {
                instance.machine.add_listener(&probe, service);
            }
        }
        let Invented { secrets, parameters, values } = Invented::of(example, &plan, &known);
        (instance.secrets, instance.parameters, instance.values) = (Rc::new(secrets), Rc::new(parameters), values);
        instance
    }

    /// A new instance in an account whose content the law provides itself.
    pub(super) fn with_aws(example: &Example, secrets: FakeSecretsManager, parameters: FakeParameterStore) -> Self {
        let machine = FakeMachine::rehearsal();
        machine.add_to_releases(".ebextensions/01_law.config", EXTENSIONS);
        machine.add_to_releases(".platform/nginx/conf.d/law.conf", "client_max_body_size 1m;\n");
        example.templates.iter().for_each(|(path, text)| machine.add_file(path, text));
        let units = ReadingUnits::of(example, &machine);
        let (secrets, parameters) = (Rc::new(secrets), Rc::new(parameters));
        let ec2 = Rc::new(FakeEc2::new(machine.clone(), ZONE).inventing());
        let rds = Rc::new(FakeRds::new(machine.clone(), REGION).inventing());
        let objects = Rc::new(FakeObjects::inventing());
        let (stacks, groups) = (Rc::new(FakeCloudFormation::new(machine.clone())), Rc::new(FakeAutoScaling::new(machine.clone())));
        let balanced = machine.clone();
        let (phase, shows_tags) = (Cell::new(Phase::Serve), Cell::new(true));
        Self {
            example: example.clone(),
            machine,
            units,
            secrets,
            parameters,
            ec2,
            rds,
            objects,
            stacks,
            groups,
            balancers: Rc::new(FakeBalancers::new(balanced)),
            phase,
            shows_tags,
            values: Vec::new(),
        }
    }

    /// A new instance in an account whose volumes and snapshots the law provides itself.
    pub(super) fn with_ec2(text: &str, ec2: impl FnOnce(FakeEc2) -> FakeEc2) -> Self {
        let mut instance = Self::with_aws(&Example::of(text), FakeSecretsManager::default(), FakeParameterStore::default());
        instance.machine.stop_inventing_disks();
        instance.ec2 = Rc::new(ec2(FakeEc2::new(instance.machine.clone(), ZONE)));
        instance
    }

    /// Boots to the end.
    pub(super) async fn boot(&self) -> Booted {
        self.boot_until(pending()).await
    }

    /// Boots to the end, which must be successful.
    pub(super) async fn boot_well(&self) -> Booted {
        let booted = self.boot().await;
        assert_eq!(booted.report.outcome, BootOutcome::Done, "{}: {}", self.example.name, booted.transcript.text());
        booted
    }

    pub(super) async fn boot_until(&self, stop: impl Future<Output = Halt>) -> Booted {
        self.process().await.run(stop).await
    }

    /// A new ingot process, up to its first step.
    pub(super) async fn process(&self) -> Process {
        self.process_with(self.services()).await
    }

    /// The same, with other AWS services.
    pub(super) async fn process_with(&self, services: Services) -> Process {
        let transcript = Transcript::default();
        let request = Request {
            user_data: UserData::Metadata,
            layers: None,
            only: Vec::new(),
            release: None,
            deadline: Duration::MAX,
            started_by_systemd: false,
        };
        let boot = Boot::begin(Rc::new(request), self.ground(services).await, Rc::new(transcript.clone())).await;
        let plan = boot.reach().await.unwrap_or_else(|stop| panic!("{}: {stop:?}", self.example.name));
        Process { boot, plan, transcript }
    }

    /// What `ingot boot` finds here, with the document in user data.
    async fn ground(&self, services: Services) -> Ground {
        let host = Host { units: Rc::new(self.units.clone()), ..self.machine.host() };
        let plan = self.example.plan(&*host.files).await;
        let metadata = FakeMetadata {
            user_data: Some(format!("#ingot\n{}", self.example.text).into_bytes()),
            identity: self.identity().await,
            tags: self.shows_tags.get().then(|| tags(&plan)),
            target_lifecycle_state: Some(if self.phase.get() == Phase::Warm { "Warmed:Stopped".into() } else { "InService".into() }),
            notices: Vec::new(),
            failure: None,
        };
        Ground {
            outside: host.files.clone(),
            host,
            net: self.machine.net(),
            lock: Rc::new(self.machine.clone()),
            cloud: Rc::new(StandIn { metadata: Rc::new(metadata), aws: Aws::new(services), waiting: None }),
        }
    }

    /// The AWS services as this instance sees them.
    pub(super) fn services(&self) -> Services {
        Services {
            secrets: self.secrets.clone(),
            parameters: self.parameters.clone(),
            ec2: self.ec2.clone(),
            rds: self.rds.clone(),
            objects: self.objects.clone(),
            stacks: self.stacks.clone(),
            groups: self.groups.clone(),
            balancers: self.balancers.clone(),
            registries: Rc::new(FakeRegistries),
        }
    }

    async fn known(&self, plan: &Plan) -> Known {
        let (known, facts) = (Known::default(), self.facts(plan).await);
        known.set_root("values", plan.values.resolve(&facts).unwrap_or_else(|(place, error)| panic!("{place}: {error}")));
        known.set_root("instance", facts);
        known
    }

    async fn facts(&self, plan: &Plan) -> serde_json::Value {
        let shown = if self.shows_tags.get() { tags(plan) } else { BTreeMap::new() };
        facts::instance(&self.identity().await, shown)
    }

    async fn identity(&self) -> Identity {
        let text = |text: &str| text.to_owned();
        Identity {
            instance_id: self.id().await,
            region: text(REGION),
            availability_zone: text(ZONE),
            account_id: text("123456789012"),
            image_id: text("ami-0123456789abcdef0"),
            instance_type: text("m7g.large"),
            architecture: text("arm64"),
            private_ip: text("10.0.0.7"),
        }
    }

    async fn id(&self) -> String {
        identity::dmi(&*self.machine.host().files).await.unwrap()
    }

    /// The machine without anything that differs between two boots: the report, the record with its times, the boot id.
    pub(super) fn lasting(&self) -> Snapshot {
        self.machine.snapshot().without("/run/ingot").without("/var/lib/ingot").without("/proc")
    }
}

/// Every tag that a plan reads.
fn tags(plan: &Plan) -> BTreeMap<String, String> {
    plan.tags().into_iter().map(|key| (key.to_owned(), format!("tag {key}"))).collect()
}

/// An ingot process that is about to run its steps.
pub(super) struct Process {
    boot: Boot,
    pub(super) plan: Plan,
    transcript: Transcript,
}

impl Process {
    pub(super) async fn run(self, stop: impl Future<Output = Halt>) -> Booted {
        self.run_with(None, stop).await
    }

    /// The same, with work that is done before signals are sent.
    pub(super) async fn run_with(self, before_told: Option<LocalBoxFuture<'static, ()>>, stop: impl Future<Output = Halt>) -> Booted {
        let Self { boot, plan, transcript } = self;
        let mut execution = boot.execution(&plan);
        before_told.into_iter().for_each(|work| execution.before_told(work));
        boot.carry_out(&mut execution, stop).await;
        boot.testify(&plan).await;
        boot.beside(&mut execution, pending()).await;
        drop(execution);
        let (report, world) = (boot.recorder.report().clone(), boot.world().clone());
        Booted { report, plan, world, transcript }
    }
}

/// A finished boot.
pub(super) struct Booted {
    pub(super) report: Report,
    pub(super) plan: Plan,
    pub(super) world: World,
    pub(super) transcript: Transcript,
}

impl Booted {
    /// Every step's outcome: `changed files./etc/x`.
    pub(super) fn outcomes(&self) -> Vec<String> {
        self.report.steps.iter().map(|step| format!("{} {}", step.outcome.word(), step.address)).collect()
    }

    pub(super) fn changed(&self) -> Vec<&str> {
        self.report.steps.iter().filter(|step| step.outcome == Outcome::Changed).map(|step| step.address.as_str()).collect()
    }

    /// The error of a step: message, causes and hint.
    pub(super) fn error(&self, address: &str) -> String {
        let step = self.report.steps.iter().find(|step| step.address.as_str() == address).unwrap();
        crate::report::console::told(step.error.as_ref().unwrap_or_else(|| panic!("{address} did not fail: {}", self.transcript.text())))
    }
}
