//! Puts one file in place: staged next to its destination, then renamed over it.
//!
//! Shared by `files:` and `credentials:`. The staged file gets its owner and mode before its content, and its content
//! is on disk before it is renamed, so no reader ever sees part of it, or more than it is allowed to.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use zeroize::Zeroizing;

use crate::failure::Objection;
use crate::host::{Attributes, FileKind, HostError, Stat};
use crate::step::fields::Mode;
use crate::step::{Context, Outputs};

/// The wanted state of a file.
pub(crate) struct Wanted {
    pub(crate) path: PathBuf,
    pub(crate) content: Zeroizing<Vec<u8>>,
    pub(crate) owner: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) mode: Mode,
    /// The parent directories that have to be created.
    pub(crate) directories: Directories,
}

/// Owner and mode of the directories created on the way to a file. Existing directories are left alone.
#[derive(Debug, Clone)]
pub(crate) enum Directories {
    /// They belong to the user that runs ingot, and have this mode.
    Own(u32),
    /// They belong to the owner of the file if the directory above them does too, such as the owner's home; otherwise
    /// as [`Own`](Self::Own).
    AsFound(u32),
    Given {
        owner: Option<String>,
        group: Option<String>,
        mode: Mode,
    },
}

/// One difference between a file and its wanted state.
pub(crate) enum Change {
    /// A staged file left by an interrupted boot.
    RemoveStaged(PathBuf),
    Write(Wanted),
    SetAttributes(Wanted),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RemoveStaged(path) => write!(f, "remove {}, left by a boot that was cut off", path.display()),
            Self::Write(wanted) => write!(f, "write {} ({wanted})", wanted.path.display()),
            Self::SetAttributes(wanted) => write!(f, "set {wanted} on {}", wanted.path.display()),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mode {}", self.mode)?;
        match (&self.owner, &self.group) {
            (None, None) => Ok(()),
            (Some(owner), None) => write!(f, ", owner {owner}"),
            (None, Some(group)) => write!(f, ", group {group}"),
            (Some(owner), Some(group)) => write!(f, ", owner {owner}, group {group}"),
        }
    }
}

/// The name under which a file is staged: hidden, in the same directory and with the same extension. It is always the
/// same, so that leftovers of an interrupted boot are found.
pub(crate) fn staged(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".ingot-staged.{name}"))
}

/// What is wrong with `key` as the path of a file.
pub(crate) fn path_objection(key: &str) -> Option<Objection> {
    let plain = Path::new(key).components().skip(1).all(|part| matches!(part, Component::Normal(_)));
    let normal = key.starts_with('/') && plain && !key.ends_with('/') && !key.contains("//") && !key.contains("/./") && key.len() > 1;
    (!normal).then(|| Objection {
        message: format!("`{key}` is not an absolute path of a file"),
        hint: "write the whole path from /, without `..`, `.` or a slash at its end".into(),
    })
}

/// Compares a file with its wanted state. Reads only.
pub(crate) async fn inspect(wanted: Wanted, cx: &Context<'_>) -> Result<Vec<Change>, HostError> {
    let files = &cx.host().files;
    let attributes = attributes(&wanted, cx).await?;
    let found = files.stat(&wanted.path).await?;
    let same_content = match found {
        Some(Stat { kind: FileKind::File, size, .. }) if size == wanted.content.len() as u64 => {
            files.read(&wanted.path, size).await?.is_some_and(|content| *content == *wanted.content)
        }
        Some(Stat { kind: FileKind::Directory, .. }) => {
            let source = std::io::ErrorKind::IsADirectory.into();
            return Err(HostError::Path { operation: "write", path: wanted.path, source });
        }
        _ => false,
    };
    let mut changes = Vec::new();
    if same_content {
        let leftover = staged(&wanted.path);
        if files.stat(&leftover).await?.is_some() {
            changes.push(Change::RemoveStaged(leftover));
        }
        if found.is_some_and(|found| found.attributes != attributes) {
            changes.push(Change::SetAttributes(wanted));
        }
        return Ok(changes);
    }
    changes.push(Change::Write(wanted));
    Ok(changes)
}

