//! What exists of a bundle on the machine, and what has to be done about it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::change::Change;
use super::release::{self, Layout, Mark, Release};
use super::trouble::BundleError;
use crate::gather::Gather as _;
use crate::host::{Attributes, FileKind};
use crate::json::of_bytes;
use crate::sorting::Sort as _;
use crate::step::{Context, InForce};
use crate::steps::application;

/// Size limit of a mark in bytes; real marks are far smaller.
const MARK_LIMIT: u64 = 64 << 10;

/// What exists on the machine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The target of `current`.
    pub(super) current: Option<PathBuf>,
    /// Whether something other than a link is at the path of `current`.
    pub(super) is_blocked: bool,
    /// The marked releases, by version.
    pub(super) marks: BTreeMap<String, Marked>,
    /// Directories that were being created.
    pub(super) staged: Vec<PathBuf>,
    /// Releases that applications run.
    pub(super) in_use: BTreeSet<PathBuf>,
    /// Releases that a reboot may go back to while another one is tried.
    pub(super) in_force: BTreeSet<String>,
    /// What is at the path of the wanted release.
    pub(super) wanted: Option<(FileKind, Attributes)>,
    /// What is at the path of its file, for a single-file release.
    pub(super) file: Option<(FileKind, Attributes)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) mark: Mark,
    pub(super) changed_ns: i128,
    /// Whether its directory exists.
    pub(super) is_there: bool,
}

/// Looks at the machine. Reads only.
pub(super) async fn find(layout: Layout<'_>, wanted: &Release, cx: &Context<'_>) -> Result<Found, BundleError> {
    let host = cx.host();
    let mut found = Found { current: host.directories.link(&layout.current()).await.map_err(BundleError::Host)?, ..Found::default() };
    found.is_blocked = found.current.is_none() && host.files.stat(&layout.current()).await.map_err(BundleError::Host)?.is_some();
    for name in host.files.list(&layout.releases()).await.map_err(BundleError::Host)? {
        if release::is_staged(&name) {
            found.staged.push(layout.releases().join(name));
        } else if let Some(version) = release::marked(&name) {
            let path = layout.mark(version);
            let (read, stat) = (host.files.read(&path, MARK_LIMIT).await, host.files.stat(&path).await);
            let (Some(content), Some(stat)) = (read.map_err(BundleError::Host)?, stat.map_err(BundleError::Host)?) else { continue };
            // An unreadable mark says nothing: the release is fetched again if it is wanted, and left alone otherwise.
            let Ok(mark) = of_bytes(&content) else { continue };
            let directory = host.files.stat(&layout.release(version)).await.map_err(BundleError::Host)?;
            let is_there = directory.is_some_and(|stat| stat.kind == FileKind::Directory);
            found.marks.insert(version.to_owned(), Marked { mark, changed_ns: stat.changed_ns, is_there });
        }
    }
    found.in_use = application::in_use(host, &cx.world.record).await.map_err(BundleError::Host)?;
    if let Some(in_force) = &cx.world.in_force {
        found.in_force = spared(in_force, &found.marks);
    }
    let stat = host.files.stat(&layout.release(&wanted.version)).await.map_err(BundleError::Host)?;
    found.wanted = stat.map(|stat| (stat.kind, stat.attributes));
    if let Some(path) = layout.file(wanted) {
        let stat = host.files.stat(&path).await.map_err(BundleError::Host)?;
        found.file = stat.map(|stat| (stat.kind, stat.attributes));
    }
    Ok(found)
}

/// Releases that may be the one in force: identified by digest or, for a bundle with a different digest, by name.
fn spared(in_force: &InForce, marks: &BTreeMap<String, Marked>) -> BTreeSet<String> {
    let (mut by_digest, mut by_name) = (BTreeSet::new(), BTreeSet::new());
    for (version, Marked { mark, .. }) in marks {
        if in_force.has(&mark.sha256) {
            by_digest.insert(version.clone());
        } else if in_force.may_have(&mark.source) {
            by_name.insert(version.clone());
        }
    }
    if by_digest.is_empty() { by_name } else { by_digest }
}

