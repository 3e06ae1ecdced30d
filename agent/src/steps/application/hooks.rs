//! `.platform/hooks` and `.platform/confighooks`: programs of a release that run while it is deployed.
//!
//! | moment | runs | in |
//! |---|---|---|
//! | `prebuild` | before dependencies and Buildfile | the new release |
//! | `predeploy` | after them, before the switch | the new release |
//! | `postdeploy` | after the switch | the current release |
//!
//! The hooks of one moment run in the order of their names, as root. `hooks` apply to a new release, `confighooks` to a
//! release of which only the configuration changes. Pure: the step runs the hooks and handles their results.
//!
//! Source: <https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/platforms-linux-extend.html>

use serde::{Deserialize, Serialize};

use crate::failure::nearest;
use crate::steps::application::release::{Entry, Kind, Release};
use crate::steps::application::remark::Remark;

/// The first bytes of a Linux executable.
const ELF: &[u8] = b"\x7fELF";

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    Prebuild,
    Predeploy,
    Postdeploy,
}

impl Moment {
    pub(crate) const ALL: [Self; 3] = [Self::Prebuild, Self::Predeploy, Self::Postdeploy];

    /// The name of its directory.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Prebuild => "prebuild",
            Self::Predeploy => "predeploy",
            Self::Postdeploy => "postdeploy",
        }
    }

    /// Whether its hooks run in the new release, by its own path, before it becomes the current one.
    pub(crate) fn is_before_the_switch(self) -> bool {
        self != Self::Postdeploy
    }
}

/// What a deployment changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Occasion {
    /// Another release: `hooks`.
    #[default]
    Release,
    /// Only the configuration: `confighooks`.
    Configuration,
}

impl Occasion {
    pub(crate) const ALL: [Self; 2] = [Self::Release, Self::Configuration];

    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::Release => ".platform/hooks",
            Self::Configuration => ".platform/confighooks",
        }
    }
}

/// One program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    pub(crate) occasion: Occasion,
    pub(crate) moment: Moment,
    /// Its path in the release.
    pub(crate) path: String,
    /// It is not executable, and is made so (0755) before it runs: zip files made on Windows or by jar lose the mode.
    pub(crate) lacks_run_bit: bool,
    pub(crate) form: Form,
}

/// The kind of file that a hook is, as far as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Text; `crlf` if any line has a Windows line ending.
    Script {
        crlf: bool,
    },
    Program,
}

/// The hooks of a release in order, and what is wrong with them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Hooks {
    pub(crate) hooks: Vec<Hook>,
    pub(crate) warnings: Vec<Remark>,
    pub(crate) mistakes: Vec<Remark>,
}

impl Hooks {
    pub(crate) fn of(release: &Release) -> Self {
        let mut found = Self::default();
        for occasion in Occasion::ALL {
            let directory = occasion.directory();
            for moment in Moment::ALL {
                let directory = format!("{directory}/{}", moment.name());
                // `within` follows the order of the map: by name, byte by byte, like `LC_ALL=C ls`.
                for (name, entry) in release.within(&directory) {
                    found.take(occasion, moment, format!("{directory}/{name}"), entry, release);
                }
            }
            for (name, entry) in release.within(directory).filter(|(name, _)| Moment::ALL.iter().all(|moment| moment.name() != *name)) {
                found.warnings.push(passed_over(directory, name, entry));
            }
        }
        found
    }

