//! EC2 as AWS runs it.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{Ec2, Here, NewVolume, SERVICE, Snapshot, SnapshotQuery, Volume, VolumeQuery};
use crate::aws::classify::Call;
use crate::aws::connection::Connection;
use crate::aws::{AwsError, AwsErrorKind};

pub(crate) struct LiveEc2 {
    connection: Connection,
}

impl LiveEc2 {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    fn missing<T>(&self, operation: &'static str) -> Result<T, AwsError> {
        let _ = &self.connection;
        Err(Call::new(SERVICE, operation, "").error(AwsErrorKind::Invalid, "not yet"))
    }
}

#[async_trait(?Send)]
impl Ec2 for LiveEc2 {
    async fn here(&self) -> Result<Here, AwsError> {
        self.missing("DescribeInstances")
    }
    async fn snapshots(&self, _: &SnapshotQuery) -> Result<Vec<Snapshot>, AwsError> {
        self.missing("DescribeSnapshots")
    }
    async fn volumes(&self, _: &VolumeQuery) -> Result<Vec<Volume>, AwsError> {
        self.missing("DescribeVolumes")
    }
    async fn create_volume(&self, _: &NewVolume) -> Result<Volume, AwsError> {
        self.missing("CreateVolume")
    }
    async fn attach_volume(&self, _: &str, _: &str, _: &str) -> Result<(), AwsError> {
        self.missing("AttachVolume")
    }
    async fn detach_volume(&self, _: &str, _: &str) -> Result<(), AwsError> {
        self.missing("DetachVolume")
    }
    async fn set_delete_on_termination(&self, _: &str, _: &str, _: bool) -> Result<(), AwsError> {
        self.missing("ModifyInstanceAttribute")
    }
    async fn create_tags(&self, _: &str, _: &BTreeMap<String, String>) -> Result<(), AwsError> {
        self.missing("CreateTags")
    }
}
