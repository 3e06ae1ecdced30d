//! The attestation of a sealed image: `/etc/ingot/attestation.json`.
//!
//! It only exists in an image without findings. It contains names and digests, no contents. `ingot status` shows it on
//! an instance, together with what has changed since.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::host::environment::Build;
use crate::host::{Files, HostError};
use crate::json::of_bytes;
use crate::seal::finding::Allowed;
use crate::seal::secrets::Scan;
use crate::seal::setup::{BINARY, BINARY_LIMIT, Setup};
use crate::sorting::Sort as _;

/// The path of the attestation in an image.
pub(crate) const PATH: &str = "/etc/ingot/attestation.json";

/// The version of the format.
const VERSION: u32 = 1;

const SIZE_LIMIT: u64 = 16 << 20;

/// The attestation of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attestation {
    version: u32,
    /// The version of ingot that sealed the image.
    ingot: String,
    /// In UTC, to the second.
    sealed_at: String,
    os: Os,
    #[serde(default)]
    kernels: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    architecture: Option<String>,
    #[serde(default)]
    build: BuildOf,
    scanned: Scanned,
    /// SHA-256 in hexadecimal of the files that decide how an instance boots.
    sha256: BTreeMap<PathBuf, String>,
    #[serde(default)]
    allowed: Vec<Allowed>,
    /// What `--scrub` removed.
    #[serde(default)]
    removed: Vec<PathBuf>,
}

/// From /etc/os-release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Os {
    id: Option<String>,
    version_id: Option<String>,
    pretty_name: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct BuildOf {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    git_revision: Option<String>,
}

/// What was searched for secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Scanned {
    files: u64,
    bytes: u64,
    /// The number of rules in each rule set.
    #[serde(default)]
    rules: BTreeMap<String, usize>,
}

/// The facts for an attestation that are not read from the image.
pub(crate) struct Evidence<'a> {
    pub(crate) now: jiff::Timestamp,
    pub(crate) build: &'a Build,
    pub(crate) scan: &'a Scan,
    pub(crate) setup: &'a Setup,
    pub(crate) allowed: &'a [Allowed],
    pub(crate) removed: &'a [PathBuf],
}

impl Attestation {
    /// Examines the image and computes digests.
    pub(crate) async fn of(evidence: Evidence<'_>, files: &dyn Files) -> Result<Self, HostError> {
        let Evidence { now, build, scan, setup, allowed, removed } = evidence;
        let mut sha256 = BTreeMap::new();
        let binary = PathBuf::from(BINARY);
        for path in setup.layers.iter().chain(&setup.templates).chain(&setup.units).chain([&binary]) {
            if let Some(digest) = digest(path, files).await? {
                sha256.insert(path.clone(), digest);
            }
        }
        Ok(Self {
            version: VERSION,
            ingot: env!("CARGO_PKG_VERSION").into(),
            sealed_at: jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string(),
            os: os(files).await?,
            kernels: kernels(files).await?,
            architecture: setup.architecture.clone(),
            build: BuildOf { name: build.name.clone(), source_image: build.source_image.clone(), git_revision: build.git_revision.clone() },
            scanned: Scanned { files: scan.files, bytes: scan.bytes, rules: scan.rules.clone() },
            sha256,
            allowed: allowed.to_vec(),
            removed: removed.to_vec(),
        })
    }

    /// Reads the attestation of an image. `None` if there is none that can be read: it is only for
    /// people, so that is not an error.
    pub(crate) async fn read(files: &dyn Files) -> Option<Self> {
        let bytes = files.read(Path::new(PATH), SIZE_LIMIT).await.ok()??;
        of_bytes(&bytes).ok()
    }

    /// The files that have changed since the image was sealed.
    pub(crate) async fn changed(&self, files: &dyn Files) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for (path, sealed) in &self.sha256 {
            // A file that may not be read does not count as changed.
            match digest(path, files).await {
                Ok(now) if now.as_ref() != Some(sealed) => changed.push(path.clone()),
                _ => {}
            }
        }
        changed
    }

    /// The attestation in one line.
    pub(crate) fn summary(&self) -> String {
        let os = [&self.os.id, &self.os.version_id].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
        let build = self.build.name.as_ref().map_or_else(String::new, |name| format!(", build {name}"));
        format!("sealed {} by ingot {}, {}{build}", self.sealed_at, self.ingot, if os.is_empty() { "unknown system" } else { &os })
    }
}

/// The SHA-256 of a file, in hexadecimal. `None` if the file does not exist.
async fn digest(path: &Path, files: &dyn Files) -> Result<Option<String>, HostError> {
    let content = files.read(path, BINARY_LIMIT).await?;
    Ok(content.map(|content| Sha256::of(&content).to_string()))
}

/// The versions of kernels that can be booted, or that have modules.
async fn kernels(files: &dyn Files) -> Result<Vec<String>, HostError> {
    let mut versions = files.list(Path::new("/lib/modules")).await?;
    let images = files.list(Path::new("/boot")).await?;
    versions.extend(images.iter().filter_map(|name| name.strip_prefix("vmlinuz-")).map(str::to_owned));
    versions.order();
    versions.dedup();
    Ok(versions)
}

async fn os(files: &dyn Files) -> Result<Os, HostError> {
    for path in ["/etc/os-release", "/usr/lib/os-release"] {
        if let Some(content) = files.read(Path::new(path), 1 << 20).await? {
            return Ok(os_of(&String::from_utf8_lossy(&content)));
        }
    }
    Ok(Os::default())
}

/// Source: os-release(5).
fn os_of(text: &str) -> Os {
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.trim().trim_matches(['"', '\'']).to_owned())
    };
    Os { id: field("ID"), version_id: field("VERSION_ID"), pretty_name: field("PRETTY_NAME") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_system_calls_itself() {
        let os = os_of("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n");
        assert_eq!((os.id.as_deref(), os.version_id.as_deref()), (Some("debian"), Some("12")));
    }
}
