//! What is known about a file without reading its content.

/// Owner and permissions of a file. `mode` holds the twelve permission bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What [`Files::stat`](super::files::Files::stat) found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) kind: FileKind,
    pub(crate) attributes: Attributes,
    pub(crate) size: u64,
    /// Inode number and change time in nanoseconds (inode(7), st_ctim): one of them changes whenever content or
    /// attributes do.
    pub(crate) inode: u64,
    pub(crate) changed_ns: i128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    File,
    Directory,
    Symlink,
    Other,
}
