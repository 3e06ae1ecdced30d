//! One volume for each step, whatever EC2 does and whenever it is called; and a refused call changes nothing.

use std::collections::BTreeMap;

use crate::aws::ec2::{Snapshot, Volume};
use crate::fake::aws::FakeEc2;
use crate::fake::machine::INSTANCE;
use crate::host::disks::{Content, Signature, State};
use crate::laws::instance::{Instance, ZONE};
use crate::report::BootOutcome;

pub(super) const GIB: u64 = 1 << 30;

pub(super) const RESTORED: &str = "
version: 1
volumes:
  data: { from: { snapshot: { newest_with_tags: { role: data } } }, reuse: { with_tags: { role: data } }, filesystem: xfs }
mounts:
  /srv/data: { device: '{{volumes.data.device}}' }
";

fn tags() -> BTreeMap<String, String> {
    BTreeMap::from([("role".to_owned(), "data".to_owned())])
}

pub(super) fn holds(kind: &str, size: u64) -> Content {
    let uuid = Some("0a1b2c3d-0000-4000-8000-000000000001".into());
    Content::Holds(vec![Signature { kind: kind.into(), label: None, uuid, size: Some(size), state: State::Clean }])
}

fn snapshot(id: &str, started: &str, state: &str) -> Snapshot {
    Snapshot { id: id.into(), state: state.into(), started: started.into(), size_gib: 8, encrypted: false, tags: tags() }
}

/// An available volume with the expected tags.
pub(super) fn volume(id: &str) -> Volume {
    Volume {
        id: id.into(),
        state: "available".into(),
        zone: ZONE.into(),
        size_gib: 8,
        kind: "gp3".into(),
        snapshot: None,
        encrypted: false,
        multi_attach: false,
        attachments: Vec::new(),
        tags: tags(),
    }
}