    fn take(&mut self, occasion: Occasion, moment: Moment, path: String, entry: &Entry, release: &Release) {
        if path.rsplit('/').next().is_some_and(|name| name.starts_with('.')) {
            // `.gitkeep` keeps a directory in git, `.DS_Store` comes from a Mac. Neither is meant to run.
            return;
        }
        match entry.kind {
            Kind::Directory => {
                let hint = format!("move its files to {}/{}", occasion.directory(), moment.name());
                self.warnings.push(Remark::of(path, "subdirectories of hooks are ignored", hint));
            }
            Kind::Astray | Kind::Other => {
                let hint = "put the program itself into the bundle";
                self.mistakes.push(Remark::of(path, "this is not a file of the release, so it cannot run", hint));
            }
            Kind::File => {
                let content = release.bytes(&path);
                let lacks_run_bit = entry.mode & 0o111 == 0;
                if let Some(mistake) = content.and_then(|content| flaw(&path, content)) {
                    self.mistakes.push(mistake);
                } else if let Some(line) = content.and_then(carriage_return) {
                    let hint = format!("run `sed -i 's/\\r$//' {path}`");
                    self.warnings.push(Remark::at(&path, line, "the line ends with CR LF", hint));
                }
                if lacks_run_bit {
                    let hint = format!("run `chmod +x {path}`, or `git update-index --chmod=+x {path}` on Windows");
                    self.warnings.push(Remark::of(&path, "the run bit is missing; ingot sets it", hint));
                }
                let is_program = content.is_none_or(|content| content.starts_with(ELF));
                let crlf = content.is_some_and(|content| carriage_return(content).is_some());
                let form = if is_program { Form::Program } else { Form::Script { crlf } };
                self.hooks.push(Hook { occasion, moment, path, lacks_run_bit, form });
            }
        }
    }
}

/// What was found instead of a directory of hooks.
fn passed_over(directory: &str, name: &str, entry: &Entry) -> Remark {
    let names = || Moment::ALL.iter().map(|moment| moment.name());
    let hint = match nearest(name, names()) {
        Some(near) if entry.kind == Kind::Directory => format!("did you mean `{near}`?"),
        _ => format!("known here: {}", names().collect::<Vec<_>>().join(", ")),
    };
    Remark::of(format!("{directory}/{name}"), "this is not a directory of hooks, so nothing in it runs", hint)
}

/// Why the kernel would refuse to run a program that begins with this content.
fn flaw(path: &str, content: &[u8]) -> Option<Remark> {
    let first = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if content.starts_with(ELF) {
        return None;
    }
    if content.starts_with("\u{feff}#!".as_bytes()) {
        let hint = format!("run `sed -i '1s/^\\xef\\xbb\\xbf//' {path}`");
        return Some(Remark::at(path, 1, "the file begins with a byte order mark, which hides `#!` from the kernel", hint));
    }
    let Some(interpreter) = first.strip_prefix(b"#!") else {
        let hint = "begin it with a line such as `#!/bin/bash`, or move it out of the hooks";
        return Some(Remark::at(path, 1, "this is neither a program nor a script with a `#!` line", hint));
    };
    let interpreter = String::from_utf8_lossy(interpreter);
    if interpreter.ends_with('\r') {
        let message = format!("the `#!` line ends with CR LF, so the interpreter would be `{}\\r`", interpreter.trim());
        return Some(Remark::at(path, 1, message, format!("run `sed -i 's/\\r$//' {path}`")));
    }
    match interpreter.trim() {
        "" => Some(Remark::at(path, 1, "the `#!` line names no interpreter", "write one, for example `#!/bin/bash`")),
        name if !name.starts_with('/') => {
            let message = format!("the interpreter `{name}` is not an absolute path");
            Some(Remark::at(path, 1, message, "write it as `#!/usr/bin/env NAME` or as an absolute path"))
        }
        _ => None,
    }
}

