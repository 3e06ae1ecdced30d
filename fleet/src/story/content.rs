//! Reads the evidence that instances write, in the format of `docs/reference/evidence.md`.

use std::collections::BTreeMap;
use std::io::Read as _;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value as Json;

use super::happened::Evidence;

/// Version of the format that is supported.
const VERSION: u64 = 1;

/// Largest unpacked size, in bytes. Packed, ingot writes at most 1 MiB.
const LARGEST: u64 = 64 << 20;

/// Suffix of the keys of terminations, which are not failed boots.
const OF_ENDS: &str = "-drain.json.zst";

/// A parsed key: `…/YYYY/MM/DD/HHMMSSZ-INSTANCE-BOOT-PHASE.json.zst`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) instance: String,
    /// When the boot or the termination began.
    pub(crate) began: Timestamp,
    /// Whether it belongs to the termination of an instance.
    pub(crate) is_of_end: bool,
}

/// Content of an object.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Content {
    pub(crate) moment: String,
    pub(crate) written_at: Timestamp,
    pub(crate) reason: Option<String>,
    /// The whole report of the boot.
    #[serde(default)]
    pub(crate) report: Json,
    #[serde(default)]
    pub(crate) journal: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) journal_is_cut: bool,
    #[serde(default)]
    pub(crate) journal_left_out: Option<String>,
}

/// The part of a boot's report that is used.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Report {
    pub(crate) error: Option<Trouble>,
    pub(crate) steps: Vec<Step>,
    pub(crate) warnings: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Step {
    pub(crate) address: String,
    pub(crate) outcome: String,
    pub(crate) error: Option<Trouble>,
    pub(crate) skipped_for: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Trouble {
    pub(crate) message: String,
    pub(crate) causes: Vec<String>,
    pub(crate) hint: Option<String>,
}

/// Why an object cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unread {
    #[error("a newer ingot wrote it (version {0} of the format)")]
    Newer(u64),
    #[error("it is not evidence: {0}")]
    Foreign(String),
}

impl Key {
    /// Returns `None` if it is not a key of evidence.
    pub(crate) fn read(key: &str) -> Option<Self> {
        let mut parts = key.rsplitn(5, '/');
        let (name, day, month, year) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let (time, rest) = name.split_once("Z-")?;
        let (instance, _boot) = rest.strip_suffix(".json.zst")?.rsplit_once('-')?.0.rsplit_once('-')?;
        let began: DateTime = format!("{year}-{month}-{day}T{time}").parse().ok()?;
        let began = began.to_zoned(TimeZone::UTC).ok()?.timestamp();
        Some(Self { instance: instance.to_owned(), began, is_of_end: key.ends_with(OF_ENDS) })
    }
}

impl Content {
    /// Returns the part of the report that is shown; empty if the report has another format.
    pub(crate) fn report(&self) -> Report {
        Report::deserialize(&self.report).unwrap_or_default()
    }

    pub(crate) fn read(packed: &[u8]) -> Result<Self, Unread> {
        #[derive(Deserialize)]
        struct Head {
            version: u64,
        }
        let foreign = |why: String| Unread::Foreign(why);
        let mut plain = Vec::new();
        let decoder = zstd::Decoder::new(packed).map_err(|error| foreign(error.to_string()))?;
        let read = decoder.take(LARGEST + 1).read_to_end(&mut plain).map_err(|error| foreign(error.to_string()))?;
        if read as u64 > LARGEST {
            return Err(foreign(format!("it unpacks to more than {} MiB", LARGEST >> 20)));
        }
        let head: Head = serde_json::from_slice(&plain).map_err(|error| foreign(error.to_string()))?;
        if head.version > VERSION {
            return Err(Unread::Newer(head.version));
        }
        serde_json::from_slice(&plain).map_err(|error| foreign(error.to_string()))
    }
}

impl Evidence {
    /// Returns the failure that an object reports, or `None` if the boot did not fail.
    pub(crate) fn of(key: &Key, content: &Content, url: String) -> Option<Self> {
        let reason = content.reason.clone().filter(|_| !key.is_of_end)?;
        Some(Self { instance: key.instance.clone(), began: key.began, at: content.written_at, reason, url, deployment: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(text: &str) -> Vec<u8> {
        zstd::encode_all(text.as_bytes(), 0).unwrap()
    }

    #[test]
    fn a_key_says_which_instance_and_when() {
        let key = Key::read("shop/prod/2026/11/30/200102Z-i-0a1b-0123abcd-serve.json.zst").unwrap();
        assert_eq!((key.instance.as_str(), key.began.to_string().as_str(), key.is_of_end), ("i-0a1b", "2026-11-30T20:01:02Z", false));
        assert!(Key::read("shop/prod/2026/11/30/200102Z-i-0a1b-0123abcd-drain.json.zst").unwrap().is_of_end);
        for other in ["shop/prod/2026/11/30/note.txt", "200102Z-i-0a1b-01-serve.json.zst", "a/2026/13/30/200102Z-i-0a1b-01-serve.json.zst"]
        {
            assert_eq!(Key::read(other), None, "{other}");
        }
    }

    #[test]
    fn a_newer_format_is_distinguished_from_foreign_content() {
        let good = r#"{"version": 1, "moment": "failure", "written_at": "2026-11-30T20:00:00Z", "reason": "x", "report": {"more": 1}}"#;
        assert_eq!(Content::read(&packed(good)).unwrap().reason.as_deref(), Some("x"));
        assert_eq!(Content::read(&packed(r#"{"version": 2, "moments": []}"#)).unwrap_err(), Unread::Newer(2));
        for foreign in [&packed("[]")[..], b"no", &packed(&good[..40]), &packed(good)[..20]] {
            assert!(matches!(Content::read(foreign), Err(Unread::Foreign(_))));
        }
    }

    #[test]
    fn a_small_object_cannot_fill_the_memory() {
        let bomb = zstd::encode_all(std::io::repeat(b' ').take(LARGEST + 2), 1).unwrap();
        assert!(matches!(Content::read(&bomb), Err(Unread::Foreign(why)) if why.contains("64 MiB")));
    }

    #[test]
    fn a_terminated_instance_has_not_failed() {
        let content = Content::read(&packed(
            r#"{"version": 1, "moment": "drain", "written_at": "2026-11-30T20:00:00Z", "reason": "Auto Scaling terminates it", "report": {}}"#,
        ));
        let content = content.unwrap();
        let of = |name: &str| {
            let key = Key::read(&format!("shop/prod/2026/11/30/200000Z-i-0a-0b-{name}.json.zst")).unwrap();
            Evidence::of(&key, &content, String::new())
        };
        assert!(of("drain").is_none() && of("serve").is_some());
    }
}
