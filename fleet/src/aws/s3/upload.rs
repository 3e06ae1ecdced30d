//! Writing: objects of up to 32 MiB in one call, larger ones in parts that are retried one by one.
//!
//! Every body is sent with its SHA-256, which S3 verifies and stores.

use std::cell::Cell;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use aws_smithy_types::timeout::TimeoutConfig;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::Bucket;
use crate::aws::objects::{Condition, Put};
use crate::aws::trouble::{self, Trouble};
use crate::digest::Sha256;
use crate::failure::Failure;
use crate::release::content::Content;

/// Timeout for a body of 32 MiB, which allows for about a megabit per second.
const UPLOAD: Duration = Duration::from_secs(300);

/// Parts sent in parallel, each held in memory.
const PARALLEL: usize = 4;

/// How often a write is retried after a conflict with a write of the same key, and by how much each pause grows.
const CONFLICTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(300);

/// S3's codes for a condition that does not hold, an object that is gone, and an upload that has ended.
const REFUSED: [&str; 3] = ["PreconditionFailed", "NoSuchKey", "NoSuchUpload"];

/// Two writes of a key at the same time.
const CONFLICT: &str = "ConditionalRequestConflict";

/// Client settings for large bodies.
fn patient() -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::config::Builder::new().timeout_config(TimeoutConfig::builder().read_timeout(UPLOAD).build())
}

impl Bucket {
    /// Writes in one call.
    pub(super) async fn put_whole(&self, key: &str, content: Vec<u8>, condition: Condition<'_>) -> Result<Put, Failure> {
        let (sha256, content, mut conflicts) = (Sha256::of(&content), Bytes::from(content), 0);
        loop {
            let request = self.client.put_object().bucket(&self.name).key(key).checksum_sha256(sha256.base64());
            let request = match condition {
                Condition::Absent => request.if_none_match("*"),
                Condition::Unchanged(etag) => request.if_match(etag),
            };
            let request = request.body(ByteStream::from(content.clone())).customize().config_override(patient());
            match request.send().await {
                Ok(answer) => return Ok(Put::Done { etag: answer.e_tag().unwrap_or_default().to_owned() }),
                Err(error) => match self.settle(trouble::of(&error), &mut conflicts, key).await? {
                    Some(put) => return Ok(put),
                    None => continue,
                },
            }
        }
    }

    /// Decides what a failed write means. Returns `None` if it should be retried.
    async fn settle(&self, trouble: Trouble, conflicts: &mut u32, key: &str) -> Result<Option<Put>, Failure> {
        if trouble.has(&[CONFLICT]) && *conflicts < CONFLICTS {
            *conflicts += 1;
            tokio::time::sleep(PAUSE * *conflicts).await;
            return Ok(None);
        }
        match trouble.has(&REFUSED) {
            true => Ok(Some(Put::Refused)),
            false => Err(trouble.failure(&self.call("s3:PutObject", "write", key))),
        }
    }

    pub(super) async fn put_parts(&self, key: &str, content: &Content, progress: &dyn Fn(u64)) -> Result<Put, Failure> {
        let begun = self.client.create_multipart_upload().bucket(&self.name).key(key).checksum_algorithm(ChecksumAlgorithm::Sha256);
        let begun = begun.send().await.map_err(|error| trouble::of(&error).failure(&self.call("s3:PutObject", "write", key)))?;
        let upload = begun.upload_id().unwrap_or_default();
        let put = match self.send_parts(key, upload, content, progress).await {
            Ok(parts) => self.complete(key, upload, parts).await,
            Err(failure) => Err(failure),
        };
        if !matches!(put, Ok(Put::Done { .. })) {
            // Otherwise its parts cost money until the bucket's lifecycle rule removes them. A failure here adds
            // nothing to `put`.
            let _ = self.client.abort_multipart_upload().bucket(&self.name).key(key).upload_id(upload).send().await;
        }
        put
    }

    async fn send_parts(&self, key: &str, upload: &str, content: &Content, progress: &dyn Fn(u64)) -> Result<Vec<CompletedPart>, Failure> {
        let done = Cell::new(0);
        let parts = stream::iter(content.parts.iter().enumerate()).map(|(at, sha256)| {
            let done = &done;
            async move {
                let body = content.read(at)?;
                let length = body.len() as u64;
                let part = self.send_part(key, upload, at as i32 + 1, body, *sha256).await?;
                done.set(done.get() + length);
                progress(done.get());
                Ok::<_, Failure>(part)
            }
        });
        parts.buffered(PARALLEL).try_collect().await
    }

    async fn send_part(&self, key: &str, upload: &str, number: i32, body: Vec<u8>, sha256: Sha256) -> Result<CompletedPart, Failure> {
        let request = self.client.upload_part().bucket(&self.name).key(key).upload_id(upload).part_number(number);
        let request = request.checksum_sha256(sha256.base64()).body(ByteStream::from(body));
        let answer = request.customize().config_override(patient()).send().await;
        let answer = answer.map_err(|error| trouble::of(&error).failure(&self.call("s3:PutObject", "write", key)))?;
        let part = CompletedPart::builder().part_number(number).checksum_sha256(sha256.base64());
        Ok(part.set_e_tag(answer.e_tag().map(str::to_owned)).build())
    }

    async fn complete(&self, key: &str, upload: &str, parts: Vec<CompletedPart>) -> Result<Put, Failure> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let mut conflicts = 0;
        loop {
            let request = self.client.complete_multipart_upload().bucket(&self.name).key(key).upload_id(upload).if_none_match("*");
            match request.multipart_upload(parts.clone()).customize().config_override(patient()).send().await {
                Ok(answer) => return Ok(Put::Done { etag: answer.e_tag().unwrap_or_default().to_owned() }),
                Err(error) => match self.settle(trouble::of(&error), &mut conflicts, key).await? {
                    Some(put) => return Ok(put),
                    None => continue,
                },
            }
        }
    }
}
