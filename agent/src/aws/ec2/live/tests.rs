//! What each call sends, and how its answer is read.

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

use super::*;
use crate::aws::client::connection::RegionSource;
use crate::aws::client::error::AwsErrorKind;
use crate::aws::client::http::Http;
use crate::aws::loopback::{Loopback, Reply, Request};
use crate::aws::metadata::Identity;
use crate::fake::aws::FakeMetadata;

fn ec2(server: &Loopback) -> LiveEc2 {
    let identity =
        Identity { instance_id: "i-0".into(), region: "eu-west-1".into(), availability_zone: "eu-west-1a".into(), ..Identity::default() };
    let metadata = Rc::new(FakeMetadata { identity, ..FakeMetadata::default() });
    let connection = Connection {
        http: Http::new(None),
        region: RegionSource::Instance(metadata.clone()),
        credentials: SharedCredentialsProvider::new(Credentials::new("AKIA", "secret", None, None, "test")),
        endpoints: BTreeMap::from([("AWS_ENDPOINT_URL".into(), server.url.clone())]),
    };
    LiveEc2::new(connection, metadata)
}

/// Answers every action with an element of the matching name around `inner`.
fn serve(inner: impl Fn(&Request) -> String + Send + Sync + 'static) -> Loopback {
    Loopback::serve(move |request| {
        let action = fields(request).remove(0).strip_prefix("Action=").unwrap().to_owned();
        let inner = inner(request);
        Reply::new(200, format!("<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">{inner}</{action}Response>"))
    })
}

/// `name=value`, decoded, without the version.
fn fields(request: &Request) -> Vec<String> {
    let fields = form_urlencoded::parse(request.body.as_bytes()).map(|(name, value)| format!("{name}={value}"));
    fields.filter(|field| field != "Version=2016-11-15").collect()
}

fn sent(server: &Loopback) -> Vec<String> {
    fields(&server.requests().pop().unwrap())
}

fn tags(tags: &[(&str, &str)]) -> BTreeMap<String, String> {
    tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

const VOLUME: &str =
    "<volumeId>vol-1</volumeId><size>20</size><snapshotId>snap-1</snapshotId><availabilityZone>eu-west-1a</availabilityZone>
    <status>in-use</status><createTime>2026-01-02T03:04:05.000Z</createTime><attachmentSet><item><volumeId>vol-1</volumeId>
    <instanceId>i-0</instanceId><device>/dev/sdf</device><status>attached</status><attachTime>2026-01-02T03:04:06.000Z</attachTime>
    <deleteOnTermination>true</deleteOnTermination></item></attachmentSet><tagSet><item><key>app</key><value>shop &amp; co</value></item>
    <item><key>empty</key><value/></item></tagSet><volumeType>gp3</volumeType><iops>3000</iops><encrypted>true</encrypted>
    <multiAttachEnabled>false</multiAttachEnabled><throughput>125</throughput>";

fn volume_1() -> Volume {
    let attachment =
        Attachment { instance: "i-0".into(), device: "/dev/sdf".into(), state: "attached".into(), delete_on_termination: true };
    Volume {
        id: "vol-1".into(),
        state: "in-use".into(),
        zone: "eu-west-1a".into(),
        size_gib: 20,
        kind: "gp3".into(),
        snapshot: Some("snap-1".into()),
        encrypted: true,
        multi_attach: false,
        attachments: vec![attachment],
        tags: tags(&[("app", "shop & co"), ("empty", "")]),
    }
}

#[tokio::test]
async fn volumes_are_read_by_id_or_by_filters_to_the_last_page() {
    let server = serve(|request| match fields(request).iter().find_map(|field| field.strip_prefix("NextToken=")) {
        None => "<volumeSet/><nextToken>page 2</nextToken>".into(),
        Some("page 2") => format!("<volumeSet><item>{VOLUME}</item></volumeSet><nextToken>page 3</nextToken>"),
        Some(_) => format!("<volumeSet><item>{}</item></volumeSet><nextToken/>", VOLUME.replace("vol-1", "vol-2")),
    });
    let query = VolumeQuery {
        tags: tags(&[("app", "50%*?\\")]),
        zone: Some("eu-west-1a".into()),
        state: Some("available".into()),
        attached_to: Some("i-0".into()),
        ..VolumeQuery::default()
    };
    let found = ec2(&server).volumes(&query).await.unwrap();
    assert_eq!((found.len(), &found[0], found[1].id.as_str()), (2, &volume_1(), "vol-2"));
    let filters = [
        "Action=DescribeVolumes",
        "MaxResults=1000",
        "Filter.1.Name=tag:app",
        "Filter.1.Value.1=50%\\*\\?\\\\",
        "Filter.2.Name=availability-zone",
        "Filter.2.Value.1=eu-west-1a",
        "Filter.3.Name=status",
        "Filter.3.Value.1=available",
        "Filter.4.Name=attachment.instance-id",
        "Filter.4.Value.1=i-0",
        "NextToken=page 3",
    ];
    assert_eq!(sent(&server), filters);
    assert_eq!(server.requests().len(), 3);

    let server = serve(|_| format!("<volumeSet><item>{VOLUME}</item></volumeSet>"));
    let query = VolumeQuery { ids: vec!["vol-1".into(), "vol-2".into()], ..VolumeQuery::default() };
    ec2(&server).volumes(&query).await.unwrap();
    assert_eq!(sent(&server), ["Action=DescribeVolumes", "VolumeId.1=vol-1", "VolumeId.2=vol-2"], "ids and MaxResults do not mix");
}

#[tokio::test]
async fn snapshots_are_ones_own_unless_named() {
    let server = serve(|_| {
        "<snapshotSet><item><snapshotId>snap-1</snapshotId><status>completed</status><startTime>2026-01-02T03:04:05.000Z</startTime>
         <volumeSize>20</volumeSize><encrypted>false</encrypted><tagSet/></item></snapshotSet>"
            .into()
    });
    let snapshot = Snapshot {
        id: "snap-1".into(),
        state: "completed".into(),
        started: "2026-01-02T03:04:05.000Z".into(),
        size_gib: 20,
        encrypted: false,
        tags: BTreeMap::new(),
    };
    let ec2 = ec2(&server);
    let by_tag = SnapshotQuery { tags: tags(&[("app", "shop")]), ..SnapshotQuery::default() };
    assert_eq!(ec2.snapshots(&by_tag).await.unwrap(), [snapshot]);
    let filters = ["Action=DescribeSnapshots", "Owner.1=self", "MaxResults=1000", "Filter.1.Name=tag:app", "Filter.1.Value.1=shop"];
    assert_eq!(sent(&server), filters);
    ec2.snapshots(&SnapshotQuery { owner: Some("123456789012".into()), ..by_tag }).await.unwrap();
    assert!(sent(&server).contains(&"Owner.1=123456789012".to_owned()));
    ec2.snapshots(&SnapshotQuery { id: Some("snap-1".into()), ..SnapshotQuery::default() }).await.unwrap();
    assert_eq!(sent(&server), ["Action=DescribeSnapshots", "SnapshotId.1=snap-1"]);
}

#[tokio::test]
async fn a_volume_is_made_of_what_is_given() {
    let server = serve(|_| VOLUME.into());
    let ec2 = ec2(&server);
    let least = NewVolume { client_token: "t".into(), zone: "eu-west-1a".into(), size_gib: Some(8), ..NewVolume::default() };
    assert_eq!(ec2.create_volume(&least).await.unwrap(), volume_1());
    assert_eq!(sent(&server), ["Action=CreateVolume", "AvailabilityZone=eu-west-1a", "ClientToken=t", "Size=8"]);

    let most = NewVolume {
        snapshot: Some("snap-1".into()),
        kind: Some("gp3".into()),
        iops: Some(4000),
        throughput_mib_s: Some(250),
        initialization_rate_mib_s: Some(300),
        encrypted: Some(true),
        kms_key: Some("alias/shop".into()),
        tags: tags(&[("app", "shop"), ("ingot:volume", "data")]),
        ..least
    };
    ec2.create_volume(&most).await.unwrap();
    let rest = [
        "SnapshotId=snap-1",
        "Size=8",
        "VolumeType=gp3",
        "Iops=4000",
        "Throughput=250",
        "VolumeInitializationRate=300",
        "Encrypted=true",
        "KmsKeyId=alias/shop",
        "TagSpecification.1.ResourceType=volume",
        "TagSpecification.1.Tag.1.Key=app",
        "TagSpecification.1.Tag.1.Value=shop",
        "TagSpecification.1.Tag.2.Key=ingot:volume",
        "TagSpecification.1.Tag.2.Value=data",
    ];
    assert_eq!(sent(&server)[3..], rest);
}

#[tokio::test]
async fn what_is_done_to_a_volume_names_it() {
    let server = serve(|_| "<return>true</return>".into());
    let ec2 = ec2(&server);
    ec2.attach_volume("vol-1", "i-0", "/dev/sdf").await.unwrap();
    assert_eq!(sent(&server), ["Action=AttachVolume", "VolumeId=vol-1", "InstanceId=i-0", "Device=/dev/sdf"]);
    ec2.detach_volume("vol-1", "i-0").await.unwrap();
    assert_eq!(sent(&server), ["Action=DetachVolume", "VolumeId=vol-1", "InstanceId=i-0"]);
    ec2.set_delete_on_termination("i-0", "/dev/sdf", false).await.unwrap();
    let mapping = ["BlockDeviceMapping.1.DeviceName=/dev/sdf", "BlockDeviceMapping.1.Ebs.DeleteOnTermination=false"];
    assert_eq!(sent(&server)[1..], [&["InstanceId=i-0"], &mapping[..]].concat());
    ec2.create_tags("vol-1", &tags(&[("a", "b")])).await.unwrap();
    assert_eq!(sent(&server), ["Action=CreateTags", "ResourceId.1=vol-1", "Tag.1.Key=a", "Tag.1.Value=b"]);
    let server = serve(|_| "<tagSet><item><resourceId>i-0</resourceId><key>aws:a</key><value>b</value></item></tagSet>".into());
    assert_eq!(self::ec2(&server).tags("i-0").await.unwrap(), tags(&[("aws:a", "b")]));
    assert_eq!(sent(&server), ["Action=DescribeTags", "MaxResults=1000", "Filter.1.Name=resource-id", "Filter.1.Value.1=i-0"]);
    assert_eq!(ec2.here().await.unwrap(), Here { instance: "i-0".into(), zone: "eu-west-1a".into(), private_ip: String::new() });
}

#[tokio::test]
async fn an_address_is_looked_up_and_goes_to_the_interface_that_is_named() {
    let server = serve(|_| {
        "<addressesSet><item><publicIp>203.0.113.7</publicIp><allocationId>eipalloc-1</allocationId><instanceId>i-1</instanceId>\
         <networkInterfaceId>eni-1</networkInterfaceId><privateIpAddress>10.0.0.8</privateIpAddress></item></addressesSet>"
            .into()
    });
    let (instance, interface, private_ip) = (Some("i-1".into()), Some("eni-1".into()), Some("10.0.0.8".into()));
    let expected = ElasticAddress { public_ip: "203.0.113.7".into(), instance, interface, private_ip };
    assert_eq!(ec2(&server).address("eipalloc-1").await.unwrap(), expected);
    assert_eq!(sent(&server), ["Action=DescribeAddresses", "AllocationId.1=eipalloc-1"]);
    let server = serve(|_| "<return>true</return><associationId>eipassoc-1</associationId>".into());
    let ec2 = ec2(&server);
    let primary = ec2.primary_interface().await.unwrap();
    assert_eq!(primary, "eni-0123456789abcdef0");
    ec2.associate_address("eipalloc-1", &primary).await.unwrap();
    let named = format!("NetworkInterfaceId={primary}");
    assert_eq!(sent(&server), ["Action=AssociateAddress", "AllocationId=eipalloc-1", &named, "AllowReassociation=true"]);
}

#[tokio::test]
async fn an_answer_that_lacks_something_is_malformed_and_pages_end() {
    let server = serve(|_| "<volumeSet><item><volumeId>vol-1</volumeId></item></volumeSet>".into());
    let error = ec2(&server).volumes(&VolumeQuery::default()).await.unwrap_err();
    assert_eq!(error.kind, AwsErrorKind::Malformed);

    let server = serve(|_| "<volumeSet/><nextToken>again</nextToken>".into());
    let error = ec2(&server).volumes(&VolumeQuery { ids: vec!["vol-1".into()], ..VolumeQuery::default() }).await.unwrap_err();
    assert_eq!(error.to_string(), "DescribeVolumes vol-1: the pages do not end");

    let body = "<Response><Errors><Error><Code>InvalidVolume.NotFound</Code><Message>The volume 'vol-1' does not exist.</Message></Error></Errors></Response>";
    let server = Loopback::serve(move |_| Reply::new(400, body));
    let error = ec2(&server).detach_volume("vol-1", "i-0").await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (AwsErrorKind::NotFound, "InvalidVolume.NotFound"));
}
