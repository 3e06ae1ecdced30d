//! S3 as AWS runs it, and plain HTTPS servers.

use std::cell::RefCell;
use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;

use super::get::{Refusal, Requester, Span};
use super::parts::{PART, Parts};
use super::{About, Found, HTTPS, Object, Objects, Only, PUT, SERVICE, Source, Upload, Written, place};
use crate::aws::client::call::Call;
use crate::aws::client::connection::{Connection, PlaceError};
use crate::aws::client::error::{AwsError, AwsErrorKind};

/// How many redirects are followed.
const REDIRECTS: usize = 5;

pub(crate) struct LiveObjects {
    connection: Connection,
    /// The regions of buckets outside the instance's own region, as S3 has reported them.
    regions: RefCell<BTreeMap<String, String>>,
}

impl LiveObjects {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, regions: RefCell::default() }
    }

    async fn requester(&self, source: &Source, call: &Call) -> Result<Requester, AwsError> {
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
        let url = url.parse().map_err(|_| call.error(AwsErrorKind::NoEndpoint, "its URL is not valid"))?;
        Ok(Requester { http: self.connection.http.clone(), url, signer, call: call.clone() })
    }

    /// Points a requester to where a refusal redirects it, unless the redirect limit is reached.
    ///
    /// # Errors
    ///
    /// The refusal itself, if it is not a redirect or the limit is reached.
    async fn send_on(&self, requester: &mut Requester, source: &Source, refusal: Refusal, times: usize) -> Result<(), AwsError> {
        match (refusal, source) {
            (Refusal::Region(region, _), Source::S3 { bucket, .. }) if times <= REDIRECTS => {
                self.regions.borrow_mut().insert(bucket.clone(), region);
                *requester = self.requester(source, &requester.call).await?;
                Ok(())
            }
            (Refusal::Clock(_), _) if times <= REDIRECTS => Ok(()),
            (Refusal::Location(url), Source::Https(_)) if times <= REDIRECTS => {
                requester.url = url;
                Ok(())
            }
            (refusal, _) => Err(refusal.error(&requester.call)),
        }
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
        let mut requester = self.requester(source, &call).await?;
        for times in 1.. {
            let refusal = match requester.get(Span { first: 0, last: Some(PART - 1) }, None).await {
                Ok(answer) => {
                    let is_s3 = matches!(source, Source::S3 { .. });
                    let sha256 = match answer.sha256 {
                        None if digest && is_s3 => requester.sha256().await?,
                        known => known.filter(|_| is_s3),
                    };
                    let about = About { length: answer.length, sha256 };
                    return Ok(Box::new(Parts::new(requester, answer, about)));
                }
                Err(Refusal::Empty) => return Ok(Box::new(Parts::empty(requester))),
                Err(refusal) => refusal,
            };
            self.send_on(&mut requester, source, refusal, times).await?;
        }
        unreachable!("it is sent on until it ends")
    }

    async fn look(&self, source: &Source) -> Result<Option<Found>, AwsError> {
        let mut requester = self.requester(source, &Call::new(SERVICE, "GetObject", source.to_string())).await?;
        for times in 1.. {
            match requester.look().await {
                Ok(found) => return Ok(found),
                Err(refusal) => self.send_on(&mut requester, source, refusal, times).await?,
            }
        }
        unreachable!("it is sent on until it ends")
    }

    async fn write(&self, source: &Source, body: Bytes, only: Only<'_>, upload: Option<&Upload>) -> Result<Written, AwsError> {
        let mut requester = self.requester(source, &Call::new(SERVICE, PUT, source.to_string())).await?;
        for times in 1.. {
            match requester.put(body.clone(), only, upload).await {
                Ok(written) => return Ok(written),
                Err(refusal) => self.send_on(&mut requester, source, refusal, times).await?,
            }
        }
        unreachable!("it is sent on until it ends")
    }
}
