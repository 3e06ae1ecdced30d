//! What a platform says of a release: how its dependencies are installed, and what it runs where no one says it.

use serde::{Deserialize, Serialize};

use crate::steps::application::procfile::{Process, WEB};
use crate::steps::application::remark::Remark;

/// The port of a platform that Elastic Beanstalk gives none, and of a release whose platform is not known.
pub(crate) const PORT: u16 = 5000;

/// What requests are passed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Speaks {
    #[default]
    Http,
    /// FastCGI for the scripts below `root`, a directory of the release; "" is the release itself.
    FastCgi { root: &'static str },
}

/// A program of the image, by its name on PATH or by a pattern of where else it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// Absolute paths with wildcards, and paths below the directory that a variable names, such as `$JAVA_HOME/bin/java`.
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

/// A text as one word of the shell.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "._+-@%/:".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The name of a file in the current directory as one word of the shell, which no program takes for an option.
pub(super) fn file_name(name: &str) -> String {
    if name.starts_with('-') { quoted(&format!("./{name}")) } else { quoted(name) }
}

/// What a recogniser found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Platform {
    pub(crate) name: &'static str,
    /// The file or the directory that it was known by.
    pub(crate) sign: String,
    /// Where it listens unless the document says another port.
    pub(crate) port: u16,
    /// What installs the dependencies into the release; empty where the release has none, or brings them.
    pub(crate) dependencies: Vec<Argv>,
    /// The program of the release that those commands make, if that is all they are for.
    pub(crate) makes: Option<&'static str>,
    /// Programs of the image that those commands need.
    pub(crate) programs: Vec<Program>,
    /// Variables for builds, hooks and processes. What the document says goes before these.
    pub(crate) environment: Vec<(&'static str, &'static str)>,
    /// Directories of the release that go to the front of PATH.
    pub(crate) path: &'static [&'static str],
    /// What it runs where neither the document nor a Procfile says it, or why it cannot tell.
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

/// What the processes of a release run in, if not in this machine's own tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Contents {
    /// An image: the one of that name, or what the Dockerfile builds.
    Image {
        name: Option<String>,
        /// Where it listens, unless the image says that.
        port: Option<u16>,
        /// Directory of the machine, a colon, and the one inside.
        volumes: Vec<String>,
        entrypoint: Option<String>,
        command: Option<String>,
        /// The registries that a build reads from.
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

/// What a platform runs by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Launch {
    pub(crate) processes: Vec<Process>,
    pub(crate) speaks: Speaks,
    /// Programs of the image that the processes need.
    pub(crate) programs: Vec<Program>,
    /// What is installed for these processes, after the dependencies.
    pub(crate) dependencies: Vec<Argv>,
    pub(crate) made: Vec<Made>,
    /// Its processes write below `$RUNTIME_DIRECTORY`, in memory, and below `$CACHE_DIRECTORY`, on the disk: directories of their
    /// own that systemd makes for each (`RuntimeDirectory=`, `CacheDirectory=`), and that go with it.
    pub(crate) needs_directories: bool,
    pub(crate) contents: Option<Contents>,
}

impl Launch {
    /// One process that serves requests by HTTP. `exec` in its command makes it the process that systemd knows: dash keeps a
    /// shell around a program otherwise.
    pub(crate) fn web(command: impl Into<String>, programs: &[Program]) -> Self {
        Self { processes: vec![Process::new(WEB, command)], programs: programs.to_vec(), ..Self::default() }
    }
}
