//! `R.json`, the object that completes a release: an archive without it belongs to an upload that was abandoned or is
//! under way.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::name::Name;
use crate::digest::Sha256;

/// The schema that this version writes, and the newest one that it reads.
const SCHEMA: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    schema: u32,
    pub(crate) application: String,
    pub(crate) name: Name,
    /// Digest of the archive.
    pub(crate) sha256: Sha256,
    /// Length of the archive.
    pub(crate) bytes: u64,
    pub(crate) format: String,
    /// What it was packed from, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<Revision>,
    pub(crate) by: String,
    pub(crate) at: Timestamp,
    /// Unique to each attempt: by it, an attempt whose answer got lost recognizes its own release.
    pub(crate) attempt: String,
}

/// Who makes a release, when, and by which attempt.
#[derive(Debug, Clone)]
pub(crate) struct Maker {
    pub(crate) by: String,
    pub(crate) at: Timestamp,
    pub(crate) attempt: String,
}

/// A git revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revision {
    pub(crate) commit: String,
    /// Whether tracked files had changes that were not committed.
    pub(crate) dirty: bool,
}

/// Why an object is not a manifest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoManifest {
    #[error("it was written by a newer ingot-fleet (schema {0})")]
    Newer(u32),
    #[error("it is not the description of a release")]
    Foreign(#[source] serde_json::Error),
    #[error("it describes {0}")]
    Another(String),
}

impl Manifest {
    pub(crate) fn new(application: &str, name: Name, sha256: Sha256, bytes: u64, format: &str, maker: Maker) -> Self {
        let Maker { by, at, attempt } = maker;
        let (application, format) = (application.to_owned(), format.to_owned());
        Self { schema: SCHEMA, application, name, sha256, bytes, format, revision: None, by, at, attempt }
    }

    /// Reads the manifest of one release.
    pub(crate) fn read(content: &[u8], application: &str, name: &Name) -> Result<Self, NoManifest> {
        #[derive(Deserialize)]
        struct Head {
            schema: u32,
        }
        let head: Head = serde_json::from_slice(content).map_err(NoManifest::Foreign)?;
        if head.schema > SCHEMA {
            return Err(NoManifest::Newer(head.schema));
        }
        let found: Self = serde_json::from_slice(content).map_err(NoManifest::Foreign)?;
        match found.application == application && found.name == *name {
            true => Ok(found),
            false => Err(NoManifest::Another(format!("{} of {}", found.name, found.application))),
        }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut content = serde_json::to_vec_pretty(self).expect("a manifest has only strings for keys");
        content.push(b'\n');
        content
    }

    /// The form that `ingot boot --release` takes.
    pub(crate) fn pinned(&self) -> String {
        format!("{}@sha256:{}", self.name, self.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let at = "2026-11-30T23:00:00Z".parse().unwrap();
        let maker = Maker { by: "arn:aws:iam::1:user/ann".into(), at, attempt: "1".into() };
        let mut made = Manifest::new("shop", "v1".parse().unwrap(), Sha256::of(b""), 7, "tar.zst", maker);
        made.revision = Some(Revision { commit: "deadbee".into(), dirty: false });
        made
    }

    #[test]
    fn reads_what_it_writes() {
        let (made, name) = (manifest(), "v1".parse().unwrap());
        assert_eq!(Manifest::read(&made.write(), "shop", &name).unwrap(), made);
    }

    #[test]
    fn an_object_that_is_not_a_manifest_is_refused() {
        let read = |text: &str, name: &str| Manifest::read(text.as_bytes(), "shop", &name.parse().unwrap()).unwrap_err();
        let text = String::from_utf8(manifest().write()).unwrap();
        assert!(matches!(read("{\"sch", "v1"), NoManifest::Foreign(_)));
        assert!(matches!(read("{\"schema\": 2}", "v1"), NoManifest::Newer(2)));
        assert!(matches!(read(&text.replace("\"by\"", "\"why\""), "v1"), NoManifest::Foreign(_)));
        assert_eq!(read(&text, "v2").to_string(), "it describes v1 of shop");
    }
}
