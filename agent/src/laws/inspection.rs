//! An inspection changes nothing; a preview names exactly the changes that are made; afterwards nothing is left to
//! change.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, pending, poll_fn};
use std::path::Path;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::address::Address;
use crate::failure::Objection;
use crate::fake::machine::{FakeMachine, Snapshot};
use crate::host::Unit;
use crate::laws::example::examples;
use crate::laws::instance::{Booted, Instance};
use crate::plan::PlanNode;
use crate::step::erased::StepFuture;
use crate::step::{AnyStep, Companion, Context, Difference, Fallback, Judgment, Look, Misfit, Outputs, Shape, Written};
use crate::text::{SecretText, Text};

/// Far more polls than any inspection needs.
const TURNS: usize = 100_000;

/// The lines of each step's preview, made just before its changes.
type Previews = Rc<RefCell<BTreeMap<Address, Vec<String>>>>;

/// A step that is previewed, alone on the machine, before its real inspection.
#[derive(Debug)]
struct Watched {
    step: Box<dyn AnyStep>,
    machine: FakeMachine,
    previews: Previews,
}

/// Runs a future to completion while nothing else makes progress.
async fn alone<T>(what: &Address, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|context| {
        (0..TURNS).map(|_| future.as_mut().poll(context)).find(Poll::is_ready).unwrap_or_else(|| panic!("{what} waits in inspect"))
    })
    .await
}

impl AnyStep for Watched {
    fn any(&self) -> &dyn Any {
        self.step.any()
    }

    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String {
        self.step.summary(shown)
    }

    fn shape<'a>(&'a self, key: &'a str) -> Shape<'a> {
        self.step.shape(key)
    }

    fn template(&self) -> Option<&Path> {
        self.step.template()
    }

    fn programs(&self) -> Vec<&Text> {
        self.step.programs()
    }

    fn companions(&self, key: &str) -> Vec<Companion> {
        self.step.companions(key)
    }

    fn objections(&self, key: &str, secret: bool) -> Vec<Objection> {
        self.step.objections(key, secret)
    }

    fn content(&self) -> Option<&Text> {
        self.step.content()
    }

    fn quoted_by(&self, key: &str) -> Option<&'static str> {
        self.step.quoted_by(key)
    }

    fn is_parsed(&self, key: &str) -> bool {
        self.step.is_parsed(key)
    }

    fn misfit(&self, key: &str, filled: &SecretText) -> Option<Misfit> {
        self.step.misfit(key, filled)
    }

    fn advice_beside(&self, key: &str, written: &Written<'_>) -> Vec<Objection> {
        self.step.advice_beside(key, written)
    }

    fn judge<'a>(&'a self, found: &'a Unit, look: Look, cx: &'a Context<'a>) -> StepFuture<'a, Judgment> {
        self.step.judge(found, look, cx)
    }

    fn inspect<'a>(&'a self, cx: &'a Context<'a>) -> StepFuture<'a, Box<dyn Difference + 'a>> {
        Box::pin(async move {
            if cx.address.kind() == "bundles" {
                // It may read a parameter together with others. Afterwards the value is known, and the preview need not
                // wait.
                let _ = self.step.inspect(cx).await;
            }
            let before = (self.machine.snapshot(), self.machine.mutations());
            let preview = alone(cx.address, self.step.inspect(cx)).await;
            assert_eq!((self.machine.snapshot(), self.machine.mutations()), before, "inspecting {} changed something", cx.address);
            let lines = preview.map_or_else(|_| Vec::new(), |difference| difference.lines());
            self.previews.borrow_mut().entry(cx.address.clone()).or_default().extend(lines);
            self.step.inspect(cx).await
        })
    }

    fn outputs<'a>(&'a self, cx: &'a Context<'a>) -> StepFuture<'a, Outputs> {
        self.step.outputs(cx)
    }

    fn meanwhile<'a>(&'a self, cx: &'a Context<'a>) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        self.step.meanwhile(cx)
    }

    fn fall_back<'a>(&'a self, when: Fallback, cx: &'a Context<'a>) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        self.step.fall_back(when, cx)
    }
}

/// Boots with every step watched.
async fn boot_watched(instance: &Instance) -> (Booted, Previews) {
    let previews = Previews::default();
    let mut process = instance.process().await;
    let watched = |node: PlanNode| {
        let watched = Watched { step: node.step, machine: instance.machine.clone(), previews: previews.clone() };
        PlanNode { step: Box::new(watched), ..node }
    };
    process.plan.nodes = process.plan.nodes.into_iter().map(watched).collect();
    (process.run(pending()).await, previews)
}

/// What each step would still change after the boot.
async fn left(booted: &Booted) -> Vec<(String, Vec<String>)> {
    let mut left = Vec::new();
    for node in &booted.plan.nodes {
        let cx = Context {
            world: &booted.world,
            address: &node.address,
            references: &node.references,
            holds_secret: node.holds_secret,
            templates: &booted.plan.templates,
            siblings: &booted.plan,
            observer: &|_| {},
            patience: Duration::MAX,
            deadline: Duration::MAX,
        };
        let lines = node.step.inspect(&cx).await.unwrap().lines();
        if !lines.is_empty() {
            left.push((node.address.to_string(), lines));
        }
    }
    left
}

fn lines(snapshot: &Snapshot) -> BTreeSet<String> {
    snapshot.to_string().lines().map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn inspect_changes_nothing_and_names_exactly_what_is_changed() {
    for example in examples().await {
        let instance = Instance::of(&example).await;
        for boot in ["first boot", "second boot", "boot after a reboot"] {
            let (booted, previews) = boot_watched(&instance).await;
            for step in &booted.report.steps {
                let preview = previews.borrow().get(&step.address).cloned();
                assert_eq!(preview.as_ref(), Some(&step.changes), "{}, {boot}: {}", example.name, step.address);
            }
            match boot {
                "second boot" => instance.machine.reboot(),
                _ => instance.machine.restart_process(),
            }
        }
    }
}

/// Whether the path is in a release that a line names, or is the marker file next to one.
fn is_of_release(name: &str, named: &[String]) -> bool {
    let marked = name.replace("/.", "/").replace(".json", "");
    let mut releases =
        named.iter().filter(|line| line.starts_with("bundles.") && (line.contains(": unpack ") || line.contains(": download ")));
    releases
        .any(|line| Path::new(name).ancestors().chain([Path::new(&marked)]).any(|path| line.ends_with(&format!(" to {}", path.display()))))
}

#[tokio::test(start_paused = true)]
async fn nothing_changes_that_no_line_names() {
    for example in examples().await {
        let instance = Instance::of(&example).await;
        let before = lines(&instance.lasting());
        let booted = instance.boot_well().await;
        let named: Vec<String> =
            booted.report.steps.iter().flat_map(|step| step.changes.iter().map(move |line| format!("{}: {line}", step.address))).collect();
        for line in lines(&instance.lasting()).symmetric_difference(&before) {
            let name = line.split("  ").next().unwrap();
            let is_named = named.iter().any(|named| named.contains(name)) || is_of_release(name, &named);
            assert!(is_named, "{}: {line} is in no line of {named:#?}", example.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn afterwards_nothing_is_left_to_change() {
    for example in examples().await {
        let instance = Instance::of(&example).await;
        let booted = instance.boot_well().await;
        let mut left = left(&booted).await;
        // Such a command runs in each boot, whatever its previous result.
        left.retain(|(address, _)| {
            let (kind, key) = address.split_once('.').unwrap();
            kind != "commands" || example.field(kind, key, "once") != Some("always")
        });
        assert_eq!(left, [], "{}", example.name);
    }
}
