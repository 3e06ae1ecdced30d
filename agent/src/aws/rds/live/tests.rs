//! What each call sends, and how its answer is read.

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

use super::*;
use crate::aws::client::connection::RegionSource;
use crate::aws::client::error::AwsErrorKind;
use crate::aws::client::http::Http;
use crate::aws::loopback::{Loopback, Reply, Request};
use crate::aws::rds::Scaling;
use crate::failure::Failure;

fn rds(server: &Loopback) -> LiveRds {
    LiveRds::new(Connection {
        http: Http::new(None),
        region: RegionSource::Known("eu-west-1".into()),
        credentials: SharedCredentialsProvider::new(Credentials::new("AKIA", "secret", None, None, "test")),
        endpoints: BTreeMap::from([("AWS_ENDPOINT_URL".into(), server.url.clone())]),
    })
}

/// `name=value`, decoded, without the version.
fn fields(request: &Request) -> Vec<String> {
    let fields = form_urlencoded::parse(request.body.as_bytes()).map(|(name, value)| format!("{name}={value}"));
    fields.filter(|field| field != "Version=2014-10-31").collect()
}

/// Answers every action with a result element of the matching name around `inner`.
fn serve(inner: impl Fn(&Request) -> String + Send + Sync + 'static) -> Loopback {
    Loopback::serve(move |request| {
        let action = fields(request).remove(0).strip_prefix("Action=").unwrap().to_owned();
        let (inner, id) = (inner(request), "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>");
        Reply::new(200, format!("<{action}Response xmlns=\"x\"><{action}Result>{inner}</{action}Result>{id}</{action}Response>"))
    })
}

fn sent(server: &Loopback) -> Vec<String> {
    fields(&server.requests().pop().unwrap())
}

fn named(kind: Kind) -> Name {
    Name { kind, id: "shop".into(), made: true }
}

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

const INSTANCE: &str = "<DBInstances><DBInstance><DBInstanceIdentifier>shop</DBInstanceIdentifier>
    <DBInstanceArn>arn:aws:rds:eu-west-1:1:db:shop</DBInstanceArn><DBInstanceStatus>backing-up</DBInstanceStatus>
    <Engine>postgres</Engine><EngineVersion>17.4</EngineVersion><MasterUsername>shop</MasterUsername>
    <Endpoint><Address>shop.x.eu-west-1.rds.amazonaws.com</Address><Port>5432</Port><HostedZoneId>Z</HostedZoneId></Endpoint>
    <DbiResourceId>db-ABC</DbiResourceId><PendingModifiedValues><MasterUserPassword>****</MasterUserPassword></PendingModifiedValues>
    <TagList><Tag><Key>ingot:password</Key><Value>pending</Value></Tag><Tag><Key>empty</Key><Value/></Tag></TagList>
    </DBInstance></DBInstances>";

const CLUSTER: &str = "<DBClusters><DBCluster><DBClusterIdentifier>shop</DBClusterIdentifier>
    <DBClusterArn>arn:aws:rds:eu-west-1:1:cluster:shop</DBClusterArn><Status>creating</Status><Engine>aurora-mysql</Engine>
    <EngineVersion>8.0</EngineVersion><MasterUsername>admin</MasterUsername><Port>3306</Port><DbClusterResourceId>cluster-X</DbClusterResourceId>
    <Endpoint>shop.cluster-x.rds</Endpoint><ReaderEndpoint>shop.cluster-ro-x.rds</ReaderEndpoint>
    <DBClusterMembers><DBClusterMember><DBInstanceIdentifier>shop-1</DBInstanceIdentifier></DBClusterMember></DBClusterMembers>
    <MasterUserSecret><SecretArn>arn:aws:secretsmanager:x</SecretArn><SecretStatus>active</SecretStatus></MasterUserSecret></DBCluster></DBClusters>";

