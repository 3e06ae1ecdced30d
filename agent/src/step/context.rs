//! What a step sees of the world while it runs.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::address::{Address, Reference};
use crate::aws::live::Aws;
use crate::aws::{AwsError, AwsErrorKind};
use crate::backoff::Backoff;
use crate::failure::Explanation;
use crate::host::Host;
use crate::host::state::Record;
use crate::net::Net;
use crate::redaction::Redactor;
use crate::step::{Account, Claims, Definitions, InForce, Known, Leader, Outputs, Phase, Progress, Waiting};
use crate::template::{Template, TemplateError, Told};
use crate::text::{SecretText, Text};

/// The outside world, and what is remembered of this instance.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) host: Host,
    pub(crate) net: Net,
    pub(crate) aws: Aws,
    pub(crate) record: Rc<Record>,
    pub(crate) boot_id: String,
    pub(crate) redactor: Rc<Redactor>,
    pub(crate) known: Rc<Known>,
    pub(crate) claims: Rc<Claims>,
    pub(crate) definitions: Rc<Definitions>,
    pub(crate) phase: Phase,
    pub(crate) account: Rc<dyn Fn() -> Account>,
    pub(crate) waiting: Rc<Waiting>,
    /// The release that a reboot returns to while another one is tried.
    pub(crate) in_force: Option<InForce>,
}

/// The other steps of a plan.
pub(crate) trait Siblings {
    /// Reads the outputs of a step again.
    fn outputs<'a>(&'a self, address: &'a Address, cx: &'a Context<'a>) -> LocalBoxFuture<'a, Result<Outputs, Explanation>>;

    /// The keys of all steps of one kind that listen on ports, with those ports. Includes steps
    /// that are left out of this boot.
    fn listening(&self, kind: &str) -> Vec<(&str, &[u16])>;

    /// The application that leads the `current` of a bundle; the first by name if there are
    /// several. Includes one that is left out of this boot.
    fn leader(&self, bundle: &Address) -> Option<&Leader>;

    /// `claims:` of the document.
    fn claims(&self) -> Option<&Text>;

    /// The services, applications, workers and mounts, each after those that it waits for. Includes
    /// those that are left out of this boot.
    fn serving(&self) -> &[Address];

    /// The places in S3 to which evidence is written, as far as they can be rendered.
    fn evidence(&self, cx: &Context<'_>) -> Vec<String>;

    /// Writes the evidence of a boot that is about to fail, if the document asks for it, until S3 takes it.
    fn testify<'a>(&'a self, cx: &'a Context<'a>) -> LocalBoxFuture<'a, ()>;
}

/// One step's view of the boot.
pub(crate) struct Context<'a> {
    pub(crate) world: &'a World,
    pub(crate) address: &'a Address,
    pub(crate) references: &'a [Reference],
    pub(crate) holds_secret: bool,
    pub(crate) templates: &'a BTreeMap<PathBuf, Template>,
    pub(crate) siblings: &'a dyn Siblings,
    pub(crate) observer: &'a dyn Fn(Progress),
    /// The time limit that the document gives this step.
    pub(crate) patience: Duration,
    /// When its time is over, on the clock of [`Clock::elapsed`](crate::host::Clock::elapsed).
    pub(crate) deadline: Duration,
}

