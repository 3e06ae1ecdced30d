//! What a boot has before its first step, and what can still be done with it when it ends there.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::aws::client::exchanges::Exchange;
use crate::aws::client::http::Http;
use crate::aws::credentials::ImdsCredentials;
use crate::aws::imds::Imds;
use crate::aws::live::Aws;
use crate::aws::{Identity, Metadata};
use crate::cli::boot::Args;
use crate::cli::boot::asked::{facts_of, phase};
use crate::cli::boot::reach::Stop;
use crate::cli::variables::endpoints;
use crate::document::BootDocument;
use crate::document::source::Layers;
use crate::failure::Explanation;
use crate::host::environment::Environment;
use crate::host::files::DiskFiles;
use crate::host::lock::Lock;
use crate::host::state::Record;
use crate::host::{Clock, Host, identity};
use crate::net::Net;
use crate::plan::Plan;
use crate::report::event::Recorder;
use crate::report::{ExchangeReport, milliseconds};
use crate::step::{Known, Phase, World};

/// How often an instance of a warm pool is asked whether it goes into service.
///
/// Source: <https://docs.aws.amazon.com/autoscaling/ec2/userguide/retrieving-target-lifecycle-state-through-imds.html>.
const LOOK_EVERY: Duration = Duration::from_secs(5);

const IN_SERVICE: &str = "InService";

/// The map of a document that holds its signals.
const SIGNALS: &str = "signals";

/// What a boot has before its first step. Kept outside of it, since a boot that is stopped is dropped.
#[derive(Default)]
pub(super) struct Reached {
    /// Held until all is reported: the report belongs to whoever holds the lock.
    pub(super) lock: RefCell<Option<Lock>>,
    pub(super) ways: OnceCell<Ways>,
    /// The layers, if there is a signal in any: it is sent even where nothing else of them can be done.
    pub(super) layers: RefCell<Option<Layers>>,
    /// What is being waited for that IMDS does not know of, and whether it could not even be reached.
    pub(super) waiting: RefCell<Option<(String, bool)>>,
    pub(super) world: OnceCell<World>,
}

/// The ways to what is outside of this machine.
pub(super) struct Ways {
    pub(super) http: Http,
    pub(super) imds: Imds,
    pub(super) credentials: ImdsCredentials,
    /// The instance id, if the machine itself says it.
    pub(super) dmi: Option<String>,
}

impl Reached {
    /// Why the boot was stopped, with what it was waiting for.
    pub(super) fn stopped(&self, why: Explanation) -> Explanation {
        let of_imds = self.ways.get().and_then(|ways| ways.imds.waiting()).map(|reason| (reason, true));
        match of_imds.or_else(|| self.waiting.take()) {
            Some((reason, unreachable)) => why.while_waiting(Some(&reason), unreachable),
            None => why,
        }
    }

    /// Keeps the layers for the case that the boot ends before its first step, if there is a signal in any.
    pub(super) fn keep_signals(&self, layers: &Layers, args: &Args) {
        if layers.nodes.iter().any(|layer| layer.get(SIGNALS).is_some()) && args.only.is_empty() {
            *self.layers.borrow_mut() = Some(layers.clone());
        }
    }

    /// What was asked of IMDS and AWS, by the clock of the report.
    pub(super) fn exchanges(&self, clock: &dyn Clock) -> Vec<ExchangeReport> {
        let made = self.ways.get().map(|ways| ways.http.exchanges().so_far()).unwrap_or_default();
        let at = |exchange: &Exchange| milliseconds(clock.elapsed().saturating_sub(exchange.began.elapsed()));
        made.into_iter()
            .map(|exchange| ExchangeReport {
                at_ms: at(&exchange),
                took_ms: exchange.took.map(milliseconds),
                what: exchange.what,
                status: exchange.status,
            })
            .collect()
    }

    /// The same of a boot whose steps were running: each says by itself what it was waiting for, but not that this in turn
    /// was waiting for credentials.
    pub(super) fn stopped_steps(&self, mut why: Explanation) -> Explanation {
        if let Some(waiting) = self.ways.get().and_then(|ways| ways.imds.waiting()) {
            why.message.push_str(&format!(" (still waiting {waiting})"));
            why.unreachable = true;
        }
        why
    }

    /// What AWS has found to be wrong with this machine's clock.
    pub(super) fn wrong_clock(&self) -> Option<String> {
        self.ways.get()?.http.clock().warning()
    }

    /// Ends once the group wants this instance to serve.
    pub(super) async fn goes_into_service(&self, clock: &dyn Clock) {
        let Some(ways) = self.ways.get() else { return std::future::pending().await };
        loop {
            clock.sleep(LOOK_EVERY).await;
            match ways.imds.target_lifecycle_state().await {
                Ok(Some(state)) if state == IN_SERVICE => return,
                Ok(_) => {}
                Err(error) => log::warn!("cannot tell whether this instance goes into service: {}", Explanation::of(&error)),
            }
        }
    }

    /// The signals of a boot that ended before its first step, and the world to send them to. `None` where there are none,
    /// or nothing can be made of them.
    pub(super) async fn signals(
        &self,
        environment: &Environment,
        disk: &Rc<DiskFiles>,
        host: &Host,
        recorder: &Recorder,
    ) -> Option<(Plan, World)> {
        let layers = self.layers.take()?;
        let ways = self.ways.get()?;
        let mut plan = Plan::compile(BootDocument::signals_of(layers), &BTreeMap::new()).ok()?;
        let made = async {
            let phase = phase(&plan, &ways.imds, host, recorder).await?;
            plan.in_phase(phase);
            let identity = Some(ways.imds.identity().await?);
            let id = ways.id(disk, identity.as_ref()).await;
            let record = Record::load(disk.clone(), host.users.own(), &id).await?;
            let world = ways.world(environment, host, record, recorder.report().boot_id.clone(), phase);
            let facts = facts_of(&plan, &ways.imds, identity.as_ref(), recorder).await?;
            // What a value says may be what is wrong: those that refer to one fail, the others go.
            world.known.set_root("values", plan.values.resolve(&facts).unwrap_or_default());
            world.known.set_root("instance", facts);
            Ok::<World, Stop>(world)
        };
        let world = made.await.ok()?;
        Some((plan, world))
    }
}

impl Ways {
    pub(super) fn aws(&self, environment: &Environment) -> Aws {
        Aws::on_instance(self.http.clone(), self.imds.clone(), self.credentials.clone(), endpoints(environment))
    }

    /// What this machine is remembered by.
    pub(super) async fn id(&self, disk: &DiskFiles, identity: Option<&Identity>) -> String {
        match (&self.dmi, identity) {
            (Some(id), _) => id.clone(),
            (None, Some(identity)) => identity.instance_id.clone(),
            (None, None) => identity::machine_id(disk).await.unwrap_or_else(|| "local".into()),
        }
    }

    pub(super) fn world(&self, environment: &Environment, host: &Host, record: Record, boot_id: String, phase: Phase) -> World {
        World {
            host: host.clone(),
            net: Net::this_network(host.files.clone()),
            aws: self.aws(environment),
            record: Rc::new(record),
            boot_id,
            redactor: Rc::default(),
            known: Rc::new(Known::default()),
            claims: Rc::default(),
            phase,
        }
    }
}