/// Stages a change next to its destination, creating missing directories.
pub(crate) async fn stage(change: &Change, cx: &Context<'_>) -> Result<(), HostError> {
    let Change::Write(wanted) = change else { return Ok(()) };
    let attributes = attributes(wanted, cx).await?;
    if let Some(parent) = wanted.path.parent() {
        make_directories(parent, wanted, attributes, cx).await?;
    }
    cx.host().files.stage(&staged(&wanted.path), &wanted.content, attributes).await
}

async fn make_directories(path: &Path, wanted: &Wanted, file: Attributes, cx: &Context<'_>) -> Result<(), HostError> {
    let files = &cx.host().files;
    match &wanted.directories {
        Directories::Own(mode) => files.create_directory(path, *mode).await,
        Directories::Given { owner, group, mode } => {
            let attributes = owned(owner.as_deref(), group.as_deref(), *mode, cx).await?;
            files.create_directory_of(path, attributes).await
        }
        Directories::AsFound(mode) => {
            let is_others = file.uid != cx.host().users.own().0;
            if is_others && nearest_owner(path, cx).await? == Some(file.uid) {
                return files.create_directory_of(path, Attributes { mode: *mode, ..file }).await;
            }
            files.create_directory(path, *mode).await
        }
    }
}

/// The owner of the nearest existing ancestor of a directory; `None` if the directory itself exists.
async fn nearest_owner(path: &Path, cx: &Context<'_>) -> Result<Option<u32>, HostError> {
    for (steps, above) in path.ancestors().enumerate() {
        if let Some(found) = cx.host().files.stat(above).await? {
            return Ok((steps > 0).then_some(found.attributes.uid));
        }
    }
    Ok(None)
}

/// Removes what [`stage`] created, except directories. What cannot be removed is found by the next boot.
pub(crate) async fn abandon(change: &Change, cx: &Context<'_>) {
    if let Change::Write(wanted) = change
        && let Err(error) = cx.host().files.remove(&staged(&wanted.path)).await
    {
        cx.progress(crate::step::Progress::Warning(error.to_string()));
    }
}

/// Carries out a staged change.
pub(crate) async fn apply(change: Change, cx: &Context<'_>) -> Result<(), HostError> {
    let files = &cx.host().files;
    match change {
        Change::Write(wanted) => files.install(&staged(&wanted.path), &wanted.path).await,
        Change::SetAttributes(wanted) => files.set_attributes(&wanted.path, attributes(&wanted, cx).await?).await,
        Change::RemoveStaged(path) => files.remove(&path).await,
    }
}

/// The outputs of an installed file: its path, and a stamp that changes with it.
pub(crate) async fn outputs(path: &Path, cx: &Context<'_>) -> Result<Outputs, HostError> {
    let stat = cx.host().files.stat(path).await?;
    let stamp = stat.map(|stat| format!("{}:{}", stat.inode, stat.changed_ns));
    Ok(Outputs { stamp, ..Outputs::at(path) })
}

async fn attributes(wanted: &Wanted, cx: &Context<'_>) -> Result<Attributes, HostError> {
    owned(wanted.owner.as_deref(), wanted.group.as_deref(), wanted.mode, cx).await
}

/// Owner and mode from the names in a document; the default is the user that runs ingot.
pub(crate) async fn owned(owner: Option<&str>, group: Option<&str>, mode: Mode, cx: &Context<'_>) -> Result<Attributes, HostError> {
    let users = &cx.host().users;
    let (mut uid, mut gid) = users.own();
    if let Some(owner) = owner {
        let user = users.user(owner).await?;
        (uid, gid) = (user.uid, user.gid);
    }
    if let Some(group) = group {
        gid = users.group(group).await?;
    }
    Ok(Attributes { mode: mode.0, uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_beside_the_file_under_its_extension() {
        assert_eq!(staged(Path::new("/etc/shop/shop.toml")), Path::new("/etc/shop/.ingot-staged.shop.toml"));
    }

    #[test]
    fn takes_absolute_plain_paths_only() {
        assert_eq!(path_objection("/etc/shop.toml"), None);
        for path in ["etc/x", "/", "/etc/", "/etc/../x", "/etc//x", "/etc/./x", ""] {
            assert!(path_objection(path).is_some(), "{path}");
        }
    }
}
