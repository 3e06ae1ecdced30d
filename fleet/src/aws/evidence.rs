//! Evidence: what instances leave in S3 before they end. [`crate::story`] interprets it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};

use super::objects::{Listed, Objects};
use crate::failure::Failure;
use crate::story::{self, Content, Evidence, Key, Unread};

/// How many failures are read at most, and how many objects in parallel. The operator is waiting for them.
pub(crate) const MOST: usize = 50;
const AT_ONCE: usize = 8;

/// How many keys are searched at most, since the wanted instance may have left nothing.
const KEYS: usize = 20_000;

/// Number of parts of a key, after the environment, that name the day: year, month and day.
const DAY: usize = 3;

/// How far the clock of an instance, which names the keys, may be off.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// Objects already read, by key and time, and the failure that each reports.
pub(crate) type Known = RefCell<BTreeMap<(String, Timestamp), Option<Evidence>>>;

/// The evidence of one environment.
#[derive(Debug)]
pub(crate) struct Left<'a, O> {
    pub(crate) objects: &'a O,
    pub(crate) bucket: &'a str,
    pub(crate) application: &'a str,
    pub(crate) environment: &'a str,
}

/// An object left by a boot.
#[derive(Debug)]
pub(crate) struct Boot {
    name: String,
    pub(crate) key: Key,
    modified: Timestamp,
}

/// The content of such an object.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) key: Key,
    pub(crate) url: String,
    pub(crate) content: Result<Content, Unread>,
}

impl<O: Objects> Left<'_, O> {
    fn prefix(&self) -> String {
        format!("{}/{}/", self.application, self.environment)
    }

    fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }

    /// Returns the boots that left evidence since `since`, oldest first.
    pub(crate) async fn boots(&self, since: Timestamp) -> Result<Vec<Boot>, Failure> {
        let prefix = self.prefix();
        // A key names the start of its boot, and a boot takes at most half an hour.
        let first = since.checked_sub(SKEW).unwrap_or(since);
        let mut listed = self.objects.list_after(&prefix, &format!("{prefix}{}", first.strftime("%Y/%m/%d/%H%M%S"))).await?;
        listed.retain(|one| one.modified >= since);
        listed.sort_by(|a, b| a.key.cmp(&b.key));
        let boot = |one: Listed| Some(Boot { key: boot(&one.key)?, name: one.key, modified: one.modified });
        Ok(listed.into_iter().filter_map(boot).collect())
    }

    /// Returns the failures that these boots report. Unreadable objects are left out.
    pub(crate) async fn failures(&self, boots: Vec<&Boot>, known: &Known) -> Result<Vec<Evidence>, Failure> {
        let mut found = Vec::new();
        let mut read = stream::iter(boots).map(|boot| self.known_failure(boot, known)).buffered(AT_ONCE);
        while let Some(failure) = read.try_next().await? {
            found.extend(failure);
            if found.len() == MOST {
                break;
            }
        }
        Ok(found)
    }

    async fn known_failure(&self, Boot { name, key, modified }: &Boot, known: &Known) -> Result<Option<Evidence>, Failure> {
        let at = (name.clone(), *modified);
        let before = known.borrow().get(&at).cloned();
        if let Some(failure) = before {
            return Ok(failure);
        }
        let failure = self.failure(name, key).await?;
        known.borrow_mut().insert(at, failure.clone());
        Ok(failure)
    }

    async fn failure(&self, name: &str, key: &Key) -> Result<Option<Evidence>, Failure> {
        let Some(object) = self.objects.get(name).await? else { return Ok(None) };
        Ok(Content::read(&object.content).ok().and_then(|content| Evidence::of(key, &content, self.url(name))))
    }

    /// Returns the evidence of boots day by day, newest first. Evidence of terminations is left out.
    pub(crate) fn days(&self) -> Days<'_, O> {
        Days { left: self, open: vec![self.prefix()], most: KEYS }
    }

    /// Returns whether a boot of this instance left evidence.
    pub(crate) async fn has(&self, instance: &str) -> Result<bool, Failure> {
        let mut days = self.days();
        while let Some(keys) = days.next().await? {
            if keys.iter().any(|(_, key)| key.instance == instance) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the evidence of a boot. Returns `None` if it is gone or in another format.
    pub(crate) async fn read_boot(&self, Boot { name, key, .. }: &Boot) -> Result<Option<story::Boot>, Failure> {
        let Some(object) = self.objects.get(name).await? else { return Ok(None) };
        Ok(Content::read(&object.content).ok().and_then(|content| story::Boot::of(key, &content)))
    }

    /// Reads one object. Returns `None` if it is gone.
    pub(crate) async fn read(&self, name: &str, key: Key) -> Result<Option<Found>, Failure> {
        let object = self.objects.get(name).await?;
        Ok(object.map(|object| Found { key, url: self.url(name), content: Content::read(&object.content) }))
    }
}

/// Iterates over the evidence. A day is listed only when it is requested, so old evidence costs nothing.
#[derive(Debug)]
pub(crate) struct Days<'a, O> {
    left: &'a Left<'a, O>,
    /// Prefixes of years, months and days still to visit, the next one last.
    open: Vec<String>,
    /// Number of keys that may still be searched.
    most: usize,
}

