//! Objects in memory: those of S3 and of ordinary HTTP servers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use super::calls::Calls;
use crate::aws::client::call::Call;
use crate::aws::s3::{About, Found, Object, Objects, Only, PUT, Piece, SERVICE, Source, Upload, Written};
use crate::aws::{AwsError, AwsErrorKind};
use crate::digest::Sha256;

/// Size of the pieces in which content arrives, in bytes.
const PIECE: usize = 5;

#[derive(Default)]
pub(crate) struct FakeObjects {
    objects: RefCell<BTreeMap<Source, Kept>>,
    /// Whether S3 stores digests.
    digests: Cell<bool>,
    invent: bool,
    /// The number of reads still to be cut off in the middle.
    cut: Cell<usize>,
    clock: StoreClock,
    /// The error code that every write is refused with.
    refusal: Cell<Option<&'static str>>,
    /// How many seconds S3 takes for a write; part of the content is taken in each.
    slow: Cell<u32>,
    /// Sources that never answer.
    silent: RefCell<Vec<Source>>,
    calls: Calls,
}

/// An object, and the time it was written.
#[derive(Clone)]
struct Kept {
    content: Bytes,
    modified: SystemTime,
}

/// Advances with tokio's clock.
struct StoreClock(Instant);

impl Default for StoreClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl StoreClock {
    /// The current time in whole seconds, which is the resolution of S3; it starts in November 2026.
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_793_491_200 + self.0.elapsed().as_secs())
    }
}

impl FakeObjects {
    /// Every object exists, contains its own name and has a digest at S3. Written content is counted for small objects
    /// only.
    pub(crate) fn inventing() -> Self {
        Self { invent: true, digests: Cell::new(true), ..Self::default() }
    }

    /// Adds or replaces an object.
    pub(crate) fn put(&self, source: &str, content: &str) {
        self.keep(&Source::parse(source).expect("a place of an object"), content.to_owned().into());
    }

    /// From now on, S3 has digests of the objects that exist.
    pub(crate) fn keep_digests(&self) {
        self.digests.set(true);
    }

    /// Cuts off the next `times` reads in the middle, in a way that a retry cannot repair.
    pub(crate) fn cut_off(&self, times: usize) {
        self.cut.set(times);
    }

    /// Never answers a read of this source.
    pub(crate) fn be_silent_about(&self, source: &str) {
        self.silent.borrow_mut().extend(Source::parse(source).ok());
    }

    /// How often an object was requested.
    pub(crate) fn count(&self) -> usize {
        self.calls.count("GetObject")
    }

    fn keep(&self, source: &Source, content: Bytes) {
        let kept = Kept { content, modified: self.clock.now() };
        self.objects.borrow_mut().insert(source.clone(), kept);
    }
}

/// As the ETag of S3, computed from the content alone.
fn etag(content: &[u8]) -> String {
    format!("\"{}\"", Sha256::of(content).short(16))
}

fn no_such_key(call: &Call) -> AwsError {
    let error = call.refused(Some("NoSuchKey"), Some("The specified key does not exist."), Some(404));
    AwsError { kind: AwsErrorKind::NotFound, ..error }
}

#[async_trait(?Send)]
impl Objects for FakeObjects {
    async fn open(&self, source: &Source, digest: bool) -> Result<Box<dyn Object>, AwsError> {
        let call = Call::new(SERVICE, "GetObject", source.to_string());
        self.calls.begin(call.service, call.operation, &[source.to_string()]).await?;
        if self.silent.borrow().contains(source) {
            std::future::pending::<()>().await;
        }
        let known = self.objects.borrow().get(source).map(|kept| kept.content.clone());
        let content = known.or_else(|| self.invent.then(|| source.to_string().into()));
        let content = content.ok_or_else(|| no_such_key(&call))?;
        let sha256 = (digest && self.digests.get()).then(|| Sha256::of(&content));
        let about = About { length: Some(content.len() as u64), sha256 };
        let cut = self.cut.get() > 0;
        self.cut.set(self.cut.get().saturating_sub(1));
        Ok(Box::new(FakeObject { call, about, left: content, cut }))
    }

    async fn look(&self, source: &Source) -> Result<Option<Found>, AwsError> {
        self.calls.begin(SERVICE, "GetObject", &[source.to_string()]).await?;
        let kept = self.objects.borrow().get(source).cloned();
        Ok(kept.map(|Kept { content: body, modified }| Found { etag: etag(&body), modified, date: self.clock.now(), body }))
    }

    async fn write(&self, source: &Source, body: Bytes, only: Only<'_>, upload: Option<&Upload>) -> Result<Written, AwsError> {
        let call = Call::new(SERVICE, PUT, source.to_string());
        self.calls.begin(call.service, call.operation, &[source.to_string()]).await?;
        for _ in 0..self.slow.get() {
            upload.into_iter().for_each(Upload::moves);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        match self.refusal.get() {
            None => {}
            Some("") => std::future::pending().await,
            Some(code) => return Err(call.refused(Some(code), Some("it was to fail"), Some(403))),
        }
        let known = self.objects.borrow().get(source).map(|kept| etag(&kept.content));
        let holds = match (only, &known) {
            (Only::IfMatch(_), None) => return Err(no_such_key(&call)),
            (Only::IfMatch(wanted), Some(known)) => wanted == known,
            (Only::IfAbsent, known) => known.is_none(),
            (Only::Always, _) => true,
        };
        if !holds {
            return Err(call.refused(Some("PreconditionFailed"), None, Some(412)));
        }
        let written = Written { etag: etag(&body) };
        self.keep(source, body);
        Ok(written)
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
            return Err(self.call.error(AwsErrorKind::Unreachable, "no response in time"));
        }
        let piece = self.left.split_to(self.left.len().min(PIECE));
        Ok((!piece.is_empty()).then_some(Piece::Bytes(piece)))
    }
}

/// For tests: setting the scene and reading results.
#[cfg(test)]
mod knobs {
    use super::{Bytes, FakeObjects, PUT, Source};

    impl FakeObjects {
        /// From now on, refuses every write with an error code; with an empty code, writes are never answered.
        pub(crate) fn refuse_writes(&self, code: Option<&'static str>) {
            self.refusal.set(code);
        }

        /// From now on, takes this many seconds for each write, and part of the content in each second.
        pub(crate) fn take_writes_slowly(&self, seconds: u32) {
            self.slow.set(seconds);
        }

        /// The number of writes that were begun.
        pub(crate) fn writes(&self) -> usize {
            self.calls.count(PUT)
        }

        /// Every object with its location.
        pub(crate) fn all(&self) -> Vec<(Source, Bytes)> {
            self.objects.borrow().iter().map(|(source, kept)| (source.clone(), kept.content.clone())).collect()
        }
    }
}
