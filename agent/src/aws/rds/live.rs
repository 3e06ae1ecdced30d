//! RDS as AWS runs it, by signed Query calls.
//!
//! Each method makes one call, except that lists are read to their last page. Source of names and limits:
//! <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/>.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::codes::ABSENT;
use super::{Database, Kind, MasterPassword, MasterSecret, Member, Name, Rds, Restore, SERVICE, Snapshot, SnapshotQuery};
use crate::aws::client::call::Call;
use crate::aws::client::connection::Connection;
use crate::aws::client::error::AwsError;
use crate::aws::client::query::{Api, Element, Parameters, Query};
use crate::gather::Gather as _;

const RDS: Api = Api { service: SERVICE, variable: "RDS", version: "2014-10-31" };

/// The longest page of RDS.
const PAGE: u32 = 100;

/// More pages than the snapshots of any account fill.
const PAGE_LIMIT: usize = 1_000;

pub(crate) struct LiveRds {
    query: Query,
}

impl LiveRds {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { query: Query::new(connection, RDS) }
    }

    /// Makes one call and returns the result element of its answer.
    async fn call(&self, call: &Call, parameters: Parameters) -> Result<Element, AwsError> {
        let answer = self.query.call(call, parameters).await?;
        Ok(answer.child(&format!("{}Result", call.operation)).cloned().unwrap_or_default())
    }

    async fn done(&self, call: &Call, parameters: Parameters) -> Result<(), AwsError> {
        self.call(call, parameters).await.map(drop)
    }
}

#[async_trait(?Send)]
impl Rds for LiveRds {
    async fn database(&self, name: &Name) -> Result<Option<Database>, AwsError> {
        let call = name.call("DescribeDBInstances", "DescribeDBClusters");
        let parameters = Parameters::default().with(identifier(name.kind), &name.id);
        let answer = match self.call(&call, parameters).await {
            Ok(answer) => answer,
            Err(error) if ABSENT.contains(&error.code.as_str()) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (list, read): (_, fn(&Element) -> Option<Database>) = match name.kind {
            Kind::Instance => ("DBInstances", instance),
            Kind::Cluster => ("DBClusters", cluster),
        };
        answer.items(list).next().map(|found| read(found).ok_or_else(|| incomplete(&call))).transpose()
    }

    async fn snapshots(&self, query: &SnapshotQuery) -> Result<Vec<Snapshot>, AwsError> {
        let (call, id) = (query.call(), query.id.as_ref());
        let (list, name) = match query.kind {
            Kind::Instance => ("DBSnapshots", "DBSnapshotIdentifier"),
            Kind::Cluster => ("DBClusterSnapshots", "DBClusterSnapshotIdentifier"),
        };
        // A snapshot given by ARN may belong to another account; RDS lists those only with IncludeShared.
        let shared = id.is_some_and(|id| id.starts_with("arn:")).then_some(true);
        let parameters = Parameters::default().maybe(name, id).maybe("IncludeShared", shared);
        let parameters = parameters.maybe("MaxRecords", id.is_none().then_some(PAGE));
        let mut found = Vec::new();
        let mut marker: Option<String> = None;
        for _ in 0..PAGE_LIMIT {
            let page = self.call(&call, parameters.clone().maybe("Marker", marker.as_ref())).await?;
            for element in page.items(list) {
                found.push(snapshot(element, name).ok_or_else(|| incomplete(&call))?);
            }
            marker = page.text("Marker").map(str::to_owned);
            if marker.is_none() {
                found.retain(|snapshot| query.takes(&snapshot.tags));
                return Ok(found);
            }
        }
        Err(call.endless())
    }

    async fn restore(&self, restore: &Restore) -> Result<(), AwsError> {
        let Restore { kind, id, snapshot, engine, class, subnet_group, security_groups, parameter_group, scaling, tags } = restore;
        let pause = scaling.as_ref().and_then(|scaling| scaling.seconds_until_pause);
        let parameters = Parameters::default().with(identifier(*kind), id).maybe("DBSubnetGroupName", subnet_group.as_ref());
        let parameters = match kind {
            Kind::Instance => parameters
                .with("DBSnapshotIdentifier", snapshot)
                .maybe("DBInstanceClass", class.as_ref())
                .maybe("DBParameterGroupName", parameter_group.as_ref()),
            // A cluster has no class: its instances have one, and are created separately.
            Kind::Cluster => parameters
                .with("SnapshotIdentifier", snapshot)
                .with("Engine", engine)
                .maybe("DBClusterParameterGroupName", parameter_group.as_ref())
                .maybe("ServerlessV2ScalingConfiguration.MinCapacity", scaling.as_ref().map(|scaling| &scaling.least))
                .maybe("ServerlessV2ScalingConfiguration.MaxCapacity", scaling.as_ref().map(|scaling| &scaling.most))
                .maybe("ServerlessV2ScalingConfiguration.SecondsUntilAutoPause", pause),
        };
        let parameters = parameters.list("VpcSecurityGroupIds.VpcSecurityGroupId", security_groups);
        self.done(&restore.call(), tagged(parameters, tags)).await
    }

    async fn add_member(&self, member: &Member) -> Result<(), AwsError> {
        let Member { id, cluster, class, engine, tags } = member;
        let parameters = Parameters::default()
            .with("DBInstanceIdentifier", id)
            .with("DBClusterIdentifier", cluster)
            .with("DBInstanceClass", class)
            .with("Engine", engine);
        self.done(&Call::new(SERVICE, "CreateDBInstance", id), tagged(parameters, tags)).await
    }

    async fn set_password(&self, name: &Name, password: &MasterPassword) -> Result<(), AwsError> {
        let parameters = Parameters::default().with(identifier(name.kind), &name.id);
        let parameters = match password {
            MasterPassword::Given(password) => parameters.secret("MasterUserPassword", password.clone()),
            MasterPassword::Managed => parameters.with("ManageMasterUserPassword", true),
        };
        let parameters = parameters.with("ApplyImmediately", true);
        self.done(&name.call("ModifyDBInstance", "ModifyDBCluster"), parameters).await
    }

    async fn remove_tag(&self, arn: &str, key: &str) -> Result<(), AwsError> {
        let parameters = Parameters::default().with("ResourceName", arn).list("TagKeys.member", [key]);
        self.done(&Call::new(SERVICE, "RemoveTagsFromResource", arn), parameters).await
    }
}

fn identifier(kind: Kind) -> &'static str {
    match kind {
        Kind::Instance => "DBInstanceIdentifier",
        Kind::Cluster => "DBClusterIdentifier",
    }
}

