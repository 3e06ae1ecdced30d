//! The files that a dry run rendered: written to a directory, or compared with those in one.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::document::source::SIZE_LIMIT;
use crate::host::files::DiskFiles;
use crate::host::users::EtcUsers;
use crate::host::{Attributes, FileKind, Files, HostError, Users};
use crate::plan::Plan;
use crate::redaction::Redactor;
use crate::rehearse::invented::Invented;
use crate::step::World;
use crate::steps::install;

/// One rendered file.
pub(super) struct Rendered {
    pub(super) path: PathBuf,
    pub(super) content: Zeroizing<Vec<u8>>,
    pub(super) mode: u32,
    pub(super) secret: bool,
}

/// Reads every file that a step has written to the machine of `world`.
pub(super) async fn rendered(plan: &Plan, world: &World, invented: &Invented) -> Result<Vec<Rendered>, HostError> {
    let mut rendered = Vec::new();
    for node in &plan.nodes {
        let Some(path) = world.known.path(&node.address) else { continue };
        let Some(stat) = world.host.files.stat(&path).await?.filter(|stat| stat.kind == FileKind::File) else { continue };
        if let Some(content) = world.host.files.read(&path, u64::MAX).await? {
            let content = invented.told_in_file(content);
            rendered.push(Rendered { path, content, mode: stat.attributes.mode, secret: node.holds_secret });
        }
    }
    Ok(rendered)
}

/// Writes the files below `out`, with their modes, owned by the caller.
///
/// # Errors
///
/// Names the path below `out`.
pub(super) async fn write(rendered: &[Rendered], out: &Path) -> Result<(), HostError> {
    write_below(rendered, out).await.map_err(|error| match error {
        HostError::Path { operation, path, source } => {
            let path = out.join(path.strip_prefix("/").unwrap_or(&path));
            HostError::Path { operation, path, source }
        }
        other => other,
    })
}

async fn write_below(rendered: &[Rendered], out: &Path) -> Result<(), HostError> {
    let files = DiskFiles::new(Some(out.to_owned()));
    let (uid, gid) = EtcUsers::new(None).own();
    for file in rendered {
        if let Some(parent) = file.path.parent() {
            files.create_directory(parent, 0o755).await?;
        }
        let staged = install::staged(&file.path);
        files.stage(&staged, &file.content, Attributes { mode: file.mode, uid, gid }).await?;
        files.install(&staged, &file.path).await?;
    }
    Ok(())
}

/// Compares each file with the one below `directory`. Returns unified diffs without secrets.
pub(super) async fn diffs(rendered: &[Rendered], directory: &Path, redactor: &Redactor) -> Result<Vec<String>, HostError> {
    let files = DiskFiles::new(Some(directory.to_owned()));
    let mut diffs = Vec::new();
    for file in rendered {
        let found = files.read(&file.path, SIZE_LIMIT).await?;
        let before = found.as_ref().map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
        let after = String::from_utf8_lossy(&file.content);
        if before != after || found.is_none() {
            let unreadable = file.secret
                && (std::str::from_utf8(&file.content).is_err() || found.as_ref().is_some_and(|bytes| std::str::from_utf8(bytes).is_err()));
            diffs.push(match unreadable {
                true => format!("{} differs; it contains a binary secret", file.path.display()),
                false => diff(&file.path, &before, &after, file.secret, redactor),
            });
        }
    }
    Ok(diffs)
}

fn diff(path: &Path, before: &str, after: &str, secret: bool, redactor: &Redactor) -> String {
    let (old, new) = (format!("a{}", path.display()), format!("b{}", path.display()));
    let mut options = diffy::DiffOptions::new();
    let text = options.set_original_filename(old).set_modified_filename(new).create_patch(before, after).to_string();
    if !secret {
        return text;
    }
    let lines = text.lines().enumerate().map(|(index, line)| match line.as_bytes().first() {
        // The two header lines, and the positions of the hunks.
        _ if index < 2 => line.to_owned(),
        Some(b'@') => line.to_owned(),
        // The old line may contain a secret that the redactor does not know.
        Some(b'-') => "-[redacted: a removed line of a file with secrets]".to_owned(),
        _ => redacted(line, redactor),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Redacts a line of a diff. Its first character is not part of the file.
fn redacted(line: &str, redactor: &Redactor) -> String {
    let (sign, content) = line.split_at(line.ceil_char_boundary(1));
    format!("{sign}{}", redactor.redact_content(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_of_a_file_with_secrets_shows_none_old_or_new() {
        let redactor = Redactor::default();
        redactor.learn(&serde_json::json!("hunter2"), &[]);
        let path = Path::new("/etc/x");
        let text = diff(path, "a\npassword old-one\n", "a\npassword hunter2\n", true, &redactor);
        insta::assert_snapshot!(text, @r"
        --- a/etc/x
        +++ b/etc/x
        @@ -1,2 +1,2 @@
         a
        -[redacted: a removed line of a file with secrets]
        +password [redacted]
        ");
        redactor.learn(&serde_json::json!({ "pin": "4711", "tls": true }), &[]);
        let text = diff(path, "a=+1\n", "a=+1\npin=4711\ntls=true\n", true, &redactor);
        assert!(text.ends_with(" a=+1\n+pin=[redacted]\n+tls=[redacted]"), "{text}");
        let text = diff(path, "port 1\n", "port 2\n", false, &redactor);
        assert!(text.contains("-port 1") && text.contains("+port 2"), "{text}");
    }
}
