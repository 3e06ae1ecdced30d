//! The built binary as a user runs it, in `tests/`, so that messages name files by short paths, and without any
//! environment.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A run of ingot-fleet, after its end. Its `Display` is what snapshots hold.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs ingot-fleet in `directory`.
pub(crate) fn fleet_in<A: AsRef<OsStr>>(directory: &Path, arguments: impl IntoIterator<Item = A>) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingot-fleet"));
    command.args(arguments).env_clear().current_dir(directory).stdin(Stdio::null());
    let output = command.output().expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs ingot-fleet in `tests/`.
pub(crate) fn fleet<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ran {
    fleet_in(&tests(), arguments)
}

impl Ran {
    /// The same, once its exit code was as expected.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n{self}");
        self
    }

    /// stdout as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("stdout is not JSON: {error}\n{self}"))
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stdout)?;
        if !self.stderr.is_empty() {
            write!(f, "--- stderr ---\n{}", self.stderr)?;
        }
        match self.code {
            Some(code) => writeln!(f, "--- exit code {code} ---"),
            None => writeln!(f, "--- ended by a signal ---"),
        }
    }
}

/// The directory of the black-box tests.
pub(crate) fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").canonicalize().expect("tests/ is there")
}

/// The files of a directory below `tests/` with an extension, by their paths from there, in order.
pub(crate) fn files(directory: &str, extension: &str) -> Vec<String> {
    let entries = std::fs::read_dir(tests().join(directory)).expect("the directory is there");
    let names = entries.map(|entry| entry.expect("it can be listed").file_name().into_string().expect("names are UTF-8"));
    let end = format!(".{extension}");
    let mut paths: Vec<String> = names.filter(|name| name.ends_with(&end)).map(|name| format!("{directory}/{name}")).collect();
    paths.sort();
    paths
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Writes a file of a test, with the directories it needs.
pub(crate) fn write(path: &Path, content: &str) {
    std::fs::create_dir_all(path.parent().expect("it has a parent")).expect("directories can be made");
    std::fs::write(path, content).expect("files can be written");
}
