//! A release counts only when it is complete; its dependents are notified; and what is present is not fetched again.

use std::rc::Rc;

use crate::digest::Sha256;
use crate::fake::aws::{FakeObjects, FakeParameterStore, FakeSecretsManager};
use crate::laws::example::Example;
use crate::laws::instance::Instance;
use crate::report::BootOutcome;

fn document(version: u32) -> String {
    format!(
        "
version: 1
bundles: {{ app: {{ s3: s3://shop/app-{version}.tar, into: /opt/app, keep: 2 }} }}
services: {{ app.service: {{ restart_on: [bundles.app] }} }}
"
    )
}

fn instance(text: &str, digests: bool) -> Instance {
    let mut instance = Instance::with_aws(&Example::of(text), FakeSecretsManager::default(), FakeParameterStore::default());
    let objects = FakeObjects::default();
    (1..=4).for_each(|version| objects.put(&format!("s3://shop/app-{version}.tar"), &format!("content of {version}")));
    if digests {
        objects.keep_digests();
    }
    instance.objects = Rc::new(objects);
    instance.machine.stop_inventing_archives();
    instance
}

fn turn_to(instance: &mut Instance, text: &str) {
    instance.machine.restart_process();
    instance.example = Example::of(text);
}

fn content(instance: &Instance) -> Option<String> {
    instance.machine.file("/opt/app/current/content").map(|(content, _)| content)
}

#[tokio::test(start_paused = true)]
async fn a_service_notices_another_release_and_going_back() {
    let mut instance = instance(&document(1), true);
    for (boot, version) in [1, 2, 2, 1, 3].into_iter().enumerate() {
        turn_to(&mut instance, &document(version));
        instance.boot_well().await;
        assert_eq!(content(&instance).unwrap(), format!("content of {version}"));
        let starts = [1, 2, 2, 3, 4][boot];
        assert_eq!(instance.machine.starts_and_reloads("app.service"), (starts, 0), "boot {boot}");
    }
    // Neither the rollback nor the boot that changed nothing has fetched anything.
    assert_eq!(instance.objects.count(), 3);
    let kept = instance.machine.snapshot().to_string().lines().filter(|line| line.contains("content of")).count();
    assert!(kept <= 2 && instance.machine.file("/opt/app/releases/app-2/content").is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_what_was_asked_for_never_counts() {
    let mut instance = instance(&document(1), true);
    instance.boot_well().await;
    let wrong = document(2).replace("into:", &format!("sha256: {}, into:", Sha256::of(b"another")));
    turn_to(&mut instance, &wrong);
    let booted = instance.boot().await;
    insta::assert_snapshot!(booted.error("bundles.app"), @r"
    cannot unpack s3://shop/app-2.tar: the archive's SHA-256 is ccfb1f970f304ee1e70e2d813e0d0f9344334f31891312c6961e13165521cd63, expected ae448ac86c4e8e4dec645729708ef41873ae79c6dff84eff73360989487f08e5
      hint: correct `sha256` in the document, or publish the archive that it belongs to: another one has replaced it
    ");
    assert_eq!(content(&instance).unwrap(), "content of 1");
    assert!(!instance.machine.snapshot().to_string().contains(".ingot-staged"), "{}", instance.machine.snapshot());
    assert_eq!(instance.machine.starts_and_reloads("app.service"), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_breaks_off_begins_anew_and_what_has_no_room_does_not_begin() {
    let cut = instance(&document(1), false);
    cut.objects.cut_off(3);
    let booted = cut.boot_well().await;
    assert_eq!(cut.objects.count(), 4);
    assert!(booted.report.warnings.iter().any(|warning| warning.contains("the digest of s3://shop/app-1.tar is not given")));

    let full = instance(&document(1), false);
    full.machine.set_free(5);
    let booted = full.boot().await;
    insta::assert_snapshot!(booted.error("bundles.app"), @r"
    s3://shop/app-1.tar is 12 bytes, but the filesystem of /opt/app has room for 5
      hint: free 7 bytes plus the unpacked size on the filesystem of /opt/app, or make it larger
    ");
    assert_eq!((booted.report.outcome, content(&full)), (BootOutcome::Failed, None));
}

/// At every moment, `current` points to a complete release.
#[tokio::test(start_paused = true)]
async fn killed_in_any_change_one_or_the_other_release_is_current() {
    // Another release, and another archive under the same name.
    let named = |version: u32| {
        let sha256 = Sha256::of(format!("content of {version}").as_bytes());
        document(version).replace("into:", &format!("version: v, sha256: {sha256}, into:"))
    };
    for (old, new) in [(document(1), document(2)), (named(1), named(2))] {
        for count in 0.. {
            let mut instance = instance(&old, true);
            instance.boot_well().await;
            turn_to(&mut instance, &new);
            instance.machine.die_after(count);
            let died = tokio::select! {
                biased;
                () = instance.machine.died() => true,
                _ = instance.boot() => false,
            };
            let now = content(&instance).unwrap();
            assert!(["content of 1", "content of 2"].contains(&now.as_str()), "killed in change {count}: {now}");
            instance.machine.restart_process();
            instance.boot_well().await;
            assert_eq!(content(&instance).unwrap(), "content of 2", "killed in change {count}");
            assert!(!instance.machine.snapshot().to_string().contains(".ingot-staged"), "killed in change {count}");
            turn_to(&mut instance, &old);
            instance.boot_well().await;
            assert_eq!(content(&instance).unwrap(), "content of 1", "killed in change {count}");
            if !died {
                break;
            }
        }
    }
}
