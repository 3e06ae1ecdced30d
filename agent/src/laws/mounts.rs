//! A mounted filesystem is grown once, may be mounted next to its clone, is restored after a reboot, and is replaced
//! when the document says so.

use crate::fake::machine::INSTANCE;
use crate::host::disks::Content;
use crate::laws::instance::Instance;
use crate::laws::volumes::{GIB, RESTORED, holds, restorable, volume};

#[tokio::test(start_paused = true)]
async fn a_filesystem_grows_to_a_larger_volume_and_only_once() {
    let document = RESTORED.replace("filesystem: xfs", "filesystem: xfs, size_gib: 20");
    let instance = Instance::with_ec2(&document, restorable);
    let booted = instance.boot_well().await;
    let changes = &booted.report.steps.iter().find(|step| step.address.as_str() == "mounts./srv/data").unwrap().changes;
    assert_eq!(changes[1..], ["mount /dev/nvme1n1 at /srv/data (xfs)", "grow xfs at /srv/data to 20 GiB"]);
    instance.machine.restart_process();
    assert!(instance.boot_well().await.changed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn clones_of_one_snapshot_are_mounted_side_by_side() {
    let document = "
version: 1
volumes:
  a: { from: { snapshot: snap-1 }, filesystem: xfs }
  b: { from: { snapshot: snap-1 }, filesystem: xfs }
mounts:
  /srv/a: { device: '{{volumes.a.device}}' }
  /srv/b: { device: '{{volumes.b.device}}', after: [mounts./srv/a] }
";
    Instance::with_ec2(document, restorable).boot_well().await;
}

/// The kernel renames the disks, and neither EC2 nor IMDS answers: the record and the disks themselves are sufficient.
#[tokio::test(start_paused = true)]
async fn mounts_come_back_without_ec2() {
    let document = format!("{RESTORED}  /srv/other: {{ device: '{{{{volumes.other.device}}}}' }}\n")
        .replace("mounts:\n", "  other: { from: { blank: {} }, size_gib: 1, filesystem: ext4 }\nmounts:\n");
    let instance = Instance::with_ec2(&document, restorable);
    instance.boot_well().await;
    let before = instance.lasting();
    instance.machine.reboot();
    for operation in ["DescribeVolumes", "DescribeSnapshots", "CreateVolume", "AttachVolume"] {
        instance.ec2.deny(operation);
    }
    let booted = instance.boot_well().await;
    assert!(booted.changed().is_empty(), "{:?}", booted.changed());
    assert_eq!(instance.lasting(), before);
}

/// The document now has another volume at this path: ingot unmounts first what it had mounted there.
#[tokio::test(start_paused = true)]
async fn a_path_gets_another_volume() {
    let document = |volume: &str| {
        format!(
            "version: 1\nvolumes:\n  a: {{ from: {{ volume: vol-a }}, filesystem: xfs }}\n  b: {{ from: {{ volume: vol-b }}, filesystem: xfs }}\n\
             mounts: {{ /srv/data: {{ device: '{{{{volumes.{volume}.device}}}}' }} }}\n"
        )
    };
    let mut instance = Instance::with_ec2(&document("a"), |ec2| {
        ec2.with_volume(volume("vol-a"), holds("xfs", 8 * GIB)).with_volume(volume("vol-b"), Content::Blank)
    });
    instance.boot_well().await;
    instance.machine.reboot();
    instance.example.text = document("b");
    let booted = instance.boot_well().await;
    let mount = booted.report.steps.iter().find(|step| step.address.as_str() == "mounts./srv/data").unwrap();
    assert_eq!(mount.changes[0], "unmount vol-a, which was mounted at /srv/data before");
    assert!(instance.machine.snapshot().to_string().contains("at /srv/data  vol-b"), "{}", instance.machine.snapshot());
}

/// A mount inside a mount that is not restored must not be restored either, because it would be hidden later.
#[tokio::test(start_paused = true)]
async fn mounts_come_back_after_what_holds_them_or_not_at_all() {
    let document = "
version: 1
volumes:
  outer: { from: { volume: vol-a }, filesystem: xfs }
  inner: { from: { volume: vol-b }, filesystem: xfs }
mounts:
  /srv: { device: '{{volumes.outer.device}}' }
  /srv/inner: { device: '{{volumes.inner.device}}' }
  /opt/shown: { device: /srv/inner, options: [bind] }
";
    let instance = Instance::with_ec2(document, |ec2| {
        ec2.with_volume(volume("vol-a"), holds("xfs", 8 * GIB)).with_volume(volume("vol-b"), Content::Blank)
    });
    instance.boot_well().await;
    let before = instance.lasting();
    instance.machine.reboot();
    assert!(instance.boot_well().await.changed().is_empty(), "all of them came back before the steps");
    assert_eq!(instance.lasting(), before);

    instance.machine.reboot();
    instance.ec2.terminate(INSTANCE);
    let booted = instance.boot_well().await;
    assert_eq!(instance.lasting(), before, "attached and mounted anew: {:?}", booted.report.warnings);
    assert_eq!(booted.report.warnings.len(), 3, "{:?}", booted.report.warnings);
}
