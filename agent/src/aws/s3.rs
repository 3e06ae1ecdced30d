//! Objects: in S3 buckets, by signed requests, and on plain HTTPS servers.
//!
//! [`Objects::open`] is for large objects. It requests the beginning, from which it learns length and version; the rest
//! arrives in several concurrent ranges and is handed over in order. A connection that is cut off or falls silent loses
//! only the range in progress on it. [`Objects::look`] and [`Objects::write`] read and write small objects whole, in
//! one request, and tell versions apart by their ETags: a write may be conditional on the current object.
//!
//! The content of an object, and its verification, are the caller's concern.

mod claim;
mod codes;
mod get;
pub(super) mod live;
mod parts;
mod place;
mod put;
mod upload;

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::aws::client::error::{AwsError, Service};
use crate::aws::names;
use crate::digest::Sha256;
use crate::failure::Objection;

pub(crate) use claim::ClaimObject;
pub(crate) use codes::PUT;
pub(crate) use live::LiveObjects;
pub(crate) use upload::Upload;

/// The name of S3 in IAM, and the meaning of its errors.
pub(crate) const SERVICE: &Service = &Service { name: "s3", hint: codes::hint, is_transient: codes::is_transient };

/// Takes the place of a service for a plain HTTPS server.
const HTTPS: &Service = &Service { name: "https", hint: codes::hint_of_a_server, is_transient: |_| false };

/// The location of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    S3 {
        bucket: String,
        key: String,
        version_id: Option<String>,
    },
    /// A URL that begins with `https://`.
    Https(String),
}

impl Source {
    /// Reads `s3://BUCKET/KEY` or `https://…`.
    ///
    /// # Errors
    ///
    /// An objection that says what is wrong with the text.
    pub(crate) fn parse(text: &str) -> Result<Self, Objection> {
        if let Some(rest) = text.strip_prefix("s3://") {
            let wrong = |why: &str| Err(Objection::new(why, "write s3://BUCKET/KEY"));
            let Some((bucket, key)) = rest.split_once('/').filter(|(_, key)| !key.is_empty()) else {
                return wrong(&format!("`{text}` does not name a key in its bucket"));
            };
            if let Some(objection) = names::bucket(bucket) {
                return Err(objection);
            }
            if key.split('/').any(|part| matches!(part, "." | "..")) {
                let why = "HTTP cannot request a key with `.` or `..` between slashes";
                return Err(Objection::new(why, "name the object by a key without them"));
            }
            return Ok(Self::S3 { bucket: bucket.into(), key: key.into(), version_id: None });
        }
        match text.parse::<reqwest::Url>() {
            Ok(url) if url.scheme() == "https" && url.has_host() => Ok(Self::Https(text.into())),
            _ => {
                let message = format!("`{}` is neither s3://BUCKET/KEY nor an https URL", without_query(text));
                Err(Objection::new(message, "write one of the two"))
            }
        }
    }

    /// The last segment of its path.
    pub(crate) fn name(&self) -> &str {
        let path = match self {
            Self::S3 { key, .. } => key,
            Self::Https(url) => without_query(url),
        };
        path.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default()
    }
}

/// Without query and user, since these parts of a URL may grant access.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, key, version_id: None } => write!(f, "s3://{bucket}/{key}"),
            Self::S3 { bucket, key, version_id: Some(version) } => write!(f, "s3://{bucket}/{key} (version {version})"),
            Self::Https(url) => match without_query(url).strip_prefix("https://").and_then(|rest| rest.split_once('@')) {
                Some((user, rest)) if !user.contains('/') => write!(f, "https://{rest}"),
                _ => f.write_str(without_query(url)),
            },
        }
    }
}

/// The location of several objects: a bucket and a key prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prefix {
    bucket: String,
    /// Empty, or ends with a slash.
    prefix: String,
}

impl Prefix {
    /// Reads `s3://BUCKET/PREFIX/`.
    ///
    /// # Errors
    ///
    /// An objection that says what is wrong with the text.
    pub(crate) fn parse(text: &str) -> Result<Self, Objection> {
        let wrong = |why: String| Objection::new(why, "write s3://BUCKET/PREFIX/");
        if !text.starts_with("s3://") || !text.ends_with('/') {
            return Err(wrong(format!("`{}` is not a prefix in S3", without_query(text))));
        }
        // With a key appended, it must be a valid location of an object.
        match Source::parse(&format!("{text}key"))? {
            Source::S3 { bucket, key, .. } => Ok(Self { bucket, prefix: key[..key.len() - "key".len()].to_owned() }),
            Source::Https(_) => Err(wrong("it is not a prefix in S3".into())),
        }
    }

    /// The object whose key is this prefix followed by `end`.
    pub(crate) fn object(&self, end: &str) -> Source {
        Source::S3 { bucket: self.bucket.clone(), key: format!("{}{end}", self.prefix), version_id: None }
    }
}

fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

/// What is known about an object before its content arrives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct About {
    /// In bytes. `None` if a plain server does not state it.
    pub(crate) length: Option<u64>,
    /// The digest that S3 keeps of the whole object, if the uploader requested one.
    pub(crate) sha256: Option<Sha256>,
}

/// Reads and writes objects.
#[async_trait(?Send)]
pub(crate) trait Objects {
    /// Opens an object. `digest` is whether to ask S3 for its digest as well.
    async fn open(&self, source: &Source, digest: bool) -> Result<Box<dyn Object>, AwsError>;

    /// GetObject for a small object in S3, of at most [`SMALL`] bytes. `None` if it does not exist.
    async fn look(&self, source: &Source) -> Result<Option<Found>, AwsError>;

    /// PutObject: writes an object to S3 in one try, and records S3's activity in `upload`.
    ///
    /// # Errors
    ///
    /// [`is_refused_condition`] recognises the error for an object that does not satisfy `only`. After a transient
    /// error it is unknown whether the object was written.
    async fn write(&self, source: &Source, body: Bytes, only: Only<'_>, upload: Option<&Upload>) -> Result<Written, AwsError>;
}

/// The longest object that is read whole, in bytes.
pub(crate) const SMALL: usize = 64 << 10;

/// The condition on which S3 writes an object.
///
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Only<'a> {
    /// Unconditionally, replacing the current object.
    Always,
    /// If there is no object with that key.
    IfAbsent,
    /// If the current object has this ETag.
    IfMatch(&'a str),
}

/// A small object as read from S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Including its quotation marks. Objects with the same content may have the same ETag.
    pub(crate) etag: String,
    /// When it was written, by S3's clock, in whole seconds.
    pub(crate) modified: SystemTime,
    /// When S3 answered, by the same clock.
    pub(crate) date: SystemTime,
    pub(crate) body: Bytes,
}

/// The answer to a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// As in [`Found`].
    pub(crate) etag: String,
}

/// Whether a write was refused because the object did not satisfy [`Only`]: it exists already, has changed, or has been
/// deleted.
pub(crate) fn is_refused_condition(error: &AwsError) -> bool {
    error.service == SERVICE && error.operation == PUT && matches!(error.code.as_str(), codes::CONDITION | codes::NO_KEY)
}

/// An object that is being received. Dropping it stops the transfer.
#[async_trait(?Send)]
pub(crate) trait Object {
    fn about(&self) -> &About;

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    ///
    /// If the rest is not available after several tries. A transient error may not occur again if the transfer starts
    /// over.
    async fn next(&mut self) -> Result<Option<Piece>, AwsError>;
}

/// A piece of an object's transfer.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The next bytes, in order.
    Bytes(Bytes),
    /// A request was refused or got no answer, and is being retried.
    Refused(AwsError),
}

/// Reads a whole object of at most `limit` bytes. `None` if it is longer.
pub(crate) async fn read(objects: &dyn Objects, source: &Source, limit: usize) -> Result<Option<Vec<u8>>, AwsError> {
    let mut object = objects.open(source, false).await?;
    let mut whole = Vec::new();
    while let Some(piece) = object.next().await? {
        let Piece::Bytes(bytes) = piece else { continue };
        if whole.len() + bytes.len() > limit {
            return Ok(None);
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(Some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_places_of_several_objects() {
        for (text, object) in [("s3://shop/", "s3://shop/a/b"), ("s3://shop/prod/claims/", "s3://shop/prod/claims/a/b")] {
            assert_eq!(Prefix::parse(text).unwrap().object("a/b").to_string(), object);
        }
        for wrong in ["", "/", "s3://", "s3:///", "s3://shop", "s3://shop/claims", "s3://s/", "s3://shop/../", "https://shop/claims/"] {
            assert!(Prefix::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn reads_the_two_kinds_of_places() {
        let s3 = Source::parse("s3://shop-releases/a/shop 1+2.tar.zst").unwrap();
        assert_eq!((s3.name(), s3.to_string().as_str()), ("shop 1+2.tar.zst", "s3://shop-releases/a/shop 1+2.tar.zst"));
        let https = Source::parse("https://user:hunter2@example.com/x/shop.zip?X-Amz-Signature=s3cr3t").unwrap();
        assert_eq!((https.name(), https.to_string().as_str()), ("shop.zip", "https://example.com/x/shop.zip"));
        for wrong in
            ["", "shop.tar", "s3://bucket", "s3://bucket/", "s3://b/k", "s3://a@b.com/k", "s3://bucket/../k", "http://x/y", "https://"]
        {
            assert!(Source::parse(wrong).is_err(), "{wrong}");
        }
        assert!(!Source::parse("http://x/y?token=s3cr3t").unwrap_err().message.contains("s3cr3t"));
    }
}
