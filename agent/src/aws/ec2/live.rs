//! EC2 as AWS runs it, by signed Query calls.
//!
//! Each method makes one call, except that lists are read to their last page. Source of names and limits:
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/>.

use std::collections::BTreeMap;
use std::rc::Rc;

use async_trait::async_trait;

use super::{Attachment, Ec2, ElasticAddress, Here, NewVolume, SERVICE, Snapshot, SnapshotQuery, Volume, VolumeQuery};
use crate::aws::client::call::Call;
use crate::aws::client::connection::Connection;
use crate::aws::client::credentials_failure::CredentialsFailure;
use crate::aws::client::error::AwsError;
use crate::aws::client::http::Http;
use crate::aws::client::query::{Api, Element, Parameters, Query};
use crate::aws::metadata::{ImdsError, Metadata};
use crate::gather::Gather as _;

const EC2: Api = Api { service: SERVICE, variable: "EC2", version: "2016-11-15" };

/// The longest page of EC2. A query by ids does not accept a page length.
const PAGE: u32 = 1_000;

/// More pages than the results of any document's query fill in any account.
const PAGE_LIMIT: usize = 1_000;

pub(crate) struct LiveEc2 {
    http: Http,
    query: Query,
    metadata: Rc<dyn Metadata>,
}

impl LiveEc2 {
    pub(crate) fn new(connection: Connection, metadata: Rc<dyn Metadata>) -> Self {
        Self { http: connection.http.clone(), query: Query::new(connection, EC2), metadata }
    }

    /// Every item of a list, from every page.
    async fn list<T>(
        &self,
        call: &Call,
        parameters: &Parameters,
        set: &str,
        item: impl Fn(&Element) -> Option<T>,
    ) -> Result<Vec<T>, AwsError> {
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGE_LIMIT {
            let page = self.query.call(call, parameters.clone().maybe("NextToken", token.as_ref())).await?;
            for element in page.items(set) {
                found.push(item(element).ok_or_else(|| incomplete(call))?);
            }
            // An empty page is not necessarily the last.
            token = page.text("nextToken").map(str::to_owned);
            if token.is_none() {
                return Ok(found);
            }
        }
        Err(call.endless())
    }

    async fn done(&self, call: &Call, parameters: Parameters) -> Result<(), AwsError> {
        self.query.call(call, parameters).await.map(drop)
    }
}

#[async_trait(?Send)]
impl Ec2 for LiveEc2 {
    async fn here(&self) -> Result<Here, AwsError> {
        let call = Call::new(SERVICE, "identity", "document");
        let identity = self.metadata.identity().await.map_err(|error| unknown(&call, error))?;
        if identity.availability_zone.is_empty() {
            return Err(call.malformed("it does not contain this instance's zone"));
        }
        Ok(Here { instance: identity.instance_id, zone: identity.availability_zone, private_ip: identity.private_ip })
    }

    async fn snapshots(&self, query: &SnapshotQuery) -> Result<Vec<Snapshot>, AwsError> {
        let owner = query.owner.as_deref().or(if query.id.is_none() { Some("self") } else { None });
        let length = query.id.is_none().then_some(PAGE);
        let parameters = Parameters::default().list("SnapshotId", &query.id).list("Owner", owner).maybe("MaxResults", length);
        self.list(&query.call(), &filtered(parameters, tag_filters(&query.tags)), "snapshotSet", snapshot).await
    }

    async fn volumes(&self, query: &VolumeQuery) -> Result<Vec<Volume>, AwsError> {
        let VolumeQuery { ids, tags, zone, state, attached_to } = query;
        let length = ids.is_empty().then_some(PAGE);
        let parameters = Parameters::default().list("VolumeId", ids).maybe("MaxResults", length);
        let plain = [("availability-zone", zone), ("status", state), ("attachment.instance-id", attached_to)];
        let plain = plain.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.as_deref()?)));
        self.list(&query.call(), &filtered(parameters, tag_filters(tags).chain(plain)), "volumeSet", volume).await
    }

    async fn create_volume(&self, new: &NewVolume) -> Result<Volume, AwsError> {
        let call = new.call();
        let mut parameters = Parameters::default()
            .with("AvailabilityZone", &new.zone)
            .with("ClientToken", &new.client_token)
            .maybe("SnapshotId", new.snapshot.as_ref())
            .maybe("Size", new.size_gib)
            .maybe("VolumeType", new.kind.as_ref())
            .maybe("Iops", new.iops)
            .maybe("Throughput", new.throughput_mib_s)
            .maybe("VolumeInitializationRate", new.initialization_rate_mib_s)
            .maybe("Encrypted", new.encrypted)
            .maybe("KmsKeyId", new.kms_key.as_ref());
        if !new.tags.is_empty() {
            parameters = tagged(parameters.with("TagSpecification.1.ResourceType", "volume"), "TagSpecification.1.Tag", &new.tags);
        }
        let answer = self.query.call(&call, parameters).await?;
        volume(&answer).ok_or_else(|| incomplete(&call))
    }

    async fn attach_volume(&self, volume: &str, instance: &str, device: &str) -> Result<(), AwsError> {
        let parameters = Parameters::default().with("VolumeId", volume).with("InstanceId", instance).with("Device", device);
        self.done(&Call::new(SERVICE, "AttachVolume", volume), parameters).await
    }

    async fn detach_volume(&self, volume: &str, instance: &str) -> Result<(), AwsError> {
        // Never with force, which can lose data.
        let parameters = Parameters::default().with("VolumeId", volume).with("InstanceId", instance);
        self.done(&Call::new(SERVICE, "DetachVolume", volume), parameters).await
    }

    async fn set_delete_on_termination(&self, instance: &str, device: &str, delete: bool) -> Result<(), AwsError> {
        let parameters = Parameters::default()
            .with("InstanceId", instance)
            .with("BlockDeviceMapping.1.DeviceName", device)
            .with("BlockDeviceMapping.1.Ebs.DeleteOnTermination", delete);
        self.done(&Call::new(SERVICE, "ModifyInstanceAttribute", instance), parameters).await
    }

    async fn create_tags(&self, resource: &str, tags: &BTreeMap<String, String>) -> Result<(), AwsError> {
        let parameters = tagged(Parameters::default().with("ResourceId.1", resource), "Tag", tags);
        self.done(&Call::new(SERVICE, "CreateTags", resource), parameters).await
    }

    async fn tags(&self, resource: &str) -> Result<BTreeMap<String, String>, AwsError> {
        let call = Call::new(SERVICE, "DescribeTags", resource);
        let filter = [("resource-id".to_owned(), resource)];
        let parameters = filtered(Parameters::default().with("MaxResults", PAGE), filter.into_iter());
        Ok(self.list(&call, &parameters, "tagSet", tag).await?.into_iter().gather())
    }

    async fn address(&self, allocation: &str) -> Result<ElasticAddress, AwsError> {
        let call = Call::new(SERVICE, "DescribeAddresses", allocation);
        let answer = self.query.call(&call, Parameters::default().list("AllocationId", [allocation])).await?;
        answer.items("addressesSet").next().and_then(address).ok_or_else(|| incomplete(&call))
    }

    async fn primary_interface(&self) -> Result<String, AwsError> {
        let call = Call::new(SERVICE, "primary", "network interface");
        self.metadata.primary_interface().await.map_err(|error| unknown(&call, error))
    }

    async fn associate_address(&self, allocation: &str, interface: &str) -> Result<(), AwsError> {
        let call = Call::new(SERVICE, "AssociateAddress", allocation);
        let parameters = Parameters::default().with("AllocationId", allocation).with("NetworkInterfaceId", interface);
        let associated = self.done(&call, parameters.with("AllowReassociation", true)).await;
        // Connections opened from the previous address receive no more packets.
        self.http.forget_connections();
        associated
    }
}

