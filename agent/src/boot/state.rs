//! One boot, as far as it has come: what its stages share.

use std::any::Any;
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use crate::aws::Identity;
use crate::aws::client::exchanges::Exchange;
use crate::boot::audience::Audience;
use crate::boot::cloud::Cloud;
use crate::boot::ground::Ground;
use crate::boot::request::Request;
use crate::boot::stop::Stop;
use crate::document::source::Layers;
use crate::failure::Explanation;
use crate::host::state::Record;
use crate::host::{Clock, environment, identity};
use crate::report::event::Recorder;
use crate::report::{ExchangeReport, Report, milliseconds};
use crate::step::{Known, Phase, World};

/// The map of a document that holds its signals.
const SIGNALS: &str = "signals";

/// One boot. What a stage has come to is kept here and not in the stage, since a boot that is stopped drops that.
pub(crate) struct Boot {
    pub(super) request: Rc<Request>,
    pub(super) ground: Ground,
    pub(super) audience: Rc<dyn Audience>,
    pub(crate) recorder: Recorder,
    /// Held until all is reported: the report belongs to whoever holds the lock.
    pub(super) lock: RefCell<Option<Box<dyn Any>>>,
    pub(super) cloud: OnceCell<Rc<dyn Cloud>>,
    /// The instance id, if the machine itself says it.
    pub(super) dmi: OnceCell<Option<String>>,
    /// The layers, if there is a signal in any: it is sent even where nothing else of them can be done.
    pub(super) layers: RefCell<Option<Layers>>,
    /// What is being waited for that the metadata service does not know of, and whether it could not even be reached.
    pub(super) waiting: RefCell<Option<(String, bool)>>,
    world: OnceCell<World>,
}

impl Boot {
    /// A boot that has done nothing yet.
    pub(crate) async fn begin(request: Rc<Request>, ground: Ground, audience: Rc<dyn Audience>) -> Self {
        let boot_id = environment::boot_id(&*ground.outside).await.unwrap_or_default();
        let clock = ground.host.clock.clone();
        Self {
            recorder: Recorder::new(Report::begin(clock.now(), boot_id), audience.listeners(), clock),
            request,
            ground,
            audience,
            lock: RefCell::default(),
            cloud: OnceCell::new(),
            dmi: OnceCell::new(),
            layers: RefCell::default(),
            waiting: RefCell::default(),
            world: OnceCell::new(),
        }
    }

    /// Finds the way to the metadata service and to AWS.
    ///
    /// # Errors
    ///
    /// As [`Connect::connect`](crate::boot::cloud::Connect::connect).
    pub(crate) async fn connect(&self) -> Result<(), Explanation> {
        let cloud = self.ground.cloud.connect().await?;
        self.cloud.get_or_init(|| cloud);
        Ok(())
    }

    pub(super) fn cloud(&self) -> &dyn Cloud {
        &**self.cloud.get().expect("a boot looks for the way to AWS first")
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.ground.host.clock
    }

    /// Makes the world that the steps see.
    pub(crate) fn enter(&self, record: Record, phase: Phase) -> &World {
        self.world.get_or_init(|| self.new_world(record, phase))
    }

    pub(crate) fn world(&self) -> &World {
        self.world.get().expect("a boot that has a plan has a world")
    }

    pub(super) fn new_world(&self, record: Record, phase: Phase) -> World {
        World {
            host: self.ground.host.clone(),
            net: self.ground.net.clone(),
            aws: self.cloud().aws(),
            record: Rc::new(record),
            boot_id: self.recorder.report().boot_id.clone(),
            redactor: Rc::default(),
            known: Rc::new(Known::default()),
            claims: Rc::default(),
            phase,
        }
    }

    /// What this machine is remembered by.
    pub(super) async fn id(&self, identity: Option<&Identity>) -> String {
        match (self.dmi.get().cloned().flatten(), identity) {
            (Some(id), _) => id,
            (None, Some(identity)) => identity.instance_id.clone(),
            (None, None) => identity::machine_id(&*self.ground.host.files).await.unwrap_or_else(|| "local".into()),
        }
    }

    /// What is remembered of this instance.
    pub(super) async fn record_of(&self, id: &str) -> Result<Record, Stop> {
        let host = &self.ground.host;
        let record = Record::load(host.files.clone(), host.users.own(), id).await?;
        if let Some(why) = record.distrusted() {
            self.note(why);
        }
        Ok(record)
    }

    /// Notes something that stops nothing, and that an operator should see all the same.
    pub(super) fn note(&self, text: &str) {
        log::warn!("{text}");
        self.recorder.amend(|report| report.warnings.push(text.to_owned()));
    }

    /// Keeps the layers for the case that the boot ends before its first step, if there is a signal in any.
    pub(super) fn keep_signals(&self, layers: &Layers) {
        if layers.nodes.iter().any(|layer| layer.get(SIGNALS).is_some()) && self.request.is_whole() {
            *self.layers.borrow_mut() = Some(layers.clone());
        }
    }

    /// Why the boot was stopped before its first step, with what it was waiting for.
    pub(super) fn stopped(&self, why: Explanation) -> Explanation {
        let of_metadata = self.cloud.get().and_then(|cloud| cloud.waiting()).map(|reason| (reason, true));
        match of_metadata.or_else(|| self.waiting.take()) {
            Some((reason, unreachable)) => why.while_waiting(Some(&reason), unreachable),
            None => why,
        }
    }

    /// The same of a boot whose steps were running: each says by itself what it was waiting for, but not that this in turn
    /// was waiting for credentials.
    pub(super) fn stopped_steps(&self, mut why: Explanation) -> Explanation {
        if let Some(waiting) = self.cloud.get().and_then(|cloud| cloud.waiting()) {
            why.message.push_str(&format!(" (still waiting {waiting})"));
            why.unreachable = true;
        }
        why
    }

    /// What was asked of the metadata service and of AWS, by the clock of the report.
    pub(super) fn exchanges(&self) -> Vec<ExchangeReport> {
        let made = self.cloud.get().map(|cloud| cloud.exchanges()).unwrap_or_default();
        let at = |exchange: &Exchange| milliseconds(self.clock().elapsed().saturating_sub(exchange.began.elapsed()));
        made.into_iter()
            .map(|exchange| ExchangeReport {
                at_ms: at(&exchange),
                took_ms: exchange.took.map(milliseconds),
                what: exchange.what,
                status: exchange.status,
            })
            .collect()
    }
}
