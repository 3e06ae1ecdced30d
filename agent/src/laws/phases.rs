//! Before a warm pool, everything is prepared that can be; services start when the instance goes into service.

use crate::aws::autoscaling::ActionResult;
use crate::document::error::DocumentError;
use crate::fake::aws::{FakeParameterStore, FakeSecretsManager};
use crate::laws::example::{Example, examples};
use crate::laws::instance::Instance;
use crate::plan::Plan;
use crate::step::Phase;

const DOCUMENT: &str = "
version: 1
secrets: { early: { secrets_manager: early }, late: { secrets_manager: late, phase: serve } }
files:
  /etc/early: { content: '{{secrets.early}}' }
  /etc/late: { content: '{{secrets.late}}' }
commands:
  unpack: { run: [/bin/unpack] }
  register: { run: [/bin/register], after: [services.shop.service] }
services:
  shop.service: { restart_on: [files./etc/early] }
  agent.service: { phase: warm }
signals:
  stack: { cloudformation: {} }
  hook: { lifecycle_hook: { name: ready } }
";

fn instance() -> Instance {
    let secrets = FakeSecretsManager::default().with("early", "a").with("late", "b");
    Instance::with_aws(&Example::of(DOCUMENT), secrets, FakeParameterStore::default())
}

#[tokio::test(start_paused = true)]
async fn each_phase_does_its_part_and_the_hook_is_completed_in_both() {
    let instance = instance();
    instance.phase.set(Phase::Warm);
    let warm = instance.boot_well().await;
    insta::assert_snapshot!(warm.outcomes().join("\n"), @r"
    changed commands.unpack
    changed files./etc/early
    unchanged secrets.early
    changed services.agent.service
    changed signals.hook
    ");
    assert_eq!((instance.stacks.signals().len(), instance.secrets.count("GetSecretValue")), (0, 1));
    assert_eq!(instance.groups.over()[0].1, ActionResult::Continue);
    instance.machine.restart_process();
    assert!(instance.boot_well().await.changed().is_empty());

    instance.machine.reboot();
    instance.groups.wait_again();
    instance.phase.set(Phase::Serve);
    let serve = instance.boot_well().await;
    insta::assert_snapshot!(serve.outcomes().join("\n"), @r"
    changed commands.register
    unchanged commands.unpack
    unchanged files./etc/early
    changed files./etc/late
    unchanged secrets.early
    unchanged secrets.late
    changed services.agent.service
    changed services.shop.service
    changed signals.hook
    changed signals.stack
    ");
    assert_eq!((instance.stacks.signals().len(), instance.groups.over().len()), (1, 1));
    assert_eq!(instance.groups.count("CompleteLifecycleAction"), 2);
}

/// An instance that its pool keeps running does not boot again: the same process continues.
#[tokio::test(start_paused = true)]
async fn a_pool_that_keeps_it_running_is_left_without_a_reboot() {
    let instance = instance();
    instance.phase.set(Phase::Warm);
    instance.boot_well().await;
    instance.groups.wait_again();
    instance.phase.set(Phase::Serve);
    assert!(instance.boot_well().await.changed().contains(&"signals.hook"));
    assert_eq!(instance.groups.over().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn both_phases_make_the_machine_that_one_boot_makes() {
    for example in examples().await {
        let whole = Instance::of(&example).await;
        whole.boot_well().await;
        let instance = Instance::of(&example).await;
        instance.phase.set(Phase::Warm);
        instance.boot_well().await;
        instance.phase.set(Phase::Serve);
        instance.boot_well().await;
        assert_eq!(instance.lasting(), whole.lasting(), "{}", example.name);
        instance.units.assert_run_with_present_files(&example.name);
    }
}

fn mistakes(text: &str) -> Vec<String> {
    let error: DocumentError = Plan::compile(Example::of(text).document(), &Default::default()).unwrap_err();
    error.entries().into_iter().map(|entry| entry.message).collect()
}

#[test]
fn what_is_early_cannot_need_what_is_late() {
    let text = "
version: 1
files: { /etc/a: { content: a, phase: serve }, /etc/b: { content: b, phase: warm } }
commands:
  a: { run: [/bin/a], after: [services.x.service], phase: warm }
  b: { run: [/bin/b], after: [commands.c], phase: warm }
  c: { run: [/bin/c], after: [files./etc/a] }
services: { x.service: {}, y.service: { restart_on: [files./etc/a, files./etc/b] } }
";
    insta::assert_snapshot!(mistakes(text).join("\n"), @r"
    files./etc/b has phase warm, but needs files./etc/a, which has phase serve
    commands.a has phase warm, but needs services.x.service, which has phase serve
    commands.b has phase warm, but needs commands.c, which has phase serve
    ");
}
