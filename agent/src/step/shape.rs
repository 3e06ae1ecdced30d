//! What planning has to know of a step, as its document says it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::address::Address;
use crate::step::{Order, Phase, Turn};
use crate::text::Text;

/// The patience of a step that waits for no one but this machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is special about a step. A kind states that, and leaves the rest to [`Default`].
#[derive(Debug)]
pub(crate) struct Shape<'a> {
    /// Every field that may hold references. Each reference becomes an edge of the plan.
    pub(crate) texts: Vec<&'a Text>,
    /// Whole steps it names; files among them are installed together.
    pub(crate) watches: Vec<&'a Address>,
    /// Whether it cannot do without any of these, so that it is a mistake if one is not due.
    pub(crate) needs_watched: bool,
    /// The names of its outputs; `None` where only running it tells. Default: it offers nothing.
    pub(crate) offers: Option<&'static [&'static str]>,
    /// Whether what it offers has fields. Default: only running it tells.
    pub(crate) fields: HasFields,
    /// The paths in what it offers that programs may print although it is a secret.
    pub(crate) public: &'a [String],
    /// The path that others may refer to before it is done, because it follows from its key. Files that are installed
    /// together may so name each other.
    pub(crate) foretold: Option<Cow<'a, Path>>,
    /// Where it stands when its author gave it no `after:`. Default: [`Order::ByReferences`].
    pub(crate) order: Order,
    /// Of what comes after everything: whom it waits for. Default: [`Turn::Any`].
    pub(crate) turn: Turn,
    /// From which phase on it is due when its author says nothing. Default: [`Phase::Warm`].
    pub(crate) phase: Phase,
    /// Whether what it does depends on the phase, so that this has to be known.
    pub(crate) heeds_phase: bool,
    /// Whether one change only shows what the next one is, as with a disk that has to be attached before anybody can say
    /// what lies on it. Such a step is inspected again after each round, until nothing differs.
    pub(crate) unfolds: bool,
    /// The paths on which it works: it comes after the mounts and bundles that hold them.
    pub(crate) paths: Vec<Cow<'a, Path>>,
    /// Where it puts a whole tree, so that paths below lie in it: a mount point, the current release of a bundle.
    pub(crate) mounts_at: Option<Cow<'a, Path>>,
    /// The ports of this machine that it listens on. No other step may.
    pub(crate) ports: Vec<u16>,
    /// What it does that only one step of a document may, as in `listens`.
    pub(crate) only_one: Option<&'static str>,
    /// What one instance of the fleet does for all of them. Default: nothing.
    pub(crate) claims: Option<Claiming>,
    /// The user to whom it gives what it puts on the machine.
    pub(crate) owner: Option<&'a str>,
    /// The step whose files root runs for it, and the user that its own processes run as; `None` is the owner of those files.
    pub(crate) trusts: Option<(&'a Address, Option<&'a str>)>,
    /// How long it may take when its author gave it no `timeout:`. Default: a minute.
    pub(crate) patience: Duration,
    /// What of that it keeps for what it does after a failure. A `timeout:` has to be longer.
    pub(crate) reserve: Duration,
    /// The step whose output it works on, and how: two steps cannot make two things of one.
    pub(crate) makes: Option<(&'a Address, String)>,
    /// Whether there is anything to do [`in the meantime`](crate::step::Step::in the meantime).
    pub(crate) goes_on_meanwhile: bool,
    /// Whether it has something to [`fall_back`](crate::step::Step::fall_back) on.
    pub(crate) falls_back: bool,
    /// Whether it has units of systemd that have to be up, or to have done their work, when the boot ends.
    pub(crate) has_units: bool,
    /// Default: [`AsksAws::Never`].
    pub(crate) asks_aws: AsksAws,
}

impl Default for Shape<'_> {
    fn default() -> Self {
        Self {
            texts: Vec::new(),
            watches: Vec::new(),
            needs_watched: false,
            offers: Some(&[]),
            fields: HasFields::Unknown,
            public: &[],
            foretold: None,
            order: Order::ByReferences,
            turn: Turn::Any,
            phase: Phase::Warm,
            heeds_phase: false,
            unfolds: false,
            paths: Vec::new(),
            mounts_at: None,
            ports: Vec::new(),
            claims: None,
            owner: None,
            trusts: None,
            patience: PATIENCE,
            reserve: Duration::ZERO,
            makes: None,
            goes_on_meanwhile: false,
            falls_back: false,
            has_units: false,
            only_one: None,
            asks_aws: AsksAws::Never,
        }
    }
}

impl Shape<'_> {
    /// What outlives planning.
    pub(crate) fn outline(&self) -> Outline {
        Outline {
            foretold: self.foretold.as_deref().map(Path::to_owned),
            unfolds: self.unfolds,
            goes_on_meanwhile: self.goes_on_meanwhile,
            falls_back: self.falls_back,
            has_units: self.has_units,
            asks_aws: self.asks_aws,
            turn: self.turn,
        }
    }
}

/// What of a [`Shape`] is asked for once the plan is made; each field as there.
#[derive(Debug)]
pub(crate) struct Outline {
    pub(crate) foretold: Option<PathBuf>,
    pub(crate) unfolds: bool,
    pub(crate) goes_on_meanwhile: bool,
    pub(crate) falls_back: bool,
    pub(crate) has_units: bool,
    pub(crate) asks_aws: AsksAws,
    pub(crate) turn: Turn,
}

/// That a step claims something: see [`claims`](crate::net::claims).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claiming {
    /// What the author wrote, if nothing goes without `claims:`; otherwise each instance does it for itself.
    pub(crate) says: Option<&'static str>,
    /// The values of the document that claims are told apart by.
    pub(crate) values: &'static [&'static str],
}

/// Whether what a step offers has fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HasFields {
    Unknown,
    /// It is one text, or a list. With what to do for fields.
    Never(&'static str),
    /// It is a map.
    Always,
}

/// Whether a step calls AWS, its own references apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AsksAws {
    Never,
    /// Only where something is left to do: a volume that is not attached, a release that is not there, a signal that was
    /// not sent.
    UnlessDone,
    /// In every boot.
    Always,
}

/// The shapes of all steps of a document. Made once: planning looks them up for every reference.
#[derive(Debug)]
pub(crate) struct Shapes<'a> {
    /// By address.
    shapes: Vec<(&'a Address, Shape<'a>)>,
}

impl<'a> Shapes<'a> {
    /// Those of steps that come in the order of their addresses.
    pub(crate) fn in_order(steps: impl Iterator<Item = (&'a Address, Shape<'a>)>) -> Self {
        let shapes: Vec<_> = steps.collect();
        debug_assert!(shapes.is_sorted_by_key(|(address, _)| *address));
        Self { shapes }
    }

    pub(crate) fn get(&self, address: &Address) -> Option<&Shape<'a>> {
        self.shapes.binary_search_by_key(&address, |(address, _)| address).ok().map(|at| &self.shapes[at].1)
    }

    /// In the order of the addresses.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Address, &Shape<'a>)> {
        self.shapes.iter().map(|(address, shape)| (*address, shape))
    }

    pub(crate) fn len(&self) -> usize {
        self.shapes.len()
    }

    /// In the order of the addresses.
    pub(crate) fn values(&self) -> impl ExactSizeIterator<Item = &Shape<'a>> {
        self.shapes.iter().map(|(_, shape)| shape)
    }
}
