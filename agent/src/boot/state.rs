//! The state of one boot, which its stages share.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use crate::aws::Identity;
use crate::aws::client::exchanges::Exchange;
use crate::boot::audience::Audience;
use crate::boot::cloud::Cloud;
use crate::boot::ground::Ground;
use crate::boot::in_hand::InHand;
use crate::boot::request::Request;
use crate::boot::stop::Stop;
use crate::document::source::Layers;
use crate::failure::Explanation;
use crate::host::state::Record;
use crate::host::{Clock, environment, identity};
use crate::report::event::Recorder;
use crate::report::{ExchangeReport, Report, milliseconds};
use crate::step::{Account, Known, Phase, World};

/// The section of a document that holds its signals.
const SIGNALS: &str = "signals";

/// One boot. Results that must survive a stop are kept here: a boot that is stopped drops the stage it is in.
pub(crate) struct Boot {
    pub(super) request: Rc<Request>,
    pub(super) ground: Ground,
    pub(super) audience: Rc<dyn Audience>,
    pub(crate) recorder: Rc<Recorder>,
    /// Held until the report is written: only the holder of the lock may write it.
    pub(super) lock: RefCell<Option<Box<dyn Any>>>,
    pub(super) cloud: OnceCell<Rc<dyn Cloud>>,
    /// The instance id, if the machine itself reports it.
    pub(super) dmi: OnceCell<Option<String>>,
    /// The layers, if any of them has a signal. Signals are sent even if the rest of the document cannot be used.
    pub(super) layers: RefCell<Option<Layers>>,
    /// What the boot waits for, other than the metadata service, and whether that did not answer at all.
    pub(super) waiting: RefCell<Option<(String, bool)>>,
    /// Whether the boot waits for a disk of this machine, and so may never have read its user data.
    pub(super) hangs: Cell<bool>,
    /// Whether the boot is reading included documents. Signals may reach their targets even where
    /// included documents cannot be read.
    pub(super) including: Cell<bool>,
    /// The release that is requested or in force.
    pub(super) release: RefCell<Option<InHand>>,
    world: OnceCell<World>,
}

impl Boot {
    /// Starts a boot and its report. Reads nothing but the kernel's boot id.
    pub(crate) async fn begin(request: Rc<Request>, ground: Ground, audience: Rc<dyn Audience>) -> Self {
        let boot_id = environment::boot_id(&*ground.outside).await.unwrap_or_default();
        let clock = ground.host.clock.clone();
        Self {
            recorder: Rc::new(Recorder::new(Report::begin(clock.now(), boot_id), audience.listeners(), clock)),
            request,
            ground,
            audience,
            lock: RefCell::default(),
            cloud: OnceCell::new(),
            dmi: OnceCell::new(),
            layers: RefCell::default(),
            waiting: RefCell::default(),
            hangs: Cell::default(),
            including: Cell::default(),
            release: RefCell::default(),
            world: OnceCell::new(),
        }
    }

    /// Prepares the connection to the metadata service and to AWS.
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
        &**self.cloud.get().expect("a boot connects before it asks anything")
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.ground.host.clock
    }

    /// Creates the world that the steps see, once. `hides` says why some secrets of the document are missing from it.
    pub(crate) fn enter(&self, record: Record, phase: Phase, hides: Option<&str>) -> &World {
        self.world.get_or_init(|| self.new_world(record, phase, hides))
    }

    pub(crate) fn world(&self) -> &World {
        self.world.get().expect("a boot that has a plan has a world")
    }

    pub(super) fn new_world(&self, record: Record, phase: Phase, hides: Option<&str>) -> World {
        let (recorder, hides) = (self.recorder.clone(), hides.map(str::to_owned));
        let account = move || {
            let account = recorder.account();
            Account { unread: account.unread.or_else(|| hides.clone()), ..account }
        };
        World {
            host: self.ground.host.clone(),
            net: self.ground.net.clone(),
            aws: self.cloud().aws(),
            record: Rc::new(record),
            boot_id: self.recorder.report().boot_id.clone(),
            redactor: Rc::default(),
            known: Rc::new(Known::default()),
            claims: Rc::default(),
            definitions: Rc::default(),
            phase,
            account: Rc::new(account),
            waiting: Rc::default(),
            in_force: self.release.borrow().as_ref().and_then(|in_hand| in_hand.goes_back_to.clone()),
        }
    }

    /// The name of this machine's record: the instance id.
    pub(super) async fn id(&self, identity: Option<&Identity>) -> String {
        match (self.dmi.get().cloned().flatten(), identity) {
            (Some(id), _) => id,
            (None, Some(identity)) => identity.instance_id.clone(),
            (None, None) => identity::machine_id(&*self.ground.host.files).await.unwrap_or_else(|| "local".into()),
        }
    }

    pub(super) async fn record_of(&self, id: &str) -> Result<Record, Stop> {
        let host = &self.ground.host;
        let record = Record::load(host.files.clone(), host.users.own(), id).await?;
        if let Some(why) = record.distrusted() {
            self.note(why);
        }
        Ok(record)
    }

    /// Notes that the boot is about to read `what` from disk: if the disk hangs, this is what the boot waited for.
    pub(super) fn needs_disk(&self, what: &str) {
        self.waiting.replace(Some((format!("for the disk that holds {what}"), false)));
        self.hangs.set(true);
    }

    /// Notes that the disk has answered.
    pub(super) fn has_it(&self) {
        self.waiting.take();
        self.hangs.set(false);
    }

    /// Adds a warning to the report and to the log.
    pub(super) fn note(&self, text: &str) {
        if self.recorder.report().warnings.iter().any(|known| known == text) {
            return;
        }
        log::warn!("{text}");
        self.recorder.amend(|report| report.warnings.push(text.to_owned()));
    }

    /// Keeps the layers, if any of them has a signal, for a boot that ends before its first step.
    pub(super) fn keep_signals(&self, layers: &Layers) {
        if layers.nodes.iter().any(|layer| layer.get(SIGNALS).is_some()) && self.request.is_whole() {
            *self.layers.borrow_mut() = Some(layers.clone());
        }
    }

    /// Adds to `why` what the boot was waiting for when it was stopped before its first step.
    pub(super) fn stopped(&self, why: Explanation) -> Explanation {
        let of_metadata = self.cloud.get().and_then(|cloud| cloud.waiting()).map(|reason| (reason, true));
        match of_metadata.or_else(|| self.waiting.take()) {
            Some((reason, unreachable)) => why.while_waiting(Some(&reason), unreachable),
            None => why,
        }
    }

    /// As [`stopped`](Self::stopped), for a boot whose steps were running. Each step reports what it was waiting for,
    /// but not that the cause was a wait for credentials.
    pub(super) fn stopped_steps(&self, mut why: Explanation) -> Explanation {
        if let Some(waiting) = self.cloud.get().and_then(|cloud| cloud.waiting()) {
            why.message.push_str(&format!(" (still waiting {waiting})"));
            why.unreachable = true;
        }
        why
    }

    /// The requests to the metadata service and to AWS, with times in milliseconds on the report's clock.
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
