//! One entry of `commands`, `container_commands` or `files`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::yaml::{Entry, Node, Value};
use crate::failure::nearest;
use crate::steps::application::remark::Remark;

/// What is run: a line for the shell, or a list of arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Run {
    Shell(String),
    Argv(Vec<String>),
}

/// A command, and the conditions for running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) name: String,
    /// File and line of its definition.
    pub(crate) place: (String, usize),
    pub(crate) run: Run,
    /// `None`: `/` for commands, the new release for container commands.
    pub(crate) cwd: Option<String>,
    /// Replaces the environment, unless empty.
    pub(crate) env: Vec<(String, String)>,
    /// The command runs only if this exits with 0. Ignored for a command of the leader.
    pub(crate) test: Option<Run>,
    pub(crate) ignore_errors: bool,
    /// Runs only on the instance that leads the deployment.
    pub(crate) leader_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Text(String),
    /// Decoded from base64.
    Base64(Vec<u8>),
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) path: String,
    /// File and line of its definition.
    pub(crate) place: (String, usize),
    /// Permission bits.
    pub(crate) mode: Option<u32>,
    pub(crate) owner: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) content: Content,
}

const COMMAND_KEYS: [&str; 6] = ["command", "cwd", "env", "test", "ignoreErrors", "leader_only"];

const FILE_KEYS: [&str; 6] = ["mode", "owner", "group", "content", "source", "encoding"];

/// Reads an entry of `commands`, or of `container_commands` (`in_release`).
pub(super) fn command(file: &str, entry: &Entry, in_release: bool, warnings: &mut Vec<Remark>) -> Result<Command, Remark> {
    let known = if in_release { &COMMAND_KEYS[..] } else { &COMMAND_KEYS[..5] };
    name_unknown(file, entry, known, warnings);
    let field = |name: &str| entry.node.entries().iter().find(|entry| entry.key == name);
    let Some(run) = field("command") else {
        return Err(Remark::at(file, entry.line, format!("`{}` has no `command`", entry.key), "add `command:` with the command to run"));
    };
    let optional = |name: &str| field(name).map(|field| text(file, name, &field.node)).transpose();
    let mut env = Vec::new();
    for variable in field("env").map(|env| env.node.entries()).unwrap_or_default() {
        env.push((variable.key.clone(), text(file, &variable.key, &variable.node)?));
    }
    let leader_only = in_release && flag(file, field("leader_only"))?;
    let test = field("test").map(|test| self::run(file, test)).transpose()?;
    if leader_only && test.is_some() {
        let message = format!("`{}` has both `leader_only` and `test`, so the test is ignored", entry.key);
        warnings.push(Remark::at(file, entry.line, message, "remove one of the two"));
    }
    Ok(Command {
        name: entry.key.clone(),
        place: (file.to_owned(), entry.line),
        run: self::run(file, run)?,
        cwd: optional("cwd")?,
        env,
        test: test.filter(|_| !leader_only),
        ignore_errors: flag(file, field("ignoreErrors"))?,
        leader_only,
    })
}

/// Reads an entry of `files`.
pub(super) fn file(file: &str, entry: &Entry, warnings: &mut Vec<Remark>) -> Result<File, Remark> {
    name_unknown(file, entry, &FILE_KEYS, warnings);
    let field = |name: &str| entry.node.entries().iter().find(|entry| entry.key == name);
    let optional = |name: &str| field(name).map(|field| text(file, name, &field.node)).transpose();
    if !entry.key.starts_with('/') {
        let message = format!("`{}` is not an absolute path", entry.key);
        return Err(Remark::at(file, entry.line, message, "begin the path with `/`"));
    }
    let mode = match field("mode") {
        Some(field) => Some(mode(file, field)?),
        None => None,
    };
    let is_base64 = optional("encoding")?.as_deref() == Some("base64");
    let content = match (optional("content")?, optional("source")?) {
        (Some(content), _) if is_base64 => {
            let letters: String = content.split_ascii_whitespace().collect();
            Content::Base64(STANDARD.decode(letters).map_err(|_| {
                let message = format!("the content of `{}` is not base64", entry.key);
                Remark::at(file, entry.line, message, "encode it with `base64`, or remove `encoding`")
            })?)
        }
        (Some(content), _) => Content::Text(content),
        (None, Some(source)) => {
            let hint = "put the file into the bundle, or fetch it with a command";
            return Err(Remark::at(file, entry.line, format!("`source` is not fetched: {source}"), hint));
        }
        (None, None) => return Err(Remark::at(file, entry.line, format!("`{}` has no `content`", entry.key), "add `content:`")),
    };
    Ok(File {
        path: entry.key.clone(),
        place: (file.to_owned(), entry.line),
        mode,
        owner: optional("owner")?,
        group: optional("group")?,
        content,
    })
}

/// Parses six octal digits, of which the first two are the file type: `000755`.
fn mode(file: &str, field: &Entry) -> Result<u32, Remark> {
    let written = text(file, "mode", &field.node)?;
    let is_octal = (3..=6).contains(&written.len()) && written.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    // If the file type is given, it must be that of a regular file.
    let is_file = |mode: &u32| is_octal && matches!(mode >> 12, 0 | 0o10);
    u32::from_str_radix(&written, 8).ok().filter(is_file).map(|mode| mode & 0o7777).ok_or_else(|| {
        Remark::at(file, field.line, format!("`{written}` is not a file mode"), "write six octal digits in quotes, such as \"000755\"")
    })
}

fn run(file: &str, field: &Entry) -> Result<Run, Remark> {
    match &field.node.value {
        Value::List(words) => words.iter().map(|word| text(file, &field.key, word)).collect::<Result<_, _>>().map(Run::Argv),
        Value::Scalar(_) | Value::Map(_) => text(file, &field.key, &field.node).map(Run::Shell),
    }
}

fn flag(file: &str, field: Option<&Entry>) -> Result<bool, Remark> {
    let Some(field) = field else { return Ok(false) };
    match text(file, &field.key, &field.node)?.to_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" | "" => Ok(false),
        _ => Err(Remark::at(file, field.line, format!("`{}` is neither true nor false", field.key), "write `true` or `false`")),
    }
}

/// A scalar that contains no CloudFormation function.
pub(super) fn text(file: &str, key: &str, node: &Node) -> Result<String, Remark> {
    let is_function = |key: &str| key == "Ref" || key.starts_with("Fn::");
    let function = || {
        let hint = "give the value in `environment:` of the application, and use it as `$NAME`";
        Remark::at(file, node.line, format!("`{key}` holds a function of CloudFormation, which only Elastic Beanstalk resolves"), hint)
    };
    match &node.value {
        // A function may be part of a command: `echo `{"Ref": "AWSEBEnvironmentName"}``.
        Value::Scalar(text) if text.contains("`{") && (text.contains("\"Ref\"") || text.contains("\"Fn::")) => Err(function()),
        Value::Scalar(text) => Ok(text.clone()),
        Value::Map(entries) if entries.iter().any(|entry| is_function(&entry.key)) => Err(function()),
        Value::Map(_) | Value::List(_) => {
            Err(Remark::at(file, node.line, format!("`{key}` is not a string"), "write it on one line, in quotes"))
        }
    }
}

fn name_unknown(file: &str, entry: &Entry, known: &[&str], warnings: &mut Vec<Remark>) {
    for field in entry.node.entries().iter().filter(|field| !known.contains(&field.key.as_str())) {
        let message = format!("`{}` of `{}` is not read", field.key, entry.key);
        let hint = match nearest(&field.key, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        warnings.push(Remark::at(file, field.line, message, hint));
    }
}
