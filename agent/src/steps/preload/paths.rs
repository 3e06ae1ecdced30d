//! The paths of a mount that are read first.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;

use serde_json::json;

use super::done::{Done, record, recorded};
use super::fields::Preload;
use super::reading::{PATIENCE, advanced, failures, is_taken};
use super::shown::{Shown, shown};
use super::trouble::PreloadError;
use crate::digest::Sha256;
use crate::failure::{Failure, Objection};
use crate::host::reading::FilesToRead;
use crate::host::reading::selection::Selection;
use crate::host::state::EntryState;
use crate::step::amount::Gauge;
use crate::step::{Context, Order, Outputs, Progress, Shape, Step};
use crate::text::Text;

/// Size limit in bytes; even a list of a million paths is smaller.
const LIST_LIMIT: u64 = 256 << 20;

#[derive(Debug)]
pub(super) struct PreloadPaths {
    pub(super) mount: PathBuf,
    pub(super) preload: Rc<Preload>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// As written in the document.
    what: Vec<String>,
    mount: PathBuf,
    shown: Shown,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read {} below {}", self.what.join(", "), self.mount.display())
    }
}

impl Step for PreloadPaths {
    type Change = Change;
    type Error = PreloadError;

    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String {
        self.what(shown).join(", ")
    }

    fn shape<'a>(&'a self, _key: &'a str) -> Shape<'a> {
        Shape {
            texts: self.preload.paths.iter().collect(),
            offers: Some(&["bytes", "files"]),
            order: Order::Beside,
            patience: PATIENCE,
            ..Shape::default()
        }
    }

    fn objections(&self, _key: &str, secret: bool) -> Vec<Objection> {
        let plain = self.preload.paths.iter().filter(|path| path.is_plain());
        let wrong = plain.filter_map(|path| self.pattern(path.raw()).err());
        let wrong = wrong.map(|error| Objection { message: error.to_string(), hint: error.hint().unwrap_or_default() });
        let printed =
            secret.then(|| Objection::new("the paths to read first are printed, and one of them holds a secret", "write plain paths"));
        wrong.chain(printed).collect()
    }

    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Change>, PreloadError> {
        let shown = shown(&self.mount, cx).await?;
        // The order matters: a process that is still reading has not recorded yet that it is done.
        if is_taken(cx).await? || self.done(&shown, cx).await?.is_some() {
            return Ok(Vec::new());
        }
        Ok(vec![Change { what: self.what(&|text| cx.shown(text)), mount: self.mount.clone(), shown }])
    }

    async fn apply(&self, change: Change, cx: &Context<'_>) -> Result<(), PreloadError> {
        let mut patterns = self.patterns(cx)?;
        let written = patterns.len();
        patterns.extend(self.listed(cx).await?);
        // Each pattern has already been parsed once.
        let selection = Selection::parse(patterns.iter().map(String::as_str)).map_err(|(at, why)| self.wrong(&patterns[at], why))?;
        let Some(_claim) = cx.host().reading.claim(cx.address.as_str()).await.map_err(PreloadError::Host)? else { return Ok(()) };
        let Shown { device, identity } = change.shown;
        let mut done = Done::not_yet(identity, self.meant(&patterns[..written]));
        record(EntryState::Started, &done, cx).await?;
        let wanted = FilesToRead {
            at: self.mount.clone(),
            selection,
            device,
            into_cache: self.preload.into_cache,
            in_flight: self.preload.in_flight.into(),
        };
        let gauge = RefCell::new(Gauge::begin(cx.host().clock.elapsed()));
        let read = cx.host().reading.files(&wanted, &|bytes, of| advanced(&gauge, bytes, of, cx)).await.map_err(PreloadError::Host)?;
        let (named, of_list): (Vec<usize>, Vec<usize>) = read.unmatched.iter().partition(|at| **at < written);
        for at in named {
            cx.progress(Progress::Warning(format!("{} matches no file below {}", patterns[at], self.mount.display())));
        }
        if let (false, Some(list)) = (of_list.is_empty(), &self.preload.list) {
            let (gone, all) = (of_list.len(), patterns.len() - written);
            cx.progress(Progress::Warning(format!("{gone} of the {all} paths in {} do not exist", list.display())));
        }
        failures(&read, cx)?;
        (done.files, done.bytes) = (read.files, read.bytes);
        record(EntryState::Done, &done, cx).await
    }

    async fn outputs(&self, cx: &Context<'_>) -> Result<Outputs, PreloadError> {
        let shown = shown(&self.mount, cx).await?;
        let (files, bytes) = self.done(&shown, cx).await?.map_or((0, 0), |done| (done.files, done.bytes));
        Ok(Outputs { value: json!({ "files": files, "bytes": bytes }), stamp: None })
    }
}

impl PreloadPaths {
    async fn done(&self, shown: &Shown, cx: &Context<'_>) -> Result<Option<Done>, PreloadError> {
        let in_boot = self.preload.into_cache.then_some(cx.world.boot_id.as_str());
        Ok(Done::recorded(recorded(cx).await?.as_ref(), &shown.identity, &self.meant(&self.patterns(cx)?), in_boot))
    }

