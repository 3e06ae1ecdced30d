//! A boot that is killed at any step and started again has the same result as one that was not killed.

use crate::address::Address;
use crate::fake::machine::FakeMachine;
use crate::laws::example::{Example, examples};
use crate::laws::instance::Instance;

/// In how many changes of one example a boot is killed, approximately. INGOT_SEED selects others.
const KILLS: u64 = 60;

/// Kills a boot in each of its changes, or in every nth if there are very many; restarts it with `again`, and compares
/// the result.
async fn killed_everywhere(example: &Example, how: &str, again: impl Fn(&FakeMachine)) {
    let whole = Instance::of(example).await;
    let begun = whole.machine.mutations();
    whole.boot_well().await;
    let changes = whole.machine.mutations() - begun;
    let apart = changes / KILLS + 1;
    let seed: u64 = option_env!("INGOT_SEED").and_then(|seed| seed.parse().ok()).unwrap_or(0);
    for count in (seed % apart..=changes).step_by(usize::try_from(apart).unwrap()) {
        let what = format!("{}, killed in change {count} of {changes} and {how}", example.name);
        let instance = Instance::of(example).await;
        instance.machine.die_after(count);
        tokio::select! {
            biased;
            () = instance.machine.died() => {}
            booted = instance.boot() => panic!("{what}: it lives: {:?}", booted.report.outcome),
        }
        again(&instance.machine);
        let booted = instance.boot_well().await;
        assert_eq!(instance.lasting(), whole.lasting(), "{what}");
        let all = instance.machine.snapshot().to_string();
        assert!(!all.contains(".ingot-staged.") && !all.contains(".record.json.new"), "{what}: something staged is left:\n{all}");
        instance.units.assert_run_with_present_files(&what);
        assert_every_command_ran(&instance, &booted.report.not_due, &what);

        instance.machine.restart_process();
        let always = example.steps("commands").filter(|(_, step)| step["once"] == "always").count();
        assert_eq!(instance.boot_well().await.changed().len(), always, "{what}: the boot after that has something to do");
    }
}

/// Except commands that are not due.
fn assert_every_command_ran(instance: &Instance, not_due: &[Address], what: &str) {
    let ran: Vec<String> = instance.machine.ran().iter().map(|ran| ran.line()).collect();
    let is_due = |name: &str| !not_due.contains(&Address::new("commands", name));
    for (name, step) in instance.example.steps("commands").filter(|(name, _)| is_due(name)) {
        let program = step["run"][0].as_str().unwrap();
        assert!(ran.iter().any(|line| line.starts_with(program)), "{what}: commands.{name} never ran");
    }
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_step_and_started_again() {
    for example in examples().await {
        killed_everywhere(&example, "started again", FakeMachine::restart_process).await;
    }
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_step_and_rebooted() {
    for example in examples().await {
        killed_everywhere(&example, "rebooted", FakeMachine::reboot).await;
    }
}

/// Files staged for another document do no harm, and are removed.
#[tokio::test(start_paused = true)]
async fn killed_under_one_document_and_started_under_another() {
    let document = |content: &str| {
        let text = format!(
            "
version: 1
files:
  /etc/a: {{ content: {content} a }}
  /etc/b: {{ content: {content} b, mode: '0600' }}
services:
  x.service: {{ restart_on: [files./etc/a, files./etc/b] }}
"
        );
        Example::of(&text)
    };
    let (old, new) = (document("old"), document("new"));
    let whole = Instance::of(&old).await;
    whole.boot_well().await;
    for count in 0.. {
        let mut instance = Instance::of(&old).await;
        instance.boot_well().await;
        instance.example = new.clone();
        instance.machine.die_after(count);
        tokio::select! {
            biased;
            () = instance.machine.died() => {}
            _ = instance.boot() => break,
        }
        instance.machine.restart_process();
        instance.example = old.clone();
        instance.boot_well().await;
        assert_eq!(instance.lasting(), whole.lasting(), "killed in change {count} of the new document");
        instance.units.assert_run_with_present_files(&format!("killed in change {count} of the new document"));
    }
}
