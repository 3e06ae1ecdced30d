//! Evidence: what instances leave in S3 before they go. Its format is that of `docs/reference/evidence.md`.

use jiff::Timestamp;
use serde::Deserialize;

use super::objects::Objects;
use crate::failure::Failure;
use crate::story::Evidence;

/// So many failures are read: the first of a deployment is among them.
const MOST: usize = 20;

/// What the keys end with of instances that end, well or not: no boot failed.
const OF_ENDS: &str = "-drain.json.zst";

/// What is read of one.
#[derive(Deserialize)]
struct Content {
    written_at: Timestamp,
    reason: Option<String>,
}

/// Where the evidence of one environment is.
#[derive(Debug)]
pub(crate) struct Left<'a, O> {
    pub(crate) objects: &'a O,
    pub(crate) bucket: &'a str,
    pub(crate) application: &'a str,
    pub(crate) environment: &'a str,
}

impl<O: Objects> Left<'_, O> {
    /// The evidence of failures since then, the oldest first. What cannot be read is left out.
    pub(crate) async fn since(&self, since: Timestamp) -> Result<Vec<Evidence>, Failure> {
        let prefix = format!("{}/{}/", self.application, self.environment);
        let listed = self.objects.list(&prefix).await?.into_iter();
        let of_boots = listed.filter(|one| one.modified >= since && !one.key.ends_with(OF_ENDS));
        let mut keys: Vec<String> = of_boots.map(|one| one.key).collect();
        keys.sort_unstable();
        let mut found = Vec::new();
        for key in keys {
            if found.len() == MOST {
                break;
            }
            let Some(object) = self.objects.get(&key).await? else { continue };
            if let Some(Content { written_at, reason: Some(reason) }) = read(&object.content) {
                let instance = instance(&key).unwrap_or("an instance").to_owned();
                found.push(Evidence { instance, at: written_at, reason: Some(reason), url: format!("s3://{}/{key}", self.bucket) });
            }
        }
        Ok(found)
    }
}

fn read(content: &[u8]) -> Option<Content> {
    serde_json::from_slice(&zstd::decode_all(content).ok()?).ok()
}

/// The instance that a key names: `…/HHMMSSZ-i-0a1b-BOOT-PHASE.json.zst`.
fn instance(key: &str) -> Option<&str> {
    let name = key.rsplit('/').next()?;
    let (_, rest) = name.split_once('-')?;
    let (instance, _boot) = rest.strip_suffix(".json.zst")?.rsplit_once('-')?.0.rsplit_once('-')?;
    Some(instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_names_the_instance() {
        assert_eq!(instance("shop/prod/2026/11/30/200102Z-i-0a1b-0123abcd-serve.json.zst"), Some("i-0a1b"));
        assert_eq!(instance("shop/prod/2026/11/30/note.txt"), None);
    }

    #[test]
    fn only_what_is_evidence_is_read() {
        let packed = |text: &str| zstd::encode_all(text.as_bytes(), 0).unwrap();
        let found = read(&packed(r#"{"version": 1, "written_at": "2026-11-30T20:00:00Z", "reason": "x", "report": {}}"#)).unwrap();
        assert_eq!(found.reason.as_deref(), Some("x"));
        assert!(read(&packed("[]")).is_none() && read(b"no").is_none());
    }
}
