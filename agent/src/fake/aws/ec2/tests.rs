use super::*;
use crate::host::disks::Wanted;

const ZONE: &str = "eu-central-1a";

fn ec2() -> (FakeMachine, FakeEc2) {
    let machine = FakeMachine::new_instance();
    (machine.clone(), FakeEc2::new(machine, ZONE))
}

fn tags(tags: &[(&str, &str)]) -> BTreeMap<String, String> {
    tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn snapshot(id: &str) -> Snapshot {
    let (state, started) = ("completed".into(), "2026-01-02T03:04:05.000Z".into());
    Snapshot { id: id.into(), state, started, size_gib: 20, encrypted: false, tags: tags(&[("app", "shop")]) }
}

fn blank(token: &str) -> NewVolume {
    NewVolume { client_token: token.into(), zone: ZONE.into(), size_gib: Some(10), ..NewVolume::default() }
}

fn by_id(id: &str) -> VolumeQuery {
    VolumeQuery { ids: vec![id.into()], ..VolumeQuery::default() }
}

async fn state(ec2: &FakeEc2, id: &str) -> String {
    ec2.volumes(&by_id(id)).await.unwrap().remove(0).state
}

async fn available(ec2: &FakeEc2) -> String {
    let id = ec2.create_volume(&blank("t")).await.unwrap().id;
    assert_eq!(state(ec2, &id).await, "available");
    id
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_made_attached_and_taken_away() {
    let (machine, ec2) = ec2();
    let volume = ec2.create_volume(&blank("t")).await.unwrap();
    assert_eq!((&volume.id[..14], volume.state.as_str()), ("vol-0000000000", "creating"));
    assert_eq!(ec2.attach_volume(&volume.id, INSTANCE, "/dev/sdf").await.unwrap_err().code, "IncorrectState");
    assert_eq!(state(&ec2, &volume.id).await, "available");

    let before = machine.mutations();
    ec2.attach_volume(&volume.id, INSTANCE, "/dev/sdf").await.unwrap();
    assert_eq!(machine.mutations() - before, 1);
    let disk = machine.find(&Wanted::Volume(volume.id.clone())).await.unwrap().unwrap();
    assert_eq!((disk.size, disk.attached_as.as_deref()), (10 << 30, Some("/dev/sdf")));
    let attached = ec2.volumes(&VolumeQuery { attached_to: Some(INSTANCE.into()), ..VolumeQuery::default() }).await.unwrap().remove(0);
    assert_eq!((attached.state.as_str(), attached.attachments[0].state.as_str()), ("in-use", "attached"));

    ec2.set_delete_on_termination(INSTANCE, "/dev/sdf", true).await.unwrap();
    assert!(ec2.all_volumes()[0].attachments[0].delete_on_termination);
    ec2.detach_volume(&volume.id, INSTANCE).await.unwrap();
    assert!(machine.find(&Wanted::Volume(volume.id.clone())).await.unwrap().is_none());
    assert_eq!(state(&ec2, &volume.id).await, "available");
    assert_eq!((ec2.count("AttachVolume"), ec2.count("DescribeVolumes")), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn what_a_snapshot_holds_is_on_the_disk() {
    let (machine, ec2) = ec2();
    let content = Content::Unknown { at: 7, bytes: "beef".into() };
    let ec2 = ec2.with_snapshot(snapshot("snap-1"), content.clone());
    let query = SnapshotQuery { tags: tags(&[("app", "shop")]), ..SnapshotQuery::default() };
    assert_eq!(ec2.snapshots(&query).await.unwrap(), [snapshot("snap-1")]);
    let new = NewVolume { size_gib: None, snapshot: Some("snap-1".into()), ..blank("t") };
    let volume = ec2.create_volume(&new).await.unwrap();
    assert_eq!(volume.size_gib, 20);
    assert_eq!(state(&ec2, &volume.id).await, "available");
    ec2.attach_volume(&volume.id, INSTANCE, "/dev/sdf").await.unwrap();
    let node = machine.find(&Wanted::Volume(volume.id.clone())).await.unwrap().unwrap().node;
    assert_eq!(machine.content(&node).await.unwrap(), content);

    let less = NewVolume { size_gib: Some(19), snapshot: Some("snap-1".into()), ..blank("u") };
    assert_eq!(ec2.create_volume(&less).await.unwrap_err().code, "InvalidParameterValue");
    let unknown = NewVolume { snapshot: Some("snap-2".into()), ..blank("v") };
    assert_eq!(ec2.create_volume(&unknown).await.unwrap_err().code, "InvalidSnapshot.NotFound");
}

#[tokio::test(start_paused = true)]
async fn a_client_token_makes_one_volume() {
    let (machine, ec2) = ec2();
    ec2.lose_answers("CreateVolume", 1);
    assert!(ec2.create_volume(&blank("t")).await.unwrap_err().code.is_empty());
    let changes = machine.mutations();
    let volume = ec2.create_volume(&blank("t")).await.unwrap();
    assert_eq!((ec2.all_volumes().len(), machine.mutations()), (1, changes));
    let other = NewVolume { size_gib: Some(11), ..blank("t") };
    assert_eq!(ec2.create_volume(&other).await.unwrap_err().code, "IdempotentParameterMismatch");
    assert_ne!(ec2.create_volume(&blank("u")).await.unwrap().id, volume.id);
}

#[tokio::test(start_paused = true)]
async fn refuses_what_ec2_refuses() {
    let (machine, ec2) = ec2();
    let id = available(&ec2).await;
    let refused = async |instance: &str, device: &str| ec2.attach_volume(&id, instance, device).await.unwrap_err().code;
    machine.plug(Origin::Other, Some("/dev/xvda"), 1 << 30, Content::Unspecified);
    assert_eq!(refused(INSTANCE, "/dev/xvda").await, "InvalidParameterValue");
    assert_eq!(refused("i-0", "/dev/sdf").await, "InvalidInstanceID.NotFound");
    ec2.fail("AttachVolume", "AttachmentLimitExceeded", 1);
    assert_eq!(refused(INSTANCE, "/dev/sdf").await, "AttachmentLimitExceeded");
    ec2.throttle(1);
    assert_eq!(refused(INSTANCE, "/dev/sdf").await, "RequestLimitExceeded");

    ec2.lose_race_for(&id, "i-0fedcba9876543210");
    assert_eq!(refused(INSTANCE, "/dev/sdf").await, "VolumeInUse");
    assert_eq!(ec2.all_volumes()[0].attachments[0].instance, "i-0fedcba9876543210");

    let elsewhere = ec2.create_volume(&NewVolume { zone: "eu-central-1b".into(), ..blank("u") }).await.unwrap().id;
    assert_eq!(ec2.attach_volume(&elsewhere, INSTANCE, "/dev/sdg").await.unwrap_err().code, "InvalidVolume.ZoneMismatch");
    assert_eq!(ec2.volumes(&by_id("vol-9")).await.unwrap_err().code, "InvalidVolume.NotFound");
    assert_eq!(ec2.set_delete_on_termination(INSTANCE, "/dev/sdz", true).await.unwrap_err().code, "InvalidInstanceAttributeValue");
    ec2.deny("CreateTags");
    assert_eq!(ec2.create_tags(&id, &tags(&[("a", "b")])).await.unwrap_err().kind, AwsErrorKind::Denied);
}

#[tokio::test(start_paused = true)]
async fn takes_its_time_on_request() {
    let (machine, ec2) = ec2();
    ec2.creating_for(2);
    ec2.unseen_for(1);
    let id = ec2.create_volume(&blank("t")).await.unwrap().id;
    assert_eq!(ec2.volumes(&by_id(&id)).await.unwrap_err().code, "InvalidVolume.NotFound");
    assert_eq!(state(&ec2, &id).await, "creating");
    assert_eq!(state(&ec2, &id).await, "available");

    ec2.stick("/dev/sdf");
    ec2.attach_volume(&id, INSTANCE, "/dev/sdf").await.unwrap();
    for _ in 0..9 {
        assert_eq!(ec2.volumes(&by_id(&id)).await.unwrap()[0].attachments[0].state, "attaching");
    }
    assert!(machine.all().await.unwrap().is_empty());
    ec2.detach_volume(&id, INSTANCE).await.unwrap();
    assert_eq!(state(&ec2, &id).await, "available");
    ec2.attach_volume(&id, INSTANCE, "/dev/sdg").await.unwrap();
    assert_eq!(machine.all().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_process_dies_between_two_calls() {
    let (machine, ec2) = ec2();
    machine.die_after(1);
    let new = blank("t");
    tokio::select! {
        () = machine.died() => {}
        _ = ec2.create_volume(&new) => panic!("it lives"),
    }
    assert_eq!(ec2.all_volumes().len(), 1);
    machine.restart_process();
    assert_eq!(ec2.create_volume(&blank("t")).await.unwrap().id, ec2.all_volumes()[0].id);
}

#[tokio::test(start_paused = true)]
async fn a_rehearsal_finds_whatever_is_named_and_nothing_to_reuse() {
    let (_, ec2) = ec2();
    let ec2 = ec2.inventing();
    let shop = tags(&[("app", "shop")]);
    let query = SnapshotQuery { tags: shop.clone(), ..SnapshotQuery::default() };
    let found = ec2.snapshots(&query).await.unwrap();
    assert_eq!((found.len(), found[0].state.as_str(), found[0].size_gib), (1, "completed", 1));
    assert_eq!(ec2.snapshots(&query).await.unwrap(), found, "it is made up once");
    assert_eq!(ec2.snapshots(&SnapshotQuery { id: Some("snap-9".into()), ..SnapshotQuery::default() }).await.unwrap()[0].id, "snap-9");

    assert_eq!(ec2.volumes(&by_id("vol-9")).await.unwrap()[0].state, "available");
    let reuse = VolumeQuery { tags: shop.clone(), state: Some("available".into()), ..VolumeQuery::default() };
    assert!(ec2.volumes(&reuse).await.unwrap().is_empty());
    assert_eq!(ec2.volumes(&VolumeQuery { tags: shop, ..VolumeQuery::default() }).await.unwrap()[0].zone, ZONE);
    let own = VolumeQuery { tags: tags(&[("ingot:volume", "data")]), ..VolumeQuery::default() };
    assert!(ec2.volumes(&own).await.unwrap().is_empty());
}