/// Decides what to do. Unless the bundle `leads`, the application that runs it switches `current`.
pub(super) fn changes(
    layout: Layout<'_>,
    wanted: &Release,
    attributes: Attributes,
    keep: usize,
    leads: bool,
    found: &Found,
) -> Result<Vec<Change>, BundleError> {
    let mark = found.marks.get(&wanted.version);
    let own = wanted.file.as_ref().map(|file| Attributes { mode: file.mode, ..attributes });
    let has_file = own.is_none() || matches!(found.file, Some((FileKind::File, _)));
    let is_whole = has_file && mark.is_some_and(|marked| marked.is_there && marked.mark.is_of(wanted));
    // A directory without ingot's mark belongs to someone else.
    if found.wanted.is_some() && mark.is_none() {
        return Err(BundleError::InTheWay { at: layout.release(&wanted.version) });
    }
    if found.is_blocked {
        return Err(BundleError::InTheWay { at: layout.current() });
    }
    let mut changes = Vec::new();
    for staged in found.staged.iter().filter(|staged| is_whole || **staged != layout.staged(&wanted.version)) {
        changes.push(Change::RemoveStaged(staged.clone()));
    }
    if !is_whole {
        let replaces = mark.is_some_and(|marked| marked.is_there);
        let to = layout.release(&wanted.version);
        if replaces && found.in_use.contains(&to) {
            return Err(BundleError::InUse { at: to });
        }
        changes.push(Change::Fetch { release: Box::new(wanted.clone()), to, attributes, replaces, unpacked: Default::default() });
    } else if found.wanted.is_some_and(|(_, now)| now != attributes) || found.file.map(|(_, now)| now) != own {
        let file = layout.file(wanted).zip(own);
        changes.push(Change::HandOver { release: layout.release(&wanted.version), attributes, file });
    }
    let target = release::target(&wanted.version);
    if found.current.is_none() || (leads && found.current.as_deref() != Some(&*target)) {
        changes.push(Change::Switch { link: layout.current(), from: found.current.clone(), to: target });
    }
    let current = found.current.as_deref().and_then(release::version_of);
    let outlived =
        outlived(wanted, current.as_deref(), keep, found).into_iter().filter(|version| !found.in_use.contains(&layout.release(version)));
    changes.extend(outlived.map(|version| Change::RemoveRelease { release: layout.release(&version), mark: layout.mark(&version) }));
    Ok(changes)
}

/// The oldest releases beyond the number to keep. The target of `current` is never among them, since it may be running.
/// Neither is the release in force: a reboot goes back to it, and S3 may no longer have it.
fn outlived(wanted: &Release, current: Option<&str>, keep: usize, found: &Found) -> Vec<String> {
    let spared: BTreeSet<&str> = current.into_iter().chain(found.in_force.iter().map(String::as_str)).chain([&*wanted.version]).gather();
    let is_kept = |version: &str| spared.contains(version);
    let kept = spared.iter().filter(|version| **version == wanted.version || found.marks.contains_key(**version)).count();
    let mut others: Vec<(&String, &Marked)> = found.marks.iter().filter(|(version, _)| !is_kept(version)).collect();
    // Incomplete releases do not count, and are removed first.
    others.order_by_key(|(_, marked)| (!(marked.mark.whole && marked.is_there), std::cmp::Reverse(marked.changed_ns)));
    let whole = others.iter().filter(|(_, marked)| marked.mark.whole && marked.is_there).count();
    let room = keep.saturating_sub(kept).min(whole);
    others.into_iter().skip(room).map(|(version, _)| version.clone()).collect()
}

