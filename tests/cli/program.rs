//! The built binary as a user runs it: arguments in; exit code, stdout, stderr and files out.
//!
//! It runs in `tests/`, so that messages contain short paths, and with an empty environment: no
//! `HOME`, no `PATH`, no credentials.
#![allow(dead_code, reason = "each test program uses its own part of this")]
#![expect(clippy::disallowed_methods, reason = "a test stands outside of ingot, and looks at the real machine")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The options for the facts of the examples.
pub(crate) const FACTS: [&str; 2] = ["--facts", "facts.yaml"];

/// A run of ingot, before it starts.
#[derive(Debug)]
pub(crate) struct Ingot(Command);

impl Ingot {
    pub(crate) fn new<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ingot"));
        command.args(arguments).env_clear().current_dir(tests()).stdin(Stdio::null());
        Self(command)
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.0.args(arguments);
        self
    }

    pub(crate) fn option(self, name: &str, path: &Path) -> Self {
        self.args([name.as_ref(), path.as_os_str()])
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    pub(crate) fn directory(mut self, directory: &Path) -> Self {
        self.0.current_dir(directory);
        self
    }

    /// Runs a line of bash, in which `$0` is the binary.
    pub(crate) fn in_a_shell(line: &str, directory: &Path) -> Ran {
        let mut command = Command::new("/bin/bash");
        command.args(["-c", line, env!("CARGO_BIN_EXE_ingot")]).current_dir(directory).stdin(Stdio::null());
        Self(command).run()
    }

    pub(crate) fn run(mut self) -> Ran {
        let output = self.0.output().expect("the binary starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs with a stdout whose reader is closed, and returns the exit code and stderr.
    pub(crate) fn run_with_closed_stdout(mut self) -> (Option<i32>, String) {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let child = self.0.stdout(writer).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let output = child.wait_with_output().expect("the binary ends");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A run of ingot, after its end. Snapshots contain its `Display`.
#[derive(Debug)]
pub(crate) struct Ran {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Checks the exit code.
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

/// Every YAML file of a directory below `tests/`, by its path from there, in order. A new file is tested automatically.
pub(crate) fn documents(directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(tests().join(directory)).expect("the directory is there");
    let names = entries.map(|entry| entry.expect("it can be listed").file_name().into_string().expect("names are UTF-8"));
    let mut paths: Vec<String> = names.filter(|name| name.ends_with(".yaml")).map(|name| format!("{directory}/{name}")).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no documents in {directory}");
    paths
}

/// The last part of a path without its extension, as the name of a snapshot.
pub(crate) fn stem(path: &str) -> String {
    Path::new(path).file_stem().expect("it has a name").to_string_lossy().into_owned()
}

/// The parts of a file that tests compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) mode: u32,
    pub(crate) content: Vec<u8>,
}

/// Every file below `directory`, by its path from there with a leading slash.
pub(crate) fn tree(directory: &Path) -> BTreeMap<String, Found> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(&next).expect("it can be listed") {
            let path = entry.expect("it can be listed").path();
            let metadata = path.symlink_metadata().expect("it is there");
            if metadata.is_dir() {
                left.push(path);
                continue;
            }
            let name = format!("/{}", path.strip_prefix(directory).expect("it is below").display());
            let content = std::fs::read(&path).expect("it can be read");
            found.insert(name, Found { mode: metadata.permissions().mode() & 0o7777, content });
        }
    }
    found
}

/// Writes a file for a test, with the directories it needs.
pub(crate) fn write(path: &Path, content: &str) {
    std::fs::create_dir_all(path.parent().expect("it has a parent")).expect("directories can be made");
    std::fs::write(path, content).expect("files can be written");
}