#[tokio::test]
async fn reads_an_instance_and_a_cluster() {
    let server = serve(|request| if request.body.contains("DBClusters") { CLUSTER.into() } else { INSTANCE.into() });
    let instance = rds(&server).database(&named(Kind::Instance)).await.unwrap().unwrap();
    assert_eq!(sent(&server), ["Action=DescribeDBInstances", "DBInstanceIdentifier=shop"]);
    let expected = Database {
        arn: "arn:aws:rds:eu-west-1:1:db:shop".into(),
        status: "backing-up".into(),
        engine: "postgres".into(),
        version: "17.4".into(),
        endpoint: Some(("shop.x.eu-west-1.rds.amazonaws.com".into(), 5432)),
        resource_id: "db-ABC".into(),
        master_user: "shop".into(),
        tags: tags(&[("ingot:password", "pending"), ("empty", "")]),
        changes_password: true,
        ..Database::default()
    };
    assert_eq!(instance, expected);
    let cluster = rds(&server).database(&named(Kind::Cluster)).await.unwrap().unwrap();
    assert_eq!(sent(&server), ["Action=DescribeDBClusters", "DBClusterIdentifier=shop"]);
    assert_eq!(cluster.endpoint, Some(("shop.cluster-x.rds".into(), 3306)));
    assert_eq!((cluster.reader_endpoint.as_deref(), cluster.members), (Some("shop.cluster-ro-x.rds"), vec!["shop-1".into()]));
    let secret = MasterSecret { arn: "arn:aws:secretsmanager:x".into(), status: "active".into() };
    assert!(cluster.master_secret == Some(secret) && !cluster.changes_password);
}

#[tokio::test]
async fn an_instance_that_is_being_made_has_no_endpoint() {
    for endpoint in ["", "<Endpoint/>", "<Endpoint><Port>5432</Port></Endpoint>"] {
        let begins = INSTANCE.find("<Endpoint>").unwrap();
        let ends = INSTANCE.find("</Endpoint>").unwrap() + "</Endpoint>".len();
        let inner = format!("{}{endpoint}{}", &INSTANCE[..begins], &INSTANCE[ends..]);
        let server = serve(move |_| inner.clone());
        assert_eq!(rds(&server).database(&named(Kind::Instance)).await.unwrap().unwrap().endpoint, None, "{endpoint}");
    }
}

#[tokio::test]
async fn one_that_is_not_there_is_no_error() {
    for code in ["DBInstanceNotFound", "DBClusterNotFoundFault"] {
        let body = format!("<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>");
        let server = Loopback::serve(move |_| Reply::new(404, body.clone()));
        assert_eq!(rds(&server).database(&named(Kind::Instance)).await, Ok(None), "{code}");
    }
    let body = "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>";
    let server = Loopback::serve(move |_| Reply::new(400, body));
    let error = rds(&server).database(&named(Kind::Instance)).await.unwrap_err();
    assert!(error.kind == AwsErrorKind::Throttled && error.is_transient());
}