impl Context<'_> {
    pub(crate) fn host(&self) -> &Host {
        &self.world.host
    }

    pub(crate) fn net(&self) -> &Net {
        &self.world.net
    }

    /// This step's key in its section of the document.
    pub(crate) fn key(&self) -> &str {
        self.address.key()
    }

    /// Renders the references in a document string.
    pub(crate) fn render(&self, text: &Text) -> Result<SecretText, TemplateError> {
        if text.is_plain() {
            return Ok(text.raw().into());
        }
        self.render_template(&Template::parse(text.raw())?)
    }

    /// Renders a template file of the plan.
    pub(crate) fn render_file(&self, path: &Path) -> Result<SecretText, TemplateError> {
        let template = self.templates.get(path).expect("every template file is loaded before the plan is made");
        self.render_template(template)
    }

    fn render_template(&self, template: &Template) -> Result<SecretText, TemplateError> {
        self.world.known.note_use(self.address, template.references());
        let rendered = template.render_telling(&self.world.known.scope(template.references()), &|told| match told {
            Told::Made { made, of } => self.world.redactor.learn_made(made, of),
            Told::ForSystemdOnly(path) => self.progress(Progress::Warning(format!(
                "{path} is written in a form that only systemd and shells read back; write {{{{env … \"systemd\"}}}} if only they read the file, or \"dotenv\" to reject such values"
            ))),
        });
        rendered.map_err(|error| match &error {
            TemplateError::Missing { path, position, .. } => match self.world.known.fieldless(template, path) {
                Some((whole, is)) => TemplateError::NoFields { path: path.clone(), whole, is, position: *position },
                None => error,
            },
            _ => error,
        })
    }

    pub(crate) fn progress(&self, progress: Progress) {
        (self.observer)(progress);
    }

    pub(crate) fn waiting(&self, reason: impl Into<String>) {
        self.progress(Progress::Waiting(reason.into()));
    }

    /// As [`waiting`](Context::waiting), for a call to AWS that is about to be made.
    pub(crate) fn asking(&self, reason: impl Into<String>) {
        self.progress(Progress::Asking(reason.into()));
    }

    /// Reports that the wait is over: later failures have other causes.
    pub(crate) fn answered(&self) {
        self.progress(Progress::Answered);
    }

    /// A reference of this step that only has a placeholder. What a rehearsal renders with it may have another shape.
    pub(crate) fn placeholder(&self) -> Option<String> {
        let placeholders = self.world.known.placeholders.borrow();
        self.references.iter().map(ToString::to_string).find(|reference| placeholders.contains(reference))
    }

    /// Makes up an output of this step that a rehearsal does not know.
    pub(crate) fn make_up(&self, field: &str) -> String {
        let reference = format!("{}.{field}", self.address);
        let placeholder = format!("<{reference}>");
        self.world.known.placeholders.borrow_mut().insert(reference);
        placeholder
    }

    /// Whether any output of a step is a placeholder.
    pub(crate) fn is_made_up(&self, address: &Address) -> bool {
        let below = format!("{address}.");
        self.world.known.placeholders.borrow().iter().any(|reference| reference == address.as_str() || reference.starts_with(&below))
    }

    /// Makes a call to EC2, with retries while EC2 throttles it and this step has time.
    ///
    /// Retried in place: a step that began again would repeat every earlier call, and most of a
    /// fleet would never finish.
    pub(crate) async fn unthrottled<T, F>(&self, call: impl Fn() -> F) -> Result<T, AwsError>
    where
        F: Future<Output = Result<T, AwsError>>,
    {
        for tries in 1.. {
            let error = match call().await {
                Err(error) if error.kind == AwsErrorKind::Throttled => error,
                answered => return answered,
            };
            let pause = Backoff::QUOTA_OF_EC2.pause(tries, error.retry_after);
            if pause >= self.time_left() {
                let what = format!("{}, {tries} times", error.what).into();
                return Err(AwsError { what, ..error });
            }
            self.waiting(format!("for the quota of {} ({tries} tries)", error.operation));
            self.host().clock.sleep(pause).await;
        }
        unreachable!("it is tried until it ends")
    }

    /// The time left for this step.
    pub(crate) fn time_left(&self) -> Duration {
        self.deadline.saturating_sub(self.world.host.clock.elapsed())
    }

    /// As [`Known::shown`].
    pub(crate) fn shown(&self, text: &Text) -> String {
        self.world.known.shown(text)
    }

    pub(crate) fn redact(&self, line: &str) -> String {
        self.world.redactor.redact(line)
    }
}
