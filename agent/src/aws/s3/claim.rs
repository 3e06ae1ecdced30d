//! An S3 object used as a claim.

use std::rc::Rc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Found, Objects, Only, Source, is_refused_condition};
use crate::failure::Explanation;
use crate::net::claims::{Seen, Store};

/// An S3 object that is only written conditionally.
pub(crate) struct ClaimObject {
    pub(crate) objects: Rc<dyn Objects>,
    pub(crate) place: Source,
}

#[async_trait(?Send)]
impl Store for ClaimObject {
    fn name(&self) -> String {
        self.place.to_string()
    }

    async fn look(&self) -> Result<Option<Seen>, Explanation> {
        let found = self.objects.look(&self.place).await.map_err(|error| Explanation::of(&error))?;
        Ok(found.map(|Found { etag, modified, date, body }| Seen { etag, modified, date, body }))
    }

    async fn write(&self, body: Bytes, over: Option<&str>) -> Result<Option<String>, Explanation> {
        match self.objects.write(&self.place, body, over.map_or(Only::IfAbsent, Only::IfMatch), None).await {
            Ok(written) => Ok(Some(written.etag)),
            Err(error) if is_refused_condition(&error) => Ok(None),
            Err(error) => Err(Explanation::of(&error)),
        }
    }
}
