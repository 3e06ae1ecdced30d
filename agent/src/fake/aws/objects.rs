//! Objects, in memory: those of S3 and of plain servers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;

use super::calls::Calls;
use crate::aws::AwsError;
use crate::aws::client::call::Call;
use crate::aws::s3::{About, Object, Objects, Piece, SERVICE, Source};
use crate::digest::Sha256;

/// How much comes at a time.
const PIECE: usize = 5;

#[derive(Default)]
pub(crate) struct FakeObjects {
    objects: RefCell<BTreeMap<Source, Vec<u8>>>,
    /// Whether S3 keeps digests.
    digests: Cell<bool>,
    invent: bool,
    /// How many reads are cut off in the middle.
    cut: Cell<usize>,
    calls: Calls,
}

impl FakeObjects {
    /// Every object is there, and holds its own name; S3 keeps its digest.
    pub(crate) fn inventing() -> Self {
        Self { invent: true, digests: Cell::new(true), ..Self::default() }
    }

    /// Puts an object there, or another in its place.
    pub(crate) fn put(&self, source: &str, content: &str) {
        self.objects.borrow_mut().insert(Source::parse(source).expect("a place of an object"), content.into());
    }

    /// From now on S3 keeps the digests of what is there.
    pub(crate) fn keep_digests(&self) {
        self.digests.set(true);
    }

    /// Cuts off the next `times` reads in the middle, beyond repair.
    pub(crate) fn cut_off(&self, times: usize) {
        self.cut.set(times);
    }

    /// How often an object was asked for.
    pub(crate) fn count(&self) -> usize {
        self.calls.count("GetObject")
    }
}

#[async_trait(?Send)]
impl Objects for FakeObjects {
    async fn open(&self, source: &Source, digest: bool) -> Result<Box<dyn Object>, AwsError> {
        let call = Call::new(SERVICE, "GetObject", source.to_string());
        self.calls.begin(call.service, call.operation, &[source.to_string()]).await?;
        let known = self.objects.borrow().get(source).cloned();
        let content = known.or_else(|| self.invent.then(|| source.to_string().into_bytes()));
        let content = content.ok_or_else(|| call.refused(Some("NoSuchKey"), Some("The specified key does not exist."), Some(404)));
        let content = content.map_err(|error| AwsError { kind: crate::aws::AwsErrorKind::NotFound, ..error })?;
        let sha256 = (digest && self.digests.get()).then(|| Sha256::of(&content));
        let about = About { length: Some(content.len() as u64), sha256 };
        let cut = self.cut.get() > 0;
        self.cut.set(self.cut.get().saturating_sub(1));
        Ok(Box::new(FakeObject { call, about, left: content.into(), cut }))
    }
}

struct FakeObject {
    call: Call,
    about: About,
    left: Bytes,
    cut: bool,
}

#[async_trait(?Send)]
impl Object for FakeObject {
    fn about(&self) -> &About {
        &self.about
    }

    async fn next(&mut self) -> Result<Option<Piece>, AwsError> {
        tokio::task::yield_now().await;
        if self.cut && self.left.len() as u64 <= self.about.length.unwrap_or_default() / 2 {
            return Err(self.call.error(crate::aws::AwsErrorKind::Unreachable, "no answer in time"));
        }
        let piece = self.left.split_to(self.left.len().min(PIECE));
        Ok((!piece.is_empty()).then_some(Piece::Bytes(piece)))
    }
}
