//! `Procfile` and `Buildfile`: one process per line, `NAME: COMMAND`.
//!
//! ```text
//! web: bin/shop --port $PORT
//! jobs: bin/shop jobs
//! ```
//!
//! The commands of a Procfile run all the time; those of a Buildfile run once, in order, and have to finish. The line
//! format is that of Elastic Beanstalk, `^[A-Za-z0-9_-]+:\s*[^\s].*$`; empty lines and comments (`#`) are ignored. A
//! Procfile has to define a process `web`, which receives the requests.
//!
//! Source: <https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/java-se-procfile.html>

use std::collections::BTreeMap;

use crate::steps::application::release::Release;
use crate::steps::application::remark::Remark;

/// The process that requests are passed to.
pub(crate) const WEB: &str = "web";

pub(crate) const PROCFILE: &str = "Procfile";

/// Maximum length of the name of a process or an application: unit names contain both, and are limited to 255
/// characters.
pub(crate) const LONGEST_NAME: usize = 64;

pub(crate) const BUILDFILE: &str = "Buildfile";

/// A name, and a command for `/bin/sh -c`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) command: String,
}

impl Process {
    pub(crate) fn new(name: impl Into<String>, command: impl Into<String>) -> Self {
        Self { name: name.into(), command: command.into() }
    }
}

/// The entries of a Procfile or Buildfile, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Processes {
    pub(crate) processes: Vec<Process>,
    pub(crate) mistakes: Vec<Remark>,
}

/// The Procfile of a release; `None` if it has none.
pub(crate) fn procfile(release: &Release) -> Option<Processes> {
    let mut read = read(PROCFILE, release)?;
    let has_web = read.processes.iter().any(|process| process.name == WEB);
    if read.mistakes.is_empty() && !has_web {
        let near = read.processes.iter().find(|process| process.name.eq_ignore_ascii_case(WEB));
        let hint = match near {
            Some(near) => format!("write `{WEB}` for `{}`", near.name),
            None => format!("name the process that serves requests `{WEB}`"),
        };
        read.mistakes.push(Remark::of(PROCFILE, format!("no process is named `{WEB}`"), hint));
    }
    Some(read)
}

/// The Buildfile of a release; `None` if it has none.
pub(crate) fn buildfile(release: &Release) -> Option<Processes> {
    read(BUILDFILE, release)
}

/// A file whose name differs from `wanted` only by upper and lower case, such as `procfile`.
pub(crate) fn misnamed<'a>(release: &'a Release, wanted: &str) -> Option<&'a str> {
    release.within("").map(|(name, _)| name).find(|name| *name != wanted && name.eq_ignore_ascii_case(wanted))
}

fn read(file: &str, release: &Release) -> Option<Processes> {
    let text = match release.text(file)? {
        Ok(text) => text,
        Err(mistake) => return Some(Processes { processes: Vec::new(), mistakes: vec![mistake] }),
    };
    let mut read = Processes::default();
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, line) in text.split('\n').enumerate().map(|(index, line)| (index + 1, line.strip_suffix('\r').unwrap_or(line))) {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let (name, command) = match parsed(line) {
            Ok(parsed) => parsed,
            Err(message) => {
                read.mistakes.push(Remark::at(file, number, message, "write the line as `NAME: COMMAND`, without space before NAME"));
                continue;
            }
        };
        match lines.get(name) {
            Some(first) => {
                let message = format!("`{name}` is named twice, first on line {first}");
                read.mistakes.push(Remark::at(file, number, message, "rename one of the two"));
            }
            None => {
                lines.insert(name, number);
                read.processes.push(Process::new(name, command));
            }
        }
    }
    if let Some(number) = text.split('\n').position(|line| line.ends_with('\r')) {
        let hint = format!("run `sed -i 's/\\r$//' {file}`");
        read.mistakes.push(Remark::at(file, number + 1, "the line ends with CR LF", hint));
    }
    if read.processes.is_empty() && read.mistakes.is_empty() {
        read.mistakes.push(Remark::of(
            file,
            "the file names no process",
            "add a line such as `web: bin/shop --port $PORT`, or remove the file",
        ));
    }
    Some(read)
}