#[tokio::test]
async fn finds_snapshots_by_tags_on_every_page() {
    let server = serve(|request| {
        let snapshot = |id: &str, app: &str| {
            format!(
                "<DBSnapshot><DBSnapshotIdentifier>{id}</DBSnapshotIdentifier><Status>available</Status><Engine>postgres</Engine>\
                 <SnapshotCreateTime>2026-01-01T00:00:00Z</SnapshotCreateTime>\
                 <TagList><Tag><Key>app</Key><Value>{app}</Value></Tag></TagList></DBSnapshot>"
            )
        };
        let (first, marker) = if request.body.contains("Marker=next") { ("c", "") } else { ("a", "<Marker>next</Marker>") };
        format!("{marker}<DBSnapshots>{}{}</DBSnapshots>", snapshot(first, "shop"), snapshot("other", "blog"))
    });
    let query = SnapshotQuery { kind: Kind::Instance, id: None, tags: tags(&[("app", "shop")]) };
    let found = rds(&server).snapshots(&query).await.unwrap();
    assert_eq!(found.iter().map(|snapshot| snapshot.id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(sent(&server), ["Action=DescribeDBSnapshots", "MaxRecords=100", "Marker=next"]);
}

#[tokio::test]
async fn a_snapshot_of_another_account_is_asked_for_as_such() {
    let server = serve(|_| "<DBClusterSnapshots></DBClusterSnapshots>".into());
    let id = "arn:aws:rds:eu-west-1:2:cluster-snapshot:golden";
    let query = SnapshotQuery { kind: Kind::Cluster, id: Some(id.into()), tags: BTreeMap::new() };
    assert_eq!(rds(&server).snapshots(&query).await, Ok(Vec::new()));
    assert_eq!(sent(&server)[1..], [format!("DBClusterSnapshotIdentifier={id}"), "IncludeShared=true".into()]);
}

#[tokio::test]
async fn restores() {
    let server = serve(|_| String::new());
    let rds = rds(&server);
    let restore = |kind| Restore {
        kind,
        id: "shop".into(),
        snapshot: "golden".into(),
        engine: "aurora-mysql".into(),
        class: Some("db.t4g.micro".into()),
        subnet_group: Some("net".into()),
        security_groups: vec!["sg-1".into(), "sg-2".into()],
        parameter_group: Some("params".into()),
        scaling: (kind == Kind::Cluster).then(|| Scaling { least: "0.5".into(), most: "8".into(), seconds_until_pause: Some(600) }),
        tags: tags(&[("a", "b c")]),
    };
    rds.restore(&restore(Kind::Instance)).await.unwrap();
    let ends = [
        "VpcSecurityGroupIds.VpcSecurityGroupId.1=sg-1",
        "VpcSecurityGroupIds.VpcSecurityGroupId.2=sg-2",
        "Tags.Tag.1.Key=a",
        "Tags.Tag.1.Value=b c",
    ];
    let begins = [
        "Action=RestoreDBInstanceFromDBSnapshot",
        "DBInstanceIdentifier=shop",
        "DBSubnetGroupName=net",
        "DBSnapshotIdentifier=golden",
        "DBInstanceClass=db.t4g.micro",
        "DBParameterGroupName=params",
    ];
    assert_eq!(sent(&server), [&begins[..], &ends].concat());
    rds.restore(&restore(Kind::Cluster)).await.unwrap();
    let begins = [
        "Action=RestoreDBClusterFromSnapshot",
        "DBClusterIdentifier=shop",
        "DBSubnetGroupName=net",
        "SnapshotIdentifier=golden",
        "Engine=aurora-mysql",
        "DBClusterParameterGroupName=params",
        "ServerlessV2ScalingConfiguration.MinCapacity=0.5",
        "ServerlessV2ScalingConfiguration.MaxCapacity=8",
        "ServerlessV2ScalingConfiguration.SecondsUntilAutoPause=600",
    ];
    assert_eq!(sent(&server), [&begins[..], &ends].concat());
}

#[tokio::test]
async fn adds_sets_and_removes() {
    let server = serve(|_| String::new());
    let rds = rds(&server);
    let (id, cluster, class, engine) = ("shop-1".into(), "shop".into(), "db.r7g.large".into(), "aurora-mysql".into());
    rds.add_member(&Member { id, cluster, class, engine, tags: BTreeMap::new() }).await.unwrap();
    let expected = [
        "Action=CreateDBInstance",
        "DBInstanceIdentifier=shop-1",
        "DBClusterIdentifier=shop",
        "DBInstanceClass=db.r7g.large",
        "Engine=aurora-mysql",
    ];
    assert_eq!(sent(&server), expected);

    for (password, field) in
        [(MasterPassword::Given("p w".into()), "MasterUserPassword=p w"), (MasterPassword::Managed, "ManageMasterUserPassword=true")]
    {
        rds.set_password(&named(Kind::Cluster), &password).await.unwrap();
        assert_eq!(sent(&server), ["Action=ModifyDBCluster", "DBClusterIdentifier=shop", field, "ApplyImmediately=true"]);
    }
    rds.remove_tag("arn:x", "k").await.unwrap();
    assert_eq!(sent(&server), ["Action=RemoveTagsFromResource", "ResourceName=arn:x", "TagKeys.member.1=k"]);
}