fn unknown(call: &Call, error: ImdsError) -> AwsError {
    let failure = CredentialsFailure::Imds(error);
    call.error(failure.kind(), failure.to_string())
}

fn address(element: &Element) -> Option<ElasticAddress> {
    let text = |name| element.text(name).map(str::to_owned);
    Some(ElasticAddress {
        public_ip: text("publicIp")?,
        instance: text("instanceId"),
        interface: text("networkInterfaceId"),
        private_ip: text("privateIpAddress"),
    })
}

fn tagged(parameters: Parameters, name: &str, tags: &BTreeMap<String, String>) -> Parameters {
    tags.iter().zip(1..).fold(parameters, |parameters, ((key, value), number)| {
        parameters.with(format!("{name}.{number}.Key"), key).with(format!("{name}.{number}.Value"), value)
    })
}

fn tag_filters(tags: &BTreeMap<String, String>) -> impl Iterator<Item = (String, &str)> {
    tags.iter().map(|(key, value)| (format!("tag:{key}"), value.as_str()))
}

fn filtered<'a>(parameters: Parameters, filters: impl Iterator<Item = (String, &'a str)>) -> Parameters {
    filters.zip(1..).fold(parameters, |parameters, ((name, value), number)| {
        parameters.with(format!("Filter.{number}.Name"), name).with(format!("Filter.{number}.Value.1"), literal(value))
    })
}

/// Escapes a filter value so that it is taken literally, not as a pattern.
fn literal(value: &str) -> String {
    value.chars().flat_map(|character| matches!(character, '*' | '?' | '\\').then_some('\\').into_iter().chain([character])).collect()
}

fn incomplete(call: &Call) -> AwsError {
    call.malformed("the response lacks required fields")
}

fn snapshot(element: &Element) -> Option<Snapshot> {
    Some(Snapshot {
        id: element.text("snapshotId")?.into(),
        state: element.text("status")?.into(),
        started: element.text("startTime")?.into(),
        size_gib: element.parsed("volumeSize")?,
        encrypted: element.parsed("encrypted").unwrap_or(false),
        tags: tags(element),
    })
}

fn volume(element: &Element) -> Option<Volume> {
    Some(Volume {
        id: element.text("volumeId")?.into(),
        state: element.text("status")?.into(),
        zone: element.text("availabilityZone")?.into(),
        size_gib: element.parsed("size")?,
        kind: element.text("volumeType").unwrap_or_default().into(),
        snapshot: element.text("snapshotId").map(str::to_owned),
        encrypted: element.parsed("encrypted").unwrap_or(false),
        multi_attach: element.parsed("multiAttachEnabled").unwrap_or(false),
        attachments: element.items("attachmentSet").map(attachment).collect::<Option<_>>()?,
        tags: tags(element),
    })
}

/// For a volume that another service (Fargate) has attached, EC2 names neither instance nor device.
fn attachment(element: &Element) -> Option<Attachment> {
    Some(Attachment {
        instance: element.text("instanceId").or(element.text("associatedResource")).unwrap_or_default().into(),
        device: element.text("device").unwrap_or_default().into(),
        state: element.text("status")?.into(),
        delete_on_termination: element.parsed("deleteOnTermination").unwrap_or(false),
    })
}

fn tags(element: &Element) -> BTreeMap<String, String> {
    element.items("tagSet").filter_map(tag).gather()
}

fn tag(item: &Element) -> Option<(String, String)> {
    Some((item.text("key")?.to_owned(), item.text("value").unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests;
