//! An object read in several concurrent ranges, handed over in order.
//!
//! Each range is fetched by its own task, so that it continues while the reader is busy. At most [`AT_ONCE`] ranges are
//! in progress or waiting, which bounds the memory. A server without range support is read in one stream.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::select;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::get::{Answer, Requester, Span, Version};
use super::{About, Object, Piece};
use crate::aws::client::error::AwsError;
use crate::backoff::Backoff;
use crate::failure::Failure as _;

/// The bytes of one range: enough that the wait for its first byte, some tens of milliseconds from S3, is short
/// compared with the transfer of the other ranges.
pub(super) const PART: u64 = 2 << 20;

/// How many ranges are in progress: 8 MiB in total, which at 60 ms each is more than the disk of a small instance can
/// write, and no more than its memory can spare.
const AT_ONCE: usize = 4;

/// How often in a row a range may fail without a byte of progress.
const TRIES: u32 = 6;

/// The longest pause before a range is requested again.
const PAUSE: Duration = Duration::from_secs(10);

/// An object whose first range has been answered.
pub(super) struct Parts {
    requester: Requester,
    version: Version,
    about: About,
    ready: VecDeque<Bytes>,
    coming: Coming,
    /// Errors of ranges that are being retried.
    refusals: (UnboundedSender<AwsError>, UnboundedReceiver<AwsError>),
}

enum Coming {
    Ranges { next: u64, length: u64, tasks: VecDeque<Task> },
    Stream { answer: Answer, at: u64 },
    Over,
}

/// A range that is being fetched. Dropping it cancels the fetch.
struct Task(JoinHandle<Result<Vec<Bytes>, AwsError>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Parts {
    /// `answer` is the answer to a request for the first [`PART`] bytes.
    pub(super) fn new(requester: Requester, answer: Answer, about: About) -> Self {
        let refusals = unbounded_channel();
        let version = answer.version.clone();
        let coming = match (answer.is_part, answer.length) {
            (true, Some(length)) => {
                let span = Span { first: 0, last: Some(PART.min(length).saturating_sub(1)) };
                let first = Task(tokio::spawn(fetch(requester.clone(), version.clone(), span, Some(answer), refusals.0.clone())));
                Coming::Ranges { next: PART.min(length), length, tasks: VecDeque::from([first]) }
            }
            _ => Coming::Stream { answer, at: 0 },
        };
        Self { requester, version, about, ready: VecDeque::new(), coming, refusals }
    }

    /// An empty object.
    pub(super) fn empty(requester: Requester) -> Self {
        let about = About { length: Some(0), sha256: None };
        Self { requester, version: Version::default(), about, ready: VecDeque::new(), coming: Coming::Over, refusals: unbounded_channel() }
    }
}

#[async_trait(?Send)]
impl Object for Parts {
    fn about(&self) -> &About {
        &self.about
    }

    async fn next(&mut self) -> Result<Option<Piece>, AwsError> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Some(Piece::Bytes(bytes)));
            }
            match &mut self.coming {
                Coming::Over => return Ok(None),
                Coming::Ranges { next, length, tasks } => {
                    while *next < *length && tasks.len() < AT_ONCE {
                        let end = (*next + PART).min(*length);
                        let span = Span { first: *next, last: Some(end - 1) };
                        tasks.push_back(Task(tokio::spawn(fetch(
                            self.requester.clone(),
                            self.version.clone(),
                            span,
                            None,
                            self.refusals.0.clone(),
                        ))));
                        *next = end;
                    }
                    let Some(mut task) = tasks.pop_front() else {
                        self.coming = Coming::Over;
                        continue;
                    };
                    select! {
                        fetched = &mut task.0 => self.ready.extend(fetched.map_err(|lost| self.requester.call.unsent(&lost))??),
                        Some(refusal) = self.refusals.1.recv() => {
                            tasks.push_front(task);
                            return Ok(Some(Piece::Refused(refusal)));
                        }
                    }
                }
                Coming::Stream { answer, at } => {
                    let (call, length) = (&self.requester.call, self.about.length);
                    let cut = match answer.response.chunk().await {
                        Ok(Some(bytes)) => {
                            *at += bytes.len() as u64;
                            return Ok(Some(Piece::Bytes(bytes)));
                        }
                        Ok(None) if length.is_none_or(|length| *at == length) => {
                            self.coming = Coming::Over;
                            continue;
                        }
                        Ok(None) => call.malformed("the response is shorter than announced"),
                        Err(error) => call.unsent(&error),
                    };
                    let span = Span { first: *at, last: None };
                    log::debug!(at = *at; "{cut}: asking for the rest");
                    *answer = match self.requester.get(span, Some(&self.version)).await {
                        Ok(answer) if answer.is_part => answer,
                        // The server cannot resume, so the transfer has to start over.
                        _ => return Err(cut),
                    };
                }
            }
        }
    }
}

/// Fetches one range, resuming after each connection that is cut off.
async fn fetch(
    requester: Requester,
    version: Version,
    span: Span,
    mut answer: Option<Answer>,
    refusals: UnboundedSender<AwsError>,
) -> Result<Vec<Bytes>, AwsError> {
    let wanted = span.last.map_or(u64::MAX, |last| last + 1 - span.first);
    let (mut fetched, mut length, mut failed) = (Vec::new(), 0, 0);
    loop {
        let before = length;
        let left = Span { first: span.first + length, ..span };
        let error = match receive(&requester, &version, left, answer.take(), wanted, &mut fetched, &mut length).await {
            Ok(()) => return Ok(fetched),
            Err(error) => error,
        };
        failed = if length > before { 1 } else { failed + 1 };
        if !error.is_transient() || error.code == super::codes::CHANGED || failed >= TRIES {
            return Err(error);
        }
        log::debug!(first = left.first, failed; "{error}: asking again");
        let pause = Backoff::CALL.pause(failed, error.retry_after()).min(PAUSE);
        // The reader may be gone.
        let _ = refusals.send(error);
        tokio::time::sleep(pause).await;
    }
}

async fn receive(
    requester: &Requester,
    version: &Version,
    left: Span,
    answer: Option<Answer>,
    wanted: u64,
    fetched: &mut Vec<Bytes>,
    length: &mut u64,
) -> Result<(), AwsError> {
    let call = &requester.call;
    let mut answer = match answer {
        Some(answer) => answer,
        None => requester.get(left, Some(version)).await.map_err(|refusal| refusal.error(call))?,
    };
    if !answer.is_part {
        return Err(call.malformed("it sent ranges before, but now the whole object"));
    }
    while *length < wanted {
        let Some(bytes) = answer.response.chunk().await.map_err(|error| call.unsent(&error))? else {
            return Err(call.malformed("the response is shorter than the range"));
        };
        *length += bytes.len() as u64;
        if *length > wanted {
            return Err(AwsError { code: super::codes::CHANGED.into(), ..call.malformed("the response is longer than the range") });
        }
        fetched.push(bytes);
    }
    // Reads the end of the answer, so that the connection can be reused for the next range.
    let _ = answer.response.chunk().await;
    Ok(())
}
