//! A second boot changes nothing; a reboot restores only what a reboot loses; an image of an instance boots again.

use std::collections::BTreeSet;

use crate::fake::machine::INSTANCE;
use crate::laws::example::{Example, examples};
use crate::laws::instance::Instance;

/// The instance launched from an image of the first one.
const ANOTHER: &str = "i-0fedcba9876543210";

/// Whether a reboot undoes the step, as for processes, content in memory, and what is done once per boot.
fn lost_by_a_reboot(example: &Example, address: &str) -> bool {
    let (kind, key) = address.split_once('.').unwrap();
    match kind {
        "services" | "credentials" | "applications" | "workers" | "drains" => true,
        "commands" => matches!(example.field(kind, key, "once"), Some("boot" | "always")),
        "mounts" => !comes_back(&example.tree, key),
        // The group may wait again, as after a warm pool.
        "signals" => !example.tree[kind][key]["lifecycle_hook"].is_null(),
        "preload" => example.tree["mounts"][key]["preload"]["into_cache"] == true,
        "files" => key.starts_with("/run/") || key.starts_with("/tmp/"),
        _ => false,
    }
}

/// Whether a mount is restored before the steps run: all except network mounts and disks that are not EBS volumes.
fn comes_back(tree: &serde_json::Value, key: &str) -> bool {
    let mount = &tree["mounts"][key];
    let device = mount["device"].as_str().unwrap_or_default();
    let volume = device.strip_prefix("{{volumes.").and_then(|rest| rest.split('.').next());
    let other =
        volume.is_some_and(|volume| ["device", "instance_store"].iter().any(|from| !tree["volumes"][volume]["from"][from].is_null()));
    mount["type"] != "nfs4" && !other
}

fn always(example: &Example) -> BTreeSet<String> {
    let commands = example.steps("commands").filter(|(_, step)| step["once"] == "always");
    commands.map(|(key, _)| format!("commands.{key}")).collect()
}

fn names<'a>(addresses: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    addresses.into_iter().map(str::to_owned).collect()
}

/// Counts of everything that was done, except files.
fn done(instance: &Instance) -> (usize, Vec<(u32, u32)>) {
    let units = instance.example.steps("services").map(|(unit, _)| instance.machine.starts_and_reloads(unit));
    (instance.machine.ran().len(), units.collect())
}

#[tokio::test(start_paused = true)]
async fn a_second_boot_changes_nothing() {
    for example in examples().await {
        let instance = Instance::of(&example).await;
        instance.boot_well().await;
        let (before, done_before) = (instance.machine.snapshot().without("/run/ingot"), done(&instance));
        instance.machine.restart_process();

        let second = instance.boot_well().await;
        let always = always(&example);
        assert_eq!(names(second.changed()), always, "{} is not idempotent", example.name);
        if always.is_empty() {
            assert_eq!(instance.machine.snapshot().without("/run/ingot"), before, "{}", example.name);
        }
        assert_eq!(instance.lasting(), before.without("/var/lib/ingot").without("/proc"), "{}", example.name);
        let probes = example.steps("services").filter(|(_, step)| !step["ready"]["exec"].is_null()).count();
        let expected = (done_before.0 + probes + always.len(), done_before.1);
        assert_eq!(done(&instance), expected, "{}: it ran, started or reloaded something", example.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reboot_brings_back_what_it_loses_and_changes_nothing_else() {
    for example in examples().await {
        let instance = Instance::of(&example).await;
        let first = instance.boot_well().await;
        let before = instance.lasting();
        let all = first.report.steps.iter().map(|step| step.address.as_str());
        let lost = names(all.filter(|address| lost_by_a_reboot(&example, address)));

        instance.machine.reboot();
        let after_reboot = instance.boot_well().await;
        assert_eq!(names(after_reboot.changed()), lost, "{}", example.name);
        assert_eq!(instance.lasting(), before, "{}", example.name);
        instance.units.assert_run_with_present_files(&example.name);

        instance.machine.restart_process();
        let third = instance.boot_well().await;
        assert_eq!(names(third.changed()), always(&example), "{}", example.name);
        assert_eq!(instance.lasting(), before, "{}", example.name);
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_made_from_the_image_of_another_boots_anew() {
    for example in examples().await {
        let new = |id: &'static str| {
            let example = &example;
            async move {
                let instance = Instance::of(example).await;
                instance.machine.add_file("/sys/class/dmi/id/board_asset_tag", &format!("{id}\n"));
                instance
            }
        };
        let fresh = new(ANOTHER).await;
        fresh.boot_well().await;

        let image = new(INSTANCE).await;
        image.boot_well().await;
        image.machine.reboot();
        image.machine.add_file("/sys/class/dmi/id/board_asset_tag", &format!("{ANOTHER}\n"));
        image.ec2.terminate(INSTANCE);
        image.machine.unplug_all();
        let booted = image.boot_well().await;
        let commands = booted.report.steps.iter().map(|step| step.address.as_str()).filter(|address| address.starts_with("commands."));
        let again = booted.changed().into_iter().filter(|address| address.starts_with("commands."));
        assert_eq!(names(again), names(commands), "{}: commands of a new instance", example.name);
        assert_eq!(image.lasting(), fresh.lasting(), "{}", example.name);
        image.units.assert_run_with_present_files(&example.name);
        assert!(!image.machine.snapshot().to_string().contains(&format!("{INSTANCE}/record.json.bad")), "{}", example.name);

        image.machine.restart_process();
        assert_eq!(names(image.boot_well().await.changed()), always(&example), "{}", example.name);
    }
}
