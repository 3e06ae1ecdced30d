//! An S3 bucket.

mod upload;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::ChecksumMode;
use jiff::Timestamp;

use super::Aws;
use super::objects::{Condition, Listed, Object, Objects, Put};
use super::trouble::{self, Call, Trouble};
use crate::digest::{Hasher, Sha256};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::release::content::Content;

/// Largest object read into memory, in bytes. The terms of a deployment contain a template and perhaps a fleet.yaml.
const LARGEST: usize = 16 << 20;

#[derive(Debug)]
pub(crate) struct Bucket {
    client: Client,
    name: String,
    region: String,
}

impl Bucket {
    pub(crate) fn new(aws: &Aws, name: &str) -> Self {
        Self { client: Client::new(&aws.sdk), name: name.into(), region: aws.region.clone() }
    }

    fn call(&self, action: &'static str, doing: &'static str, key: &str) -> Call<'_> {
        Call { action, doing, on: format!("s3://{}/{key}", self.name), region: &self.region }
    }

    /// Computes the digest of an object by reading all of it.
    async fn digest(&self, key: &str) -> Result<Option<Sha256>, Failure> {
        let call = || self.call("s3:GetObject", "read", key);
        let mut answer = match self.client.get_object().bucket(&self.name).key(key).send().await {
            Ok(answer) => answer,
            Err(error) => return absent(trouble::of(&error), &call()),
        };
        let mut hasher = Hasher::new();
        while let Some(piece) = answer.body.try_next().await.map_err(|error| Trouble::Silence(error.to_string()).failure(&call()))? {
            hasher.update(&piece);
        }
        Ok(Some(hasher.finish()))
    }

    /// Lists all versions of an object, delete markers included, newest first.
    async fn versions(&self, key: &str) -> Result<Vec<String>, Failure> {
        let (mut found, mut next) = (Vec::new(), None);
        loop {
            let (key_marker, version_marker) = next.unzip();
            let request = self.client.list_object_versions().bucket(&self.name).prefix(key);
            let page = request.set_key_marker(key_marker).set_version_id_marker(version_marker).send().await;
            let page = page.map_err(|error| trouble::of(&error).failure(&self.call("s3:ListBucketVersions", "list versions of", key)))?;
            let kept = page.versions().iter().map(|one| (one.key(), one.version_id(), one.last_modified()));
            let deleted = page.delete_markers().iter().map(|one| (one.key(), one.version_id(), one.last_modified()));
            let of_key = kept.chain(deleted).filter(|(found, ..)| *found == Some(key));
            found.extend(of_key.filter_map(|(_, version, at)| Some((at?.secs(), version?.to_owned()))));
            match (page.is_truncated(), page.next_key_marker(), page.next_version_id_marker()) {
                // Later pages hold only longer keys with this prefix.
                (Some(true), Some(marker), Some(version)) if marker == key => next = Some((marker.to_owned(), version.to_owned())),
                _ => break,
            }
        }
        found.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        Ok(found.into_iter().map(|(_, version)| version).collect())
    }
}

/// Returns `None` if the object does not exist, and the failure otherwise.
fn absent<T>(trouble: Trouble, call: &Call<'_>) -> Result<Option<T>, Failure> {
    match trouble.status() == Some(404) && !trouble.has(&["NoSuchBucket"]) {
        true => Ok(None),
        false => Err(trouble.failure(call)),
    }
}

impl Objects for Bucket {
    async fn get(&self, key: &str) -> Result<Option<Object>, Failure> {
        let call = || self.call("s3:GetObject", "read", key);
        let mut answer = match self.client.get_object().bucket(&self.name).key(key).send().await {
            Ok(answer) => answer,
            Err(error) => return absent(trouble::of(&error), &call()),
        };
        let mut content = Vec::new();
        while let Some(piece) = answer.body.try_next().await.map_err(|error| Trouble::Silence(error.to_string()).failure(&call()))? {
            content.extend_from_slice(&piece);
            if content.len() > LARGEST {
                let failure = Failure::new(Exit::Failed, format!("cannot read s3://{}/{key}", self.name));
                return Err(failure
                    .why(format!("it is more than {LARGEST} bytes long, so ingot-fleet did not write it"))
                    .hint("look up PutObject in the CloudTrail data events of the bucket to see who wrote it, and remove it"));
            }
        }
        Ok(Some(Object { content, etag: answer.e_tag.unwrap_or_default() }))
    }

    async fn put(&self, key: &str, content: Vec<u8>, condition: Condition<'_>) -> Result<Put, Failure> {
        self.put_whole(key, content, condition).await
    }

    async fn upload(&self, key: &str, content: &Content, progress: &dyn Fn(u64)) -> Result<Put, Failure> {
        if !content.is_whole() {
            return self.put_parts(key, content, progress).await;
        }
        let body = content.read(0)?;
        let put = self.put_whole(key, body, Condition::Absent).await;
        progress(content.bytes);
        put
    }

    async fn compare(&self, key: &str, content: &Content) -> Result<Option<bool>, Failure> {
        let request = self.client.head_object().bucket(&self.name).key(key).checksum_mode(ChecksumMode::Enabled);
        let found = match request.send().await {
            Ok(found) => found,
            Err(error) => return absent(trouble::of(&error), &self.call("s3:GetObject", "read", key)),
        };
        if found.content_length().is_some_and(|length| length != content.bytes as i64) {
            return Ok(Some(false));
        }
        let is_known = |kept: &str| kept == content.sha256.base64() || kept == Sha256::of_parts(&content.parts);
        if found.checksum_sha256().is_some_and(is_known) {
            return Ok(Some(true));
        }
        // Another tool uploaded it, in other parts.
        Ok(self.digest(key).await?.map(|sha256| sha256 == content.sha256))
    }

    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, Failure> {
        let after = Some(after.to_owned()).filter(|after| !after.is_empty());
        let request = self.client.list_objects_v2().bucket(&self.name).prefix(prefix).set_start_after(after);
        let mut pages = request.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| trouble::of(&error).failure(&self.call("s3:ListBucket", "list", prefix)))?;
            found.extend(page.contents().iter().filter_map(|object| {
                let modified = object.last_modified().and_then(|at| Timestamp::from_second(at.secs()).ok())?;
                Some(Listed { key: object.key()?.to_owned(), bytes: object.size()?.try_into().ok()?, modified })
            }));
        }
        Ok(found)
    }

    async fn below(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let mut pages = self.client.list_objects_v2().bucket(&self.name).prefix(prefix).delimiter("/").into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| trouble::of(&error).failure(&self.call("s3:ListBucket", "list", prefix)))?;
            let names = page.common_prefixes().iter().filter_map(|common| common.prefix()?.strip_prefix(prefix)?.strip_suffix('/'));
            found.extend(names.map(str::to_owned));
        }
        Ok(found)
    }

    async fn remove(&self, key: &str) -> Result<(), Failure> {
        // Oldest first, so that the current version goes last and no older one becomes current.
        for version in self.versions(key).await?.iter().rev() {
            let request = self.client.delete_object().bucket(&self.name).key(key).version_id(version);
            request.send().await.map_err(|error| trouble::of(&error).failure(&self.call("s3:DeleteObjectVersion", "delete", key)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
