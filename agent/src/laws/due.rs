//! `when:` on steps of every kind: a step that is not due leaves no trace, and a step that is due runs as if it had no
//! `when:`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::document::KINDS;
use crate::laws::example::{Example, examples};
use crate::laws::instance::Instance;

/// The example with a `when:` on each of its steps, or on each step without one.
fn with(example: &Example, when: &str, all: bool) -> Example {
    let mut tree = example.tree.clone();
    for kind in KINDS {
        for step in tree.get_mut(kind.name).and_then(Value::as_object_mut).into_iter().flat_map(|steps| steps.values_mut()) {
            if !step.is_object() {
                // A credential in its short form, as a plain value.
                *step = json!({ "value": step.take() });
            }
            if all || step["when"].is_null() {
                step["when"] = when.into();
            }
        }
    }
    Example { name: example.name.clone(), templates: example.templates.clone(), ..Example::of(&tree.to_string()) }
}

fn addresses(example: &Example) -> BTreeSet<String> {
    let of_kind = |name: &'static str| example.steps(name).map(move |(key, _)| format!("{name}.{key}"));
    KINDS.iter().flat_map(|kind| of_kind(kind.name)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_step_of_any_kind_that_is_not_due_leaves_no_trace() {
    let mut kinds = BTreeSet::new();
    for example in examples().await {
        let without = with(&example, "{{eq instance.region 'nowhere'}}", true);
        let instance = Instance::of(&without).await;
        let before = instance.lasting();
        let booted = instance.boot_well().await;
        assert_eq!(booted.outcomes(), Vec::<String>::new(), "{}", example.name);
        let not_due: BTreeSet<String> = booted.report.not_due.iter().map(ToString::to_string).collect();
        assert!(not_due.is_superset(&addresses(&example)), "{}: {not_due:?}", example.name);
        assert_eq!(instance.lasting().to_string(), before.to_string(), "{}", example.name);
        assert!(instance.machine.ran().is_empty(), "{}", example.name);
        kinds.extend(addresses(&example).iter().map(|address| address.split_once('.').unwrap().0.to_owned()));
    }
    assert_eq!(kinds, KINDS.iter().map(|kind| kind.name.to_owned()).collect(), "an example of each kind is tried");
}

#[tokio::test(start_paused = true)]
async fn a_step_of_any_kind_that_is_due_runs_as_without_a_when() {
    for example in examples().await {
        let plain = Instance::of(&example).await.boot_well().await.outcomes();
        let due = Instance::of(&with(&example, "{{eq instance.region 'eu-central-1'}}", false)).await.boot_well().await.outcomes();
        assert_eq!(due.iter().collect::<BTreeSet<_>>(), plain.iter().collect::<BTreeSet<_>>(), "{}", example.name);
        assert!(!plain.is_empty(), "{}", example.name);
    }
}