/// The name and command in a line, or what is wrong with it.
fn parsed(line: &str) -> Result<(&str, &str), String> {
    let Some((name, command)) = line.split_once(':') else { return Err("this line has no colon".into()) };
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == '-';
    match command.trim() {
        _ if name.is_empty() => Err("the name before the colon is missing".into()),
        _ if name.trim() != name => Err(format!("there is space around the name `{}`", name.trim())),
        _ if !name.chars().all(is_name) => {
            Err(format!("`{name}` is not a name of a process: only ASCII letters, digits, `_` and `-` are allowed"))
        }
        _ if name.len() > LONGEST_NAME => Err(format!("the name `{}…` is longer than {LONGEST_NAME} characters", &name[..16])),
        "" => Err(format!("the command after `{name}:` is missing")),
        command if command.contains('\0') => Err(format!("the command of `{name}` holds a NUL byte")),
        command => Ok((name, command)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Processes {
        procfile(&Release::of(&[(PROCFILE, text)])).unwrap()
    }

    fn mistakes(text: &str) -> Vec<String> {
        of(text).mistakes.iter().map(|mistake| format!("{mistake:#}")).collect()
    }

    #[test]
    fn reads_processes_in_their_order() {
        let read = of("# what runs\nweb:bin/shop --port $PORT  \n\n  # later\njob_2-b: \tX=1 bin/shop: jobs # all\n");
        assert_eq!(read.mistakes, []);
        assert_eq!(read.processes, [Process::new("web", "bin/shop --port $PORT"), Process::new("job_2-b", "X=1 bin/shop: jobs # all")]);
        assert_eq!(of("\u{feff}web: x").processes, [Process::new("web", "x")]);
        assert_eq!(procfile(&Release::default()), None);
    }

    #[test]
    fn every_mistake_has_its_line() {
        insta::assert_snapshot!(mistakes("web: a\nworker b\n : c\nb c: d\njobs:\n web: e\nweb: f\nté: g\n").join("\n"), @r"
        Procfile:2: this line has no colon; write the line as `NAME: COMMAND`, without space before NAME
        Procfile:3: there is space around the name ``; write the line as `NAME: COMMAND`, without space before NAME
        Procfile:4: `b c` is not a name of a process: only ASCII letters, digits, `_` and `-` are allowed; write the line as `NAME: COMMAND`, without space before NAME
        Procfile:5: the command after `jobs:` is missing; write the line as `NAME: COMMAND`, without space before NAME
        Procfile:6: there is space around the name `web`; write the line as `NAME: COMMAND`, without space before NAME
        Procfile:7: `web` is named twice, first on line 1; rename one of the two
        Procfile:8: `té` is not a name of a process: only ASCII letters, digits, `_` and `-` are allowed; write the line as `NAME: COMMAND`, without space before NAME
        ");
    }

    #[test]
    fn what_the_whole_file_lacks_is_a_mistake() {
        assert_eq!(mistakes("jobs: x\n"), ["Procfile: no process is named `web`; name the process that serves requests `web`"]);
        assert_eq!(mistakes("Web: x\n"), ["Procfile: no process is named `web`; write `web` for `Web`"]);
        let none = "Procfile: the file names no process; add a line such as `web: bin/shop --port $PORT`, or remove the file";
        assert_eq!(mistakes("# web: x\n"), [none]);
        let nul = mistakes("web: x\0y\n");
        assert!(nul[0].starts_with("Procfile:1: the command of `web` holds a NUL byte"), "{nul:?}");
        assert_eq!(mistakes("# a\r\nweb: x\r\njobs: y\r\n"), ["Procfile:1: the line ends with CR LF; run `sed -i 's/\\r$//' Procfile`"]);
    }

    #[test]
    fn text_that_is_not_utf_8_is_a_mistake_in_its_line() {
        let release = Release::of_bytes(PROCFILE, b"web: a\njobs: \xff\n");
        assert_eq!(procfile(&release).unwrap().mistakes[0].to_string(), "Procfile:2: this is not UTF-8 text");
    }

    #[test]
    fn a_buildfile_needs_no_web() {
        let release = Release::of(&[(BUILDFILE, "compile: make\npack: make pack\n")]);
        let read = buildfile(&release).unwrap();
        assert_eq!((read.processes.len(), read.mistakes.len()), (2, 0));
        assert_eq!(misnamed(&Release::of(&[("procfile", "")]), PROCFILE), Some("procfile"));
    }

    proptest! {
        /// The accepted lines are exactly those that Elastic Beanstalk's expression matches.
        #[test]
        fn takes_the_lines_that_the_expression_takes(line in "[ab_:# \t-]{0,12}") {
            let expression = regex_lite::Regex::new(r"^[A-Za-z0-9_-]+:\s*[^\s].*$").unwrap();
            let passed_over = line.trim().is_empty() || line.trim_start().starts_with('#');
            prop_assert_eq!(of(&line).processes.len() == 1, !passed_over && expression.is_match(&line));
        }
    }
}
