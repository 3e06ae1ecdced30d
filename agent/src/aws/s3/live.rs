//! S3 as AWS runs it, and HTTPS servers as they are.

use std::cell::RefCell;
use std::collections::BTreeMap;

use async_trait::async_trait;

use super::get::{Getter, Refusal, Span};
use super::parts::{PART, Parts};
use super::{About, HTTPS, Object, Objects, SERVICE, Source, place};
use crate::aws::client::call::Call;
use crate::aws::client::connection::{Connection, PlaceError};
use crate::aws::client::error::{AwsError, AwsErrorKind};

/// How often a server may send us on.
const REDIRECTS: usize = 5;

pub(crate) struct LiveObjects {
    connection: Connection,
    /// The regions of buckets that are not in ours, as S3 has told them.
    regions: RefCell<BTreeMap<String, String>>,
}

impl LiveObjects {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, regions: RefCell::default() }
    }

    async fn getter(&self, source: &Source, call: &Call) -> Result<Getter, AwsError> {
        let (url, signer) = match source {
            Source::Https(url) => (url.clone(), None),
            Source::S3 { bucket, key, version_id } => {
                let known = self.regions.borrow().get(bucket).cloned();
                let region = match known {
                    Some(region) => region,
                    None => self.connection.region().await.map_err(|error| call.unplaced(PlaceError::Region(error)))?,
                };
                let (variables, own) = (&self.connection.endpoints, self.connection.endpoint("S3"));
                let url = place::url(bucket, key, version_id.as_deref(), &region, variables, own).await;
                let url = url.map_err(|error| call.unplaced(PlaceError::Endpoint(error)))?;
                (url, Some((self.connection.credentials.clone(), region)))
            }
        };
        let url = url.parse().map_err(|_| call.error(AwsErrorKind::NoEndpoint, "it has no URL that can be called"))?;
        Ok(Getter { http: self.connection.http.clone(), url, signer, call: call.clone() })
    }
}

#[async_trait(?Send)]
impl Objects for LiveObjects {
    async fn open(&self, source: &Source, digest: bool) -> Result<Box<dyn Object>, AwsError> {
        let call = match source {
            Source::Https(_) => Call::new(HTTPS, "GET", source.to_string()),
            Source::S3 { version_id: None, .. } => Call::new(SERVICE, "GetObject", source.to_string()),
            Source::S3 { .. } => Call::new(SERVICE, "GetObjectVersion", source.to_string()),
        };
        let mut getter = self.getter(source, &call).await?;
        let mut sent_on = 0;
        loop {
            let refusal = match getter.get(Span { first: 0, last: Some(PART - 1) }, None).await {
                Ok(answer) => {
                    let is_s3 = matches!(source, Source::S3 { .. });
                    let sha256 = match answer.sha256 {
                        None if digest && is_s3 => getter.sha256().await?,
                        known => known.filter(|_| is_s3),
                    };
                    let about = About { length: answer.length, sha256 };
                    return Ok(Box::new(Parts::new(getter, answer, about)));
                }
                Err(Refusal::Empty) => return Ok(Box::new(Parts::empty(getter))),
                Err(refusal) => refusal,
            };
            sent_on += 1;
            match (refusal, source) {
                (Refusal::Region(region, _), Source::S3 { bucket, .. }) if sent_on <= REDIRECTS => {
                    self.regions.borrow_mut().insert(bucket.clone(), region);
                    getter = self.getter(source, &call).await?;
                }
                (Refusal::Clock(_), _) if sent_on <= REDIRECTS => {}
                (Refusal::Location(url), Source::Https(_)) if sent_on <= REDIRECTS => getter.url = url,
                (refusal, _) => return Err(refusal.error(&call)),
            }
        }
    }
}