impl<O: Objects> Days<'_, O> {
    /// Returns the keys of the next day and what they say, newest first, or `None` after the last day. A day may be
    /// empty.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<(String, Key)>>, Failure> {
        let own = self.left.prefix();
        while let Some(prefix) = self.open.pop_if(|_| self.most > 0) {
            if prefix[own.len()..].matches('/').count() == DAY {
                let listed = self.left.objects.list(&prefix).await?.into_iter();
                let mut found: Vec<(String, Key)> = listed.filter_map(|one| Some((one.key.clone(), boot(&one.key)?))).collect();
                found.sort_by(|(_, a), (_, b)| (b.began, &b.instance).cmp(&(a.began, &a.instance)));
                self.most = self.most.saturating_sub(found.len());
                return Ok(Some(found));
            }
            let below = self.left.objects.below(&prefix).await?.into_iter();
            let of_time = below.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
            self.open.extend(of_time.map(|name| format!("{prefix}{name}/")));
        }
        Ok(None)
    }

    /// Returns whether older evidence was skipped because there is too much.
    pub(crate) fn is_cut(&self) -> bool {
        !self.open.is_empty()
    }
}

/// Parses the key of a boot. Instances also leave evidence when they are terminated; those keys are skipped.
fn boot(key: &str) -> Option<Key> {
    Key::read(key).filter(|key| !key.is_of_end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::fake::Directory;

    fn packed(version: u32, at: Timestamp, reason: &str) -> Vec<u8> {
        let text = format!(r#"{{"version": {version}, "moment": "failure", "written_at": "{at}", "reason": {reason}, "report": {{}}}}"#);
        zstd::encode_all(text.as_bytes(), 0).unwrap()
    }

    /// A key with the current time.
    fn key(instance: &str, phase: &str) -> String {
        format!("shop/prod/{}-{instance}-0a0b-{phase}.json.zst", Timestamp::now().strftime("%Y/%m/%d/%H%M%SZ"))
    }

    async fn since_then(left: &Left<'_, Directory>, since: Timestamp, known: &Known) -> Vec<Evidence> {
        left.failures(left.boots(since).await.unwrap().iter().collect(), known).await.unwrap()
    }

    #[tokio::test]
    async fn only_failures_of_boots_are_read() {
        let (root, now) = (tempfile::tempdir().unwrap(), Timestamp::now());
        let objects = Directory::new(root.path());
        objects.place(&key("i-1", "serve"), &packed(1, now, r#""services.a: no""#));
        objects.place(&key("i-2", "drain"), &packed(1, now, r#""Auto Scaling terminates it""#));
        objects.place(&key("i-3", "serve"), &packed(1, now, "null"));
        objects.place(&key("i-4", "serve"), &packed(2, now, r#""of tomorrow""#));
        objects.place("shop/prod/2026/11/30/note.txt", b"no");
        let left = Left { objects: &objects, bucket: "e", application: "shop", environment: "prod" };
        let (since, known) = (now - SignedDuration::from_mins(1), Known::default());
        let found = since_then(&left, since, &known).await;
        assert_eq!(found.iter().map(|one| (one.instance.as_str(), one.reason.as_str())).collect::<Vec<_>>(), [("i-1", "services.a: no")]);
        assert!(since_then(&left, now + SignedDuration::from_mins(1), &known).await.is_empty(), "from before");
        let keys = left.days().next().await.unwrap().unwrap();
        assert_eq!(keys.len(), 3);
        let (name, newer) = keys.into_iter().find(|(_, key)| key.instance == "i-4").unwrap();
        assert_eq!(left.read(&name, newer).await.unwrap().unwrap().content.unwrap_err(), Unread::Newer(2));
    }

    #[tokio::test]
    async fn objects_are_read_only_once() {
        let root = tempfile::tempdir().unwrap();
        let objects = Directory::new(root.path());
        let at = key("i-1", "serve");
        objects.place(&at, &packed(1, Timestamp::now(), r#""x""#));
        let left = Left { objects: &objects, bucket: "e", application: "shop", environment: "prod" };
        let (since, known) = (Timestamp::now() - SignedDuration::from_mins(1), Known::default());
        assert_eq!(since_then(&left, since, &known).await.len(), 1);
        // Content without a new time is not read again.
        let file = root.path().join(&at);
        let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
        objects.place(&at, b"no evidence");
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
        assert_eq!(since_then(&left, since, &known).await.len(), 1, "it was read again");
        objects.place(&at, &packed(1, Timestamp::now(), "null"));
        assert_eq!(since_then(&left, since, &known).await, [], "the end of the boot is written over its failure");
    }

    #[tokio::test]
    async fn one_call_lists_the_new_evidence_however_much_is_old() {
        let (root, now) = (tempfile::tempdir().unwrap(), Timestamp::now());
        let objects = Directory::new(root.path());
        let old = (now - SignedDuration::from_hours(3)).strftime("%Y/%m/%d/%H%M%SZ").to_string();
        objects.place(&format!("shop/prod/{old}-i-1-0a0b-serve.json.zst"), &packed(1, now, r#""old""#));
        objects.place(&key("i-2", "serve"), &packed(1, now, r#""new""#));
        let left = Left { objects: &objects, bucket: "e", application: "shop", environment: "prod" };
        let found = left.boots(now - SignedDuration::from_mins(1)).await.unwrap();
        let instances: Vec<&str> = found.iter().map(|boot| boot.key.instance.as_str()).collect();
        assert_eq!(instances, ["i-2"], "by its key, not by its time");
    }

    #[tokio::test]
    async fn old_evidence_is_listed_only_on_request() {
        let root = tempfile::tempdir().unwrap();
        let objects = Directory::new(root.path());
        for (day, instance) in
            [("2025/12/31", "i-1"), ("2026/09/30", "i-2"), ("2026/10/01", "i-3"), ("2026/10/01", "i-4"), ("notes/x/y", "i-5")]
        {
            objects.place(&format!("shop/prod/{day}/10000{}Z-{instance}-0a0b-serve.json.zst", &instance[2..]), b"");
        }
        let left = Left { objects: &objects, bucket: "e", application: "shop", environment: "prod" };
        let (mut days, mut found) = (left.days(), Vec::new());
        while let Some(day) = days.next().await.unwrap() {
            found.push(day.into_iter().map(|(_, key)| key.instance).collect::<Vec<_>>().join(" "));
            assert_eq!(objects.lists.get(), found.len(), "a day at a time");
        }
        assert_eq!((found.join(", "), days.is_cut()), ("i-4 i-3, i-2, i-1".to_owned(), false), "the newest first");
        assert!(left.has("i-1").await.unwrap() && !left.has("i-9").await.unwrap());
        let mut few = Days { most: 2, ..left.days() };
        assert!(few.next().await.unwrap().is_some() && few.next().await.unwrap().is_none() && few.is_cut(), "so many keys are enough");
    }
}