/// The size ratio of the last archive that was unpacked here, unpacked to packed: the next archive is usually similar.
pub(super) fn ratio(found: &Found) -> f64 {
    let newest = found.marks.values().filter(|marked| marked.mark.whole && marked.mark.bytes > 0).max_by_key(|marked| marked.changed_ns);
    newest.map_or(1.0, |marked| (marked.mark.unpacked as f64 / marked.mark.bytes as f64).max(1.0))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::release::OneFile;
    use super::*;
    use crate::aws::s3::Source;
    use crate::digest::Sha256;

    const ATTRIBUTES: Attributes = Attributes { mode: 0o755, uid: 0, gid: 0 };

    fn wanted(version: &str) -> Release {
        Release {
            source: Source::parse("s3://shop/x.tar").unwrap(),
            sha256: Some(Sha256::of(version.as_bytes())),
            strip_components: 0,
            links: BTreeMap::new(),
            file: None,
            version: version.into(),
        }
    }

    fn found(current: Option<&str>, releases: &[&str]) -> Found {
        let marked = |(at, version): (usize, &&str)| {
            let mark = Mark {
                whole: true,
                source: "s3://shop/x.tar".into(),
                sha256: Sha256::of(version.as_bytes()).to_string(),
                bytes: 10,
                unpacked: 35,
                strip_components: 0,
                links: BTreeMap::new(),
                file: None,
            };
            ((*version).to_owned(), Marked { mark, changed_ns: at as i128, is_there: true })
        };
        Found { current: current.map(release::target), marks: releases.iter().enumerate().map(marked).collect(), ..Found::default() }
    }

    fn lines(version: &str, keep: usize, found: Found) -> String {
        lines_of(&wanted(version), keep, found)
    }

    fn lines_of(wanted: &Release, keep: usize, mut found: Found) -> String {
        if found.marks.get(&wanted.version).is_some_and(|marked| marked.is_there) {
            found.wanted = Some((FileKind::Directory, ATTRIBUTES));
        }
        match changes(Layout(Path::new("/app")), wanted, ATTRIBUTES, keep, true, &found) {
            Ok(changes) => changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn fetches_what_is_not_there_and_switches() {
        assert_eq!(lines("1", 3, found(None, &[])), "unpack s3://shop/x.tar to /app/releases/1; switch /app/current to releases/1");
        assert_eq!(
            lines("2", 3, found(Some("1"), &["1"])),
            "unpack s3://shop/x.tar to /app/releases/2; switch /app/current from releases/1 to releases/2"
        );
        assert_eq!(lines("1", 3, found(Some("1"), &["1"])), "");
    }

    #[test]
    fn current_is_left_to_the_application_that_runs_it() {
        let lines = |found: Found| {
            let changes = changes(Layout(Path::new("/app")), &wanted("2"), ATTRIBUTES, 1, false, &found).unwrap();
            changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(lines(found(Some("1"), &["1"])), "unpack s3://shop/x.tar to /app/releases/2");
        // While nothing serves yet, switching `current` misleads nobody.
        assert_eq!(lines(found(None, &[])), "unpack s3://shop/x.tar to /app/releases/2; switch /app/current to releases/2");
    }

    #[test]
    fn goes_back_to_what_is_kept_without_fetching() {
        assert_eq!(lines("1", 3, found(Some("2"), &["1", "2"])), "switch /app/current from releases/2 to releases/1");
    }

    #[test]
    fn keeps_so_many_and_never_removes_what_may_run() {
        let four = || found(Some("4"), &["1", "2", "3", "4"]);
        assert!(lines("5", 3, four()).ends_with("releases/5; remove /app/releases/2; remove /app/releases/1"), "{}", lines("5", 3, four()));
        assert!(lines("5", 1, four()).ends_with("releases/5; remove /app/releases/3; remove /app/releases/2; remove /app/releases/1"));
        assert_eq!(lines("4", 1, four()), "remove /app/releases/3; remove /app/releases/2; remove /app/releases/1");
        assert_eq!(lines("4", 9, four()), "");
    }

    /// Regression: several releases that failed late, one after the other, displaced the release that a reboot goes
    /// back to.
    #[test]
    fn the_release_in_force_stays_while_others_are_tried() {
        let tried = || Found { in_force: ["1".to_owned()].into(), ..found(Some("3"), &["1", "2", "3"]) };
        assert!(lines("4", 3, tried()).ends_with("to releases/4; remove /app/releases/2"), "{}", lines("4", 3, tried()));
        assert!(lines("4", 1, tried()).ends_with("to releases/4; remove /app/releases/2"), "{}", lines("4", 1, tried()));
        let in_force = InForce { name: Some("v1".into()), sha256: Some("12".into()) };
        assert!(in_force.may_have("s3://shop/app-v1.tar") && in_force.may_have("s3://shop/app-v1-rc1.tar"));
        assert!(!in_force.may_have("s3://shop/app-v10.tar") && in_force.has("12") && !in_force.has("34"));
    }

    /// Regression: a later release was taken for the one in force because its name begins with that one's name.
    #[test]
    fn the_release_in_force_is_known_by_its_digest_and_else_all_that_may_be_it_stay() {
        let mut marks = found(None, &["1", "2", "3"]).marks;
        for (version, name) in [("1", "v1"), ("2", "v1-rc1"), ("3", "v2")] {
            marks.get_mut(version).unwrap().mark.source = format!("s3://shop/app-{name}.tar");
        }
        let spared = |sha256: Option<String>| Vec::from_iter(spared(&InForce { name: Some("v1".into()), sha256 }, &marks));
        assert_eq!(spared(Some(marks["1"].mark.sha256.clone())), ["1"]);
        assert_eq!(spared(Some("12".into())), ["1", "2"]);
        assert_eq!(spared(None), ["1", "2"]);
    }

    #[test]
    fn what_is_not_whole_is_fetched_anew_and_what_is_not_ours_stays() {
        let mut cut = found(Some("1"), &["1"]);
        cut.marks.get_mut("1").unwrap().mark.whole = false;
        assert_eq!(lines("1", 3, cut), "unpack s3://shop/x.tar to /app/releases/1, replacing what is there");
        let mut gone = found(Some("1"), &["1"]);
        gone.marks.get_mut("1").unwrap().is_there = false;
        assert_eq!(lines("1", 3, gone), "unpack s3://shop/x.tar to /app/releases/1");
        let foreign = Found { wanted: Some((FileKind::Directory, ATTRIBUTES)), ..Found::default() };
        assert_eq!(lines("1", 3, foreign), "/app/releases/1 already exists, and was not created by ingot");
        let blocked = Found { is_blocked: true, ..Found::default() };
        assert_eq!(lines("1", 3, blocked), "/app/current already exists, and was not created by ingot");
    }

    #[test]
    fn another_archive_under_the_same_name_takes_its_place() {
        let mut other = found(Some("1"), &["1"]);
        other.marks.get_mut("1").unwrap().mark.sha256 = Sha256::of(b"other").to_string();
        assert_eq!(lines("1", 3, other), "unpack s3://shop/x.tar to /app/releases/1, replacing what is there");
    }

    #[test]
    fn removes_what_a_boot_that_was_cut_off_has_left() {
        let mut left = found(Some("1"), &["1"]);
        left.staged = vec!["/app/releases/.ingot-staged.1".into(), "/app/releases/.ingot-staged.2".into()];
        assert_eq!(
            lines("1", 3, left),
            "remove /app/releases/.ingot-staged.1, left by an interrupted boot; \
             remove /app/releases/.ingot-staged.2, left by an interrupted boot"
        );
    }

    #[test]
    fn one_file_is_judged_by_its_own_mode_and_name() {
        let jar = |mode| Some(OneFile { name: "shop.jar".into(), mode, compression: None });
        let release = |mode| Release { file: jar(mode), ..wanted("1") };
        let there = |name: &str, kind, mode| {
            let mut found = found(Some("1"), &["1"]);
            found.marks.get_mut("1").unwrap().mark.file = Some(name.into());
            found.file = Some((kind, Attributes { mode, ..ATTRIBUTES }));
            found
        };
        assert_eq!(lines_of(&release(0o644), 3, there("shop.jar", FileKind::File, 0o644)), "");
        assert_eq!(
            lines_of(&release(0o640), 3, there("shop.jar", FileKind::File, 0o644)),
            "set owner of /app/releases/1/shop.jar to 0:0, mode to 0640"
        );
        let again = "download s3://shop/x.tar as shop.jar to /app/releases/1, replacing what is there";
        assert_eq!(lines_of(&release(0o644), 3, there("old.jar", FileKind::File, 0o644)), again);
        assert_eq!(lines_of(&release(0o644), 3, there("shop.jar", FileKind::Symlink, 0o644)), again);
        assert_eq!(lines_of(&release(0o644), 3, found(Some("1"), &["1"])), again);
        assert_eq!(
            lines("1", 3, there("shop.jar", FileKind::File, 0o644)),
            again.replace("download", "unpack").replace(" as shop.jar", "")
        );
    }

    #[test]
    fn other_links_make_another_release() {
        let linked = Release { links: [("data".to_owned(), "/srv/data".into())].into(), ..wanted("1") };
        let again = "unpack s3://shop/x.tar to /app/releases/1, replacing what is there";
        assert_eq!(lines_of(&linked, 3, found(Some("1"), &["1"])), again);
        let mut there = found(Some("1"), &["1"]);
        there.marks.get_mut("1").unwrap().mark.links = linked.links.clone();
        assert_eq!(lines_of(&linked, 3, there), "");
    }

    #[test]
    fn the_last_archive_tells_what_the_next_will_come_to() {
        assert_eq!((ratio(&found(None, &["1"])), ratio(&Found::default())), (3.5, 1.0));
    }
}