fn tagged(parameters: Parameters, tags: &BTreeMap<String, String>) -> Parameters {
    tags.iter().zip(1..).fold(parameters, |parameters, ((key, value), number)| {
        parameters.with(format!("Tags.Tag.{number}.Key"), key).with(format!("Tags.Tag.{number}.Value"), value)
    })
}

fn incomplete(call: &Call) -> AwsError {
    call.malformed("the response lacks required fields")
}

fn instance(element: &Element) -> Option<Database> {
    let endpoint = element.child("Endpoint");
    let endpoint = endpoint.and_then(|endpoint| Some((endpoint.text("Address")?.to_owned(), endpoint.parsed("Port")?)));
    Some(Database {
        arn: element.text("DBInstanceArn")?.into(),
        status: element.text("DBInstanceStatus")?.into(),
        endpoint,
        resource_id: element.text("DbiResourceId").unwrap_or_default().into(),
        ..either(element)?
    })
}

fn cluster(element: &Element) -> Option<Database> {
    let port = element.parsed("Port");
    let endpoint = element.text("Endpoint").zip(port).map(|(host, port)| (host.to_owned(), port));
    let members = element.items("DBClusterMembers").filter_map(|member| member.text("DBInstanceIdentifier"));
    Some(Database {
        arn: element.text("DBClusterArn")?.into(),
        status: element.text("Status")?.into(),
        endpoint,
        reader_endpoint: element.text("ReaderEndpoint").map(str::to_owned),
        resource_id: element.text("DbClusterResourceId").unwrap_or_default().into(),
        members: members.map(str::to_owned).collect(),
        ..either(element)?
    })
}

/// The fields that instances and clusters have in common.
fn either(element: &Element) -> Option<Database> {
    Some(Database {
        engine: element.text("Engine")?.into(),
        version: element.text("EngineVersion").unwrap_or_default().into(),
        master_user: element.text("MasterUsername").unwrap_or_default().into(),
        tags: tags(element),
        changes_password: element.child("PendingModifiedValues").is_some_and(|pending| pending.text("MasterUserPassword").is_some()),
        master_secret: element.child("MasterUserSecret").and_then(master_secret),
        ..Database::default()
    })
}

fn master_secret(element: &Element) -> Option<MasterSecret> {
    let status = element.text("SecretStatus").unwrap_or_default().into();
    Some(MasterSecret { arn: element.text("SecretArn")?.into(), status })
}

/// `id` is the name of the identifier's element.
fn snapshot(element: &Element, id: &str) -> Option<Snapshot> {
    Some(Snapshot {
        id: element.text(id)?.into(),
        status: element.text("Status")?.into(),
        created: element.text("SnapshotCreateTime").unwrap_or_default().into(),
        engine: element.text("Engine")?.into(),
        tags: tags(element),
    })
}

fn tags(element: &Element) -> BTreeMap<String, String> {
    let tag = |item: &Element| Some((item.text("Key")?.to_owned(), item.text("Value").unwrap_or_default().to_owned()));
    element.items("TagList").filter_map(tag).gather()
}

#[cfg(test)]
mod tests;