pub(super) fn restorable(ec2: FakeEc2) -> FakeEc2 {
    ec2.with_snapshot(snapshot("snap-1", "2026-01-01", "completed"), holds("xfs", 8 * GIB))
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_never_makes_two() {
    for operation in ["CreateVolume", "AttachVolume"] {
        let instance = Instance::with_ec2(RESTORED, restorable);
        instance.ec2.lose_answers(operation, 1);
        instance.boot_well().await;
        assert_eq!(instance.ec2.all_volumes().len(), 1, "{operation}");
        assert_eq!(instance.ec2.all_volumes()[0].attachments.len(), 1, "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_ec2_does_not_show_yet_is_waited_for() {
    let instance = Instance::with_ec2(RESTORED, restorable);
    instance.ec2.unseen_for(3);
    instance.ec2.creating_for(5);
    instance.boot_well().await;
    assert_eq!((instance.ec2.all_volumes().len(), instance.ec2.count("CreateVolume")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_could_not_be_made_is_asked_for_anew_by_the_next_boot() {
    let instance = Instance::with_ec2(RESTORED, restorable);
    instance.ec2.creating_ends_in("error");
    let booted = instance.boot().await;
    assert_eq!(booted.report.outcome, BootOutcome::Failed);
    insta::assert_snapshot!(booted.error("volumes.data").replace(&instance.ec2.all_volumes()[0].id, "VOLUME"), @r"
    EC2 accepted VOLUME but could not create it
      hint: run `ingot boot` again; `aws ec2 describe-volumes --volume-ids VOLUME` shows its state reason
    ");
    instance.ec2.creating_ends_in("available");
    instance.boot_well().await;
    let states: Vec<String> = instance.ec2.all_volumes().into_iter().map(|volume| volume.state).collect();
    assert_eq!(states.iter().filter(|state| *state == "in-use").count(), 1, "{states:?}");
}

#[tokio::test(start_paused = true)]
async fn takes_the_newest_snapshot_that_is_whole() {
    let instance = Instance::with_ec2(RESTORED, |ec2| {
        ec2.with_snapshot(snapshot("snap-old", "2025-12-31", "completed"), holds("ext4", GIB))
            .with_snapshot(snapshot("snap-new", "2026-02-01", "completed"), holds("xfs", 8 * GIB))
            .with_snapshot(snapshot("snap-newer", "2026-03-01", "pending"), holds("ext4", GIB))
    });
    let booted = instance.boot_well().await;
    assert_eq!(instance.ec2.all_volumes()[0].snapshot.as_deref(), Some("snap-new"));
    let made = &instance.ec2.all_volumes()[0].tags;
    assert_eq!(made["ingot:instance"], INSTANCE);
    assert_eq!((made["ingot:address"].as_str(), made["ingot:from"].as_str()), ("volumes.data", "snap-new"));
    assert!(booted.report.steps.iter().any(|step| step.changes.iter().any(|line| line == "restore a volume of 8 GiB from snap-new")));
}

#[tokio::test(start_paused = true)]
async fn who_loses_a_race_takes_the_next_and_then_restores() {
    let instance = || {
        Instance::with_ec2(RESTORED, |ec2| {
            let ec2 = restorable(ec2).with_volume(volume("vol-a"), holds("xfs", 8 * GIB));
            ec2.with_volume(volume("vol-b"), holds("xfs", 8 * GIB))
        })
    };
    let own = |instance: &Instance| -> Vec<String> {
        let volumes = instance.ec2.all_volumes().into_iter();
        volumes.filter(|volume| volume.attachments.iter().any(|one| one.instance == INSTANCE)).map(|volume| volume.id).collect()
    };
    let first = instance();
    first.boot_well().await;
    let favourite = own(&first)[0].clone();
    let second = if favourite == "vol-a" { "vol-b" } else { "vol-a" };
    assert_eq!(first.ec2.count("CreateVolume"), 0);
    let reused = first.ec2.all_volumes().into_iter().find(|volume| volume.id == favourite).unwrap();
    assert_eq!((reused.tags["ingot:address"].as_str(), reused.tags["role"].as_str()), ("volumes.data", "data"));

    let loser = instance();
    loser.ec2.lose_race_for(&favourite, "i-winner");
    loser.boot_well().await;
    assert_eq!(own(&loser), [second]);

    let last = instance();
    last.ec2.lose_race_for(&favourite, "i-winner");
    last.ec2.lose_race_for(second, "i-other");
    last.boot_well().await;
    assert_eq!((last.ec2.count("CreateVolume"), own(&last).len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn two_steps_never_take_the_same() {
    let instance = Instance::with_ec2(
        "
version: 1
volumes:
  a: { from: { snapshot: { newest_with_tags: { role: data } } }, reuse: { with_tags: { role: data } } }
  b: { from: { snapshot: { newest_with_tags: { role: data } } }, reuse: { with_tags: { role: data } } }
  c: { from: { blank: {} }, size_gib: 1 }
",
        |ec2| restorable(ec2).with_volume(volume("vol-a"), holds("xfs", GIB)),
    );
    instance.boot_well().await;
    let volumes = instance.ec2.all_volumes();
    let mut names: Vec<&str> = volumes.iter().flat_map(|volume| &volume.attachments).map(|one| one.device.as_str()).collect();
    names.sort_unstable();
    assert_eq!((volumes.len(), names.as_slice()), (3, ["/dev/sdf", "/dev/sdg", "/dev/sdh"].as_slice()));
}

#[tokio::test(start_paused = true)]
async fn what_stays_attaching_is_attached_by_another_name() {
    let instance = Instance::with_ec2(RESTORED, restorable);
    instance.ec2.stick("/dev/sdf");
    let booted = instance.boot_well().await;
    assert_eq!(instance.ec2.all_volumes()[0].attachments[0].device, "/dev/sdg");
    assert_eq!(instance.ec2.count("DetachVolume"), 1);
    assert!(booted.transcript.text().contains("(EC2 reports it as attaching), "), "{}", booted.transcript.text());
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_never_comes_is_named() {
    let instance = Instance::with_ec2("version: 1\nvolumes: { data: { from: { volume: vol-a }, timeout: 30s } }\n", |ec2| {
        ec2.with_volume(volume("vol-a"), Content::Blank)
    });
    instance.ec2.stick("vol-a");
    let booted = instance.boot().await;
    insta::assert_snapshot!(booted.error("volumes.data"), @r"
    waited 30s for the disk of vol-a (EC2 reports it as attaching)
      hint: run `dmesg` for the kernel's NVMe messages, and `aws ec2 describe-volumes --volume-ids vol-a` for the state in EC2
    ");
}

#[tokio::test(start_paused = true)]
async fn each_reason_why_a_volume_will_not_do_has_its_own_words() {
    let document = "version: 1\nvolumes: { data: { from: { volume: vol-a } } }\n";
    let said = async |change: fn(Volume) -> Volume, taken: Option<&str>| {
        let instance = Instance::with_ec2(document, |ec2| ec2.with_volume(change(volume("vol-a")), Content::Blank));
        if let Some(by) = taken {
            instance.ec2.taken_by("vol-a", by);
        }
        let error = instance.boot().await.error("volumes.data");
        assert_eq!(instance.ec2.count("AttachVolume"), 0);
        error
    };
    let zone = said(|volume| Volume { zone: "eu-central-1b".into(), ..volume }, None).await;
    let in_use = said(|volume| volume, Some("i-other")).await;
    let shared = said(|volume| Volume { multi_attach: true, ..volume }, Some("i-other")).await;
    let broken = said(|volume| Volume { state: "error".into(), encrypted: true, ..volume }, None).await;
    insta::assert_snapshot!([zone, in_use, shared, broken].join("\n"), @r"
    vol-a is in eu-central-1b, but this instance is in eu-central-1a
      hint: launch the instance in eu-central-1b, or restore a snapshot of the volume, which works in every zone
    vol-a is attached to i-other
      hint: detach it from i-other, or name another; with a snapshot, every instance gets its own volume
    vol-a is a Multi-Attach volume, and is also attached to i-other
      hint: an ordinary filesystem breaks when two instances mount it: restore a snapshot for each instance
    EC2 accepted vol-a but could not create it
      hint: allow this instance's role kms:CreateGrant, kms:Decrypt, kms:DescribeKey, kms:GenerateDataKeyWithoutPlaintext and kms:ReEncrypt* on the volume's key and on the snapshot's
    ");
    let twice =
        "version: 1\nvolumes: { a: { from: { volume: vol-a } }, b: { from: { volume: vol-a } }, c: { from: { volume: vol-gone } } }\n";
    let instance = Instance::with_ec2(twice, |ec2| ec2.with_volume(volume("vol-a"), Content::Blank));
    let booted = instance.boot().await;
    insta::assert_snapshot!(booted.error("volumes.b") + "\n" + &booted.error("volumes.c"), @r"
    another step of this document uses vol-a
      hint: give each step its own volume
    vol-gone is not there
      hint: name another volume; if vol-gone held this instance's data, restore its last snapshot
    ");
}

#[tokio::test(start_paused = true)]
async fn what_ec2_refuses_has_a_hint_of_its_own() {
    let rows = [
        ("CreateVolume", "VolumeLimitExceeded"),
        ("CreateVolume", "MaxIOPSLimitExceeded"),
        ("CreateVolume", "UnauthorizedOperation"),
        ("CreateVolume", "InvalidKmsKey.NotFound"),
        ("AttachVolume", "AttachmentLimitExceeded"),
        ("AttachVolume", "InvalidVolume.ZoneMismatch"),
    ];
    let mut said = Vec::new();
    for (operation, code) in rows {
        let instance = Instance::with_ec2(RESTORED, restorable);
        instance.ec2.fail(operation, code, 1);
        let booted = instance.boot().await;
        said.push(booted.error("volumes.data"));
        assert!(instance.ec2.all_volumes().len() <= 1);
        // Once the call is permitted, the next boot continues where this one stopped.
        instance.boot_well().await;
        assert_eq!(instance.ec2.all_volumes().len(), 1, "{operation} {code}");
    }
    let said = said.join("\n").replace(&Instance::with_ec2(RESTORED, restorable).example.name, "");
    let mut hints: Vec<&str> = said.lines().filter(|line| line.contains("hint:")).collect();
    hints.sort_unstable();
    hints.dedup();
    assert_eq!(hints.len(), rows.len(), "{said}");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_stays_as_it_was() {
    for content in [
        holds("ext4", GIB),
        holds("LVM2_member", GIB),
        Content::Holds([holds("xfs", GIB), holds("ext4", GIB)].into_iter().flat_map(signatures).collect()),
        Content::Unknown { at: 0, bytes: "ff".into() },
    ] {
        let instance = Instance::with_ec2(RESTORED, |ec2| ec2.with_snapshot(snapshot("snap-1", "2026", "completed"), content.clone()));
        let booted = instance.boot().await;
        assert_eq!(booted.outcomes(), ["skipped mounts./srv/data", "failed volumes.data"]);
        let line = format!("{} bytes, {content}", 8 * GIB);
        assert!(instance.machine.snapshot().to_string().contains(&line), "{}", instance.machine.snapshot());
    }
}

fn signatures(content: Content) -> Vec<Signature> {
    match content {
        Content::Holds(signatures) => signatures,
        _ => Vec::new(),
    }
}

/// If a volume that held this instance's data is gone, ingot must not start over with an old copy.
#[tokio::test(start_paused = true)]
async fn a_volume_that_was_there_once_is_not_made_again() {
    let instance = Instance::with_ec2(RESTORED, restorable);
    instance.boot_well().await;
    let id = instance.ec2.all_volumes()[0].id.clone();
    instance.machine.reboot();
    instance.machine.unplug_all();
    instance.ec2.set_state(&id, "deleting");
    let booted = instance.boot().await;
    insta::assert_snapshot!(booted.error("volumes.data").replace(&id, "VOLUME"), @r"
    VOLUME is deleting
      hint: name another volume; if VOLUME held this instance's data, restore its last snapshot
    ");
    assert_eq!(instance.ec2.all_volumes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_document_that_names_another_volume_means_that_one() {
    let document = |id: &str| format!("version: 1\nvolumes: {{ data: {{ from: {{ volume: {id} }} }} }}\n");
    let mut instance = Instance::with_ec2(&document("vol-a"), |ec2| {
        ec2.with_volume(volume("vol-a"), Content::Blank).with_volume(volume("vol-b"), Content::Blank)
    });
    instance.boot_well().await;
    instance.machine.restart_process();
    instance.example.text = document("vol-b");
    let booted = instance.boot_well().await;
    assert_eq!(booted.report.steps[0].changes, ["attach vol-b"]);
}

#[tokio::test(start_paused = true)]
async fn a_document_that_changes_after_a_crash_makes_one_volume_all_the_same() {
    let mut instance = Instance::with_ec2(RESTORED, restorable);
    instance.ec2.lose_answers("CreateVolume", 1);
    instance.ec2.deny("DescribeVolumes");
    instance.boot().await;
    let mut again = Instance::with_ec2(&RESTORED.replace("filesystem: xfs", "filesystem: xfs, size_gib: 9"), restorable);
    std::mem::swap(&mut instance.example, &mut again.example);
    instance.machine.restart_process();
    instance.ec2.allow("DescribeVolumes");
    instance.boot_well().await;
    assert_eq!(instance.ec2.all_volumes().len(), 1);
}

/// The state that EC2 reports may be older than its last change.
#[tokio::test(start_paused = true)]
async fn what_is_attached_here_is_no_lost_race() {
    let instance = Instance::with_ec2(RESTORED, |ec2| restorable(ec2).with_volume(volume("vol-a"), holds("xfs", 8 * GIB)));
    instance.ec2.lose_answers("AttachVolume", 2);
    instance.boot_well().await;
    assert_eq!((instance.ec2.all_volumes().len(), instance.ec2.count("CreateVolume")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_new_volume_that_another_instance_takes_is_made_again() {
    let instance = Instance::with_ec2(RESTORED, restorable);
    instance.ec2.fail("AttachVolume", "UnauthorizedOperation", 1);
    assert_eq!(instance.boot().await.report.outcome, BootOutcome::Failed);
    let made = instance.ec2.all_volumes()[0].clone();
    assert!(!made.tags.contains_key("role"), "nobody finds it to be reused before it is attached: {:?}", made.tags);
    instance.ec2.taken_by(&made.id, "i-other");
    instance.boot_well().await;
    let own = instance.ec2.all_volumes().into_iter().find(|volume| volume.id != made.id).unwrap();
    assert_eq!((own.attachments[0].instance.as_str(), own.tags["role"].as_str()), (INSTANCE, "data"));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_the_document_no_longer_names_is_not_asked_for_again() {
    let document = |snapshot: &str| format!("version: 1\nvolumes: {{ data: {{ from: {{ snapshot: {snapshot} }} }} }}\n");
    let mut instance = Instance::with_ec2(&document("snap-1"), |ec2| {
        restorable(ec2).with_snapshot(snapshot("snap-2", "2026-02-01", "completed"), holds("xfs", 8 * GIB))
    });
    instance.ec2.fail("CreateVolume", "VolumeLimitExceeded", 1);
    instance.boot().await;
    instance.example.text = document("snap-2");
    instance.boot_well().await;
    assert_eq!(instance.ec2.all_volumes()[0].snapshot.as_deref(), Some("snap-2"));

    instance.example.text = document("snap-1");
    let booted = instance.boot_well().await;
    assert!(booted.changed().is_empty());
    let warning = booted.report.warnings.join("; ");
    assert!(warning.contains("was created from snap-2, and the document now says: from snap-1. It is kept"), "{warning}");
}

#[tokio::test(start_paused = true)]
async fn an_encrypted_volume_is_asked_for_and_a_plain_one_not_taken() {
    let document = RESTORED.replace("filesystem: xfs", "filesystem: xfs, encrypted: true");
    let instance = Instance::with_ec2(&document, |ec2| restorable(ec2).with_volume(volume("vol-a"), holds("xfs", 8 * GIB)));
    instance.boot_well().await;
    assert_eq!(instance.ec2.count("CreateVolume"), 1);
}

/// A mkfs that never ran, or that failed, must not permit overwriting what is stored there later.
#[tokio::test(start_paused = true)]
async fn a_filesystem_that_could_not_be_made_leaves_no_right_to_make_it_over_anything() {
    let instance = Instance::with_ec2("version: 1\nvolumes: { data: { from: { volume: vol-a }, filesystem: xfs } }\n", |ec2| {
        ec2.with_volume(volume("vol-a"), Content::Blank)
    });
    instance.machine.fail_filesystems(1);
    assert_eq!(instance.boot().await.report.outcome, BootOutcome::Failed);
    instance.machine.unplug_all();
    let raw = Content::Unknown { at: 0, bytes: "01".into() };
    instance.machine.plug(crate::host::disks::Origin::Volume("vol-a".into()), None, 8 * GIB, raw);
    assert_eq!(instance.boot().await.outcomes(), ["failed volumes.data"]);
}