    /// Changes with what has to be read. It is a digest because paths can be many, and contain any characters.
    fn meant(&self, patterns: &[String]) -> String {
        let meant = json!({ "paths": patterns, "list": self.preload.list }).to_string();
        Sha256::of(meant.as_bytes()).short(8)
    }

    fn patterns(&self, cx: &Context<'_>) -> Result<Vec<String>, PreloadError> {
        let rendered = self.preload.paths.iter().map(|path| cx.render(path).map_err(PreloadError::Render));
        rendered.map(|path| self.pattern(path?.expose())).collect()
    }

    /// What is read, for display.
    fn what(&self, shown: &dyn Fn(&Text) -> String) -> Vec<String> {
        let list = self.preload.list.iter().map(|list| format!("the paths in {}", list.display()));
        self.preload.paths.iter().map(shown).chain(list).collect()
    }

    /// A path or pattern, made relative to the mount.
    fn pattern(&self, path: &str) -> Result<String, PreloadError> {
        let mount = self.mount.to_string_lossy();
        let below = if path.starts_with('/') {
            let below = path.strip_prefix(mount.trim_end_matches('/')).filter(|below| below.is_empty() || below.starts_with('/'));
            below.ok_or_else(|| self.wrong(path, "it is outside".into()))?.trim_start_matches('/')
        } else {
            path
        };
        Selection::parse([below]).map_err(|(_, why)| self.wrong(path, why))?;
        Ok(below.to_owned())
    }

    fn wrong(&self, path: &str, why: String) -> PreloadError {
        PreloadError::Path { path: path.to_owned(), mount: self.mount.clone(), why }
    }

    /// The paths in the list. A missing list, or a path that leaves the mount, does not keep the others from being
    /// read.
    async fn listed(&self, cx: &Context<'_>) -> Result<Vec<String>, PreloadError> {
        let Some(list) = &self.preload.list else { return Ok(Vec::new()) };
        let Some(content) = cx.host().files.read(list, LIST_LIMIT).await.map_err(PreloadError::Host)? else {
            cx.progress(Progress::Warning(format!("the list {} does not exist", list.display())));
            return Ok(Vec::new());
        };
        let text = String::from_utf8_lossy(&content);
        let lines = text.lines().filter(|line| !line.is_empty());
        let (paths, wrong): (Vec<_>, Vec<_>) = lines.map(|line| self.pattern(&Selection::literally(line))).partition(Result::is_ok);
        if let Some(Err(first)) = wrong.first() {
            cx.progress(Progress::Warning(format!("{} lines of {} name no file below the mount: {first}", wrong.len(), list.display())));
        }
        Ok(paths.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preload(fields: serde_json::Value) -> PreloadPaths {
        PreloadPaths { mount: "/srv/shop".into(), preload: Rc::new(serde_json::from_value(fields).unwrap()) }
    }

    fn objections(paths: &[&str]) -> String {
        let objections = preload(json!(paths)).objections("", false);
        objections.into_iter().map(|objection| format!("{} ({})", objection.message, objection.hint)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn refuses_paths_that_leave_the_mount() {
        assert_eq!(objections(&["db", "index/*.idx", "/srv/shop/db", "/srv/shop", ".", "{{values.shard}}"]), "");
        insta::assert_snapshot!(objections(&["../etc", "/etc", "/srv/shopping", "a[", "db"]), @r"
        `../etc` is not a path or pattern below /srv/shop: it leaves the directory through `..` (write it relative to /srv/shop)
        `/etc` is not a path or pattern below /srv/shop: it is outside (write it relative to /srv/shop)
        `/srv/shopping` is not a path or pattern below /srv/shop: it is outside (write it relative to /srv/shop)
        `a[` is not a path or pattern below /srv/shop: invalid range pattern (write it relative to /srv/shop)
        ");
    }

    /// Anybody who can read the report could read the secret.
    #[test]
    fn refuses_secrets_since_paths_are_printed() {
        let found = preload(json!(["db", "{{secrets.app.shard}}"])).objections("", true);
        assert_eq!(found[0].message, "the paths to read first are printed, and one of them holds a secret");
    }

    #[test]
    fn is_relative_to_the_mount() {
        let preload = preload(json!(["db"]));
        for (path, below) in [("db", "db"), ("/srv/shop/db", "db"), ("/srv/shop", ""), ("/srv/shop/", "")] {
            assert_eq!(preload.pattern(path).unwrap(), below);
        }
        let root = PreloadPaths { mount: "/".into(), ..preload };
        assert_eq!(root.pattern("/usr/lib").unwrap(), "usr/lib");
    }

    #[test]
    fn says_what_it_reads() {
        let preload = preload(json!({ "paths": ["db", "index/*.idx"], "list": "/etc/ingot/preload/shop.list" }));
        let shown = Shown { device: None, identity: String::new() };
        let change = Change { what: preload.what(&|text| text.raw().to_owned()), mount: preload.mount.clone(), shown };
        assert_eq!(change.to_string(), "read db, index/*.idx, the paths in /etc/ingot/preload/shop.list below /srv/shop");
    }
}