/// The first line of a script with a Windows line ending: the shell would take the CR as part of the last word.
fn carriage_return(content: &[u8]) -> Option<usize> {
    let line = content.split(|byte| *byte == b'\n').position(|line| line.ends_with(b"\r")).filter(|_| !content.starts_with(ELF))?;
    Some(line + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(remarks: &[Remark]) -> Vec<String> {
        remarks.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn hooks_run_by_moment_and_name() {
        let hooks = Hooks::of(&Release::of(&[
            ("+.platform/hooks/postdeploy/a.sh", "#!/bin/sh\n"),
            ("+.platform/hooks/prebuild/10_b.sh", "#!/bin/sh\n"),
            ("+.platform/hooks/prebuild/9_a.sh", "#!/bin/sh\n"),
            ("+.platform/hooks/predeploy/migrate", "\x7fELF\u{2}"),
            ("+.platform/confighooks/predeploy/migrate", "#! /usr/bin/env bash\n"),
        ]));
        let paths: Vec<&str> = hooks.hooks.iter().map(|hook| hook.path.trim_start_matches(".platform/")).collect();
        let expected = [
            "hooks/prebuild/10_b.sh",
            "hooks/prebuild/9_a.sh",
            "hooks/predeploy/migrate",
            "hooks/postdeploy/a.sh",
            "confighooks/predeploy/migrate",
        ];
        assert_eq!(paths, expected);
        assert_eq!((hooks.warnings.len(), hooks.mistakes.len()), (0, 0));
        assert!(Moment::Predeploy.is_before_the_switch() && !Moment::Postdeploy.is_before_the_switch());
    }

    #[test]
    fn what_the_kernel_would_not_run_is_a_mistake() {
        let hooks = Hooks::of(&Release::of(&[
            ("+.platform/hooks/prebuild/1", "#!/bin/bash\r\nset -e\r\n"),
            ("+.platform/hooks/prebuild/2", "set -e\n"),
            ("+.platform/hooks/prebuild/3", ""),
            ("+.platform/hooks/prebuild/4", "\u{feff}#!/bin/sh\n"),
            ("+.platform/hooks/prebuild/5", "#!\n"),
            ("+.platform/hooks/prebuild/6", "#!bash\n"),
            ("+.platform/hooks/prebuild/.gitkeep", ""),
        ]));
        insta::assert_snapshot!(said(&hooks.mistakes).join("\n"), @r"
        .platform/hooks/prebuild/1:1: the `#!` line ends with CR LF, so the interpreter would be `/bin/bash\r`
        .platform/hooks/prebuild/2:1: this is neither a program nor a script with a `#!` line
        .platform/hooks/prebuild/3:1: this is neither a program nor a script with a `#!` line
        .platform/hooks/prebuild/4:1: the file begins with a byte order mark, which hides `#!` from the kernel
        .platform/hooks/prebuild/5:1: the `#!` line names no interpreter
        .platform/hooks/prebuild/6:1: the interpreter `bash` is not an absolute path
        ");
        assert_eq!(hooks.warnings, []);
    }

    #[test]
    fn a_run_bit_that_is_missing_is_granted_and_said() {
        let hooks = Hooks::of(&Release::of(&[(".platform/hooks/predeploy/a.sh", "#!/bin/sh\necho a\r\n")]));
        assert!(hooks.hooks[0].lacks_run_bit);
        assert_eq!(hooks.hooks[0].form, Form::Script { crlf: true });
        assert_eq!(hooks.mistakes, []);
        insta::assert_snapshot!(said(&hooks.warnings).join("\n"), @r"
        .platform/hooks/predeploy/a.sh:2: the line ends with CR LF
        .platform/hooks/predeploy/a.sh: the run bit is missing; ingot sets it
        ");
    }

    #[test]
    fn directories_that_are_not_hooks_are_named() {
        let hooks = Hooks::of(&Release::of(&[
            ("+.platform/hooks/pre-deploy/a.sh", "#!/bin/sh\n"),
            ("+.platform/hooks/a.sh", "#!/bin/sh\n"),
            ("+.platform/hooks/prebuild/lib/b.sh", "#!/bin/sh\n"),
        ]));
        assert_eq!(hooks.hooks, []);
        let said: Vec<String> = hooks.warnings.iter().map(|warning| format!("{warning:#}")).collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        .platform/hooks/prebuild/lib: subdirectories of hooks are ignored; move its files to .platform/hooks/prebuild
        .platform/hooks/a.sh: this is not a directory of hooks, so nothing in it runs; known here: prebuild, predeploy, postdeploy
        .platform/hooks/pre-deploy: this is not a directory of hooks, so nothing in it runs; did you mean `predeploy`?
        ");
    }
}
