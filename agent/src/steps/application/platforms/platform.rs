//! A recognized platform: how the dependencies of a release are installed, and what runs by default.

use serde::{Deserialize, Serialize};

use crate::steps::application::procfile::{Process, WEB};
use crate::steps::application::remark::Remark;

/// The port of platforms to which Elastic Beanstalk assigns none, and of releases whose platform is unknown.
pub(crate) const PORT: u16 = 5000;

/// The protocol by which requests are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Speaks {
    #[default]
    Http,
    /// FastCGI for the scripts below `root`, a directory of the release; "" means the release itself.
    FastCgi { root: &'static str },
}

/// A program of the image, by its name on PATH or by a pattern for its other locations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// Absolute paths with wildcards, and paths below the directory that a variable names, such as
    /// `$JAVA_HOME/bin/java`.
    pub(crate) or: &'static [&'static str],
}

impl Program {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, or: &[] }
    }
}

/// A file that is written into the release before anything of it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) path: String,
    pub(crate) content: String,
    /// Permission bits.
    pub(crate) mode: u32,
}

/// One command with its arguments, run in the release's directory.
pub(crate) type Argv = Vec<String>;

pub(crate) fn argv(words: &[&str]) -> Argv {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Quotes a text as one shell word.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "._+-@%/:".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Quotes a file name in the current directory as one shell word, in a form that no program takes for an option.
pub(super) fn file_name(name: &str) -> String {
    if name.starts_with('-') { quoted(&format!("./{name}")) } else { quoted(name) }
}

/// The result of a recognizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Platform {
    pub(crate) name: &'static str,
    /// The file or directory that identified it.
    pub(crate) sign: String,
    /// The port on which it listens, unless the document sets another one.
    pub(crate) port: u16,
    /// The commands that install dependencies into the release; empty if it has none, or ships them.
    pub(crate) dependencies: Vec<Argv>,
    /// The program of the release that those commands make, if they have no other purpose.
    pub(crate) makes: Option<&'static str>,
    /// Programs of the image that those commands need.
    pub(crate) programs: Vec<Program>,
    /// Variables for builds, hooks and processes. The document overrides them.
    pub(crate) environment: Vec<(&'static str, &'static str)>,
    /// Directories of the release that are put at the front of PATH.
    pub(crate) path: &'static [&'static str],
    /// What it runs if neither the document nor a Procfile defines it, or why that is unknown.
    pub(crate) launch: Result<Launch, Remark>,
    pub(crate) warnings: Vec<Remark>,
    pub(crate) mistakes: Vec<Remark>,
}

impl Platform {
    pub(crate) fn new(name: &'static str, sign: impl Into<String>, launch: Result<Launch, Remark>) -> Self {
        Self {
            name,
            sign: sign.into(),
            port: PORT,
            dependencies: Vec::new(),
            makes: None,
            programs: Vec::new(),
            environment: Vec::new(),
            path: &[],
            launch,
            warnings: Vec::new(),
            mistakes: Vec::new(),
        }
    }
}

/// What the processes of a release run in, if not directly on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Contents {
    /// An image: the one with that name, or the one that the Dockerfile builds.
    Image {
        name: Option<String>,
        /// The port on which it listens, unless the image declares it.
        port: Option<u16>,
        /// Directory on the machine, a colon, and directory in the container.
        volumes: Vec<String>,
        entrypoint: Option<String>,
        command: Option<String>,
        /// The registries that a build pulls from.
        registries: Vec<String>,
    },
    /// The services of a compose file.
    Services {
        file: String,
        registries: Vec<String>,
        /// The images that it names.
        #[serde(default)]
        images: Vec<String>,
        /// The services whose images are built from the release.
        #[serde(default)]
        built: Vec<String>,
    },
}

/// What a platform runs by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Launch {
    pub(crate) processes: Vec<Process>,
    pub(crate) speaks: Speaks,
    /// Programs of the image that the processes need.
    pub(crate) programs: Vec<Program>,
    /// Commands that install what these processes need, after the dependencies.
    pub(crate) dependencies: Vec<Argv>,
    pub(crate) made: Vec<Made>,
    /// Its processes write below `$RUNTIME_DIRECTORY`, in memory, and below `$CACHE_DIRECTORY`, on disk. systemd
    /// creates both for each process (`RuntimeDirectory=`, `CacheDirectory=`), and they are removed with it.
    pub(crate) needs_directories: bool,
    pub(crate) contents: Option<Contents>,
}

impl Launch {
    /// One process that serves requests by HTTP. `exec` in its command makes the program itself the process that
    /// systemd monitors; otherwise dash keeps a shell around it.
    pub(crate) fn web(command: impl Into<String>, programs: &[Program]) -> Self {
        Self { processes: vec![Process::new(WEB, command)], programs: programs.to_vec(), ..Self::default() }
    }
}
