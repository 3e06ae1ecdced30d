//! The record of a preload, so that it is done only once.

use std::fmt;

use super::trouble::PreloadError;
use crate::host::state::{Entry, EntryState};
use crate::step::Context;

/// The record of a preload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) identity: String,
    /// A digest of what had to be read.
    pub(super) meant: String,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files={} bytes={} meant={}", self.identity, self.files, self.bytes, self.meant)
    }
}

impl Done {
    fn parse(detail: &str) -> Option<Self> {
        let mut words = detail.split(' ');
        let identity = words.next()?.to_owned();
        let mut field = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
        let (files, bytes) = (field("files")?.parse().ok()?, field("bytes")?.parse().ok()?);
        Some(Self { identity, files, bytes, meant: field("meant")?.to_owned() })
    }

    /// A record that the reading of `meant` has not finished yet.
    pub(super) fn not_yet(identity: String, meant: String) -> Self {
        Self { identity, meant, files: 0, bytes: 0 }
    }

    /// The finished preload according to a record, if it is still valid.
    pub(super) fn recorded(entry: Option<&Entry>, identity: &str, meant: &str, in_boot: Option<&str>) -> Option<Self> {
        let entry = entry.filter(|entry| entry.state == EntryState::Done)?;
        let done = Self::parse(entry.detail.as_deref()?)?;
        // Without /proc, the current boot cannot be identified.
        let still = in_boot.is_none_or(|boot| entry.boot_id == boot && !boot.is_empty());
        (still && done.identity == identity && done.meant == meant).then_some(done)
    }
}

/// Records the progress.
pub(super) async fn record(state: EntryState, done: &Done, cx: &Context<'_>) -> Result<(), PreloadError> {
    let at = cx.host().clock.now().to_string();
    let entry = Entry { state, boot_id: cx.world.boot_id.clone(), at, detail: Some(done.to_string()) };
    let record = cx.world.record.apart(cx.address.as_str()).await.map_err(PreloadError::Host)?;
    record.put(cx.address.as_str(), entry).await.map_err(PreloadError::Host)
}

/// The recorded entry of this preload.
pub(super) async fn recorded(cx: &Context<'_>) -> Result<Option<Entry>, PreloadError> {
    let record = cx.world.record.apart(cx.address.as_str()).await.map_err(PreloadError::Host)?;
    Ok(record.get(cx.address.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_due_again_for_another_volume_and_where_it_was_cut_off() {
        let done = Done { files: 7, bytes: 9, ..Done::not_yet("vol-1:1".into(), "db".into()) };
        let entry = |state, detail: &str| Entry { state, boot_id: "b".into(), at: String::new(), detail: Some(detail.into()) };
        let recorded = entry(EntryState::Done, &done.to_string());
        assert_eq!(Done::recorded(Some(&recorded), "vol-1:1", "db", None), Some(done.clone()));
        assert_eq!(Done::recorded(Some(&recorded), "vol-1:1", "db", Some("b")), Some(done.clone()));
        assert_eq!(Done::recorded(Some(&recorded), "vol-1:1", "db", Some("c")), None);
        assert_eq!(Done::recorded(Some(&recorded), "vol-1:1", "index", None), None);
        assert_eq!(Done::recorded(Some(&recorded), "vol-2:1", "db", None), None);
        assert_eq!(Done::recorded(Some(&entry(EntryState::Started, &done.to_string())), "vol-1:1", "db", None), None);
        assert_eq!(Done::recorded(Some(&entry(EntryState::Done, "what is this")), "what", "", None), None);
        assert_eq!(Done::recorded(None, "vol-1:1", "db", None), None);
    }
}
