//! Keys that may log in.
//!
//! Keys that the launch of the build machine installed are removed: Packer's keys, which have a certain comment, and
//! those of the instance's key pair. cloud-init lists the latter, and adds them to root's file with a command that only
//! says which user to log in as. Every other key was added for a reason, so its owner has to allow or remove it.

use std::path::{Path, PathBuf};

use super::Trace;
use super::found::{Action, Found, TEXT_LIMIT, one};
use crate::host::{FileKind, HostError};
use crate::image::scrub::{Scrubber, Spot};
use crate::json::of_bytes;

/// cloud-init's instance data, while the build machine runs.
const INSTANCE_DATA: &str = "/run/cloud-init/instance-data.json";

pub(super) fn find(trace: &Trace, spot: &Spot, image: &Scrubber) -> Result<Vec<Found>, HostError> {
    // The file is in memory and so not part of an image, and the search for other traces does not see it.
    let data = image.head(&Spot::of(Path::new(INSTANCE_DATA)), TEXT_LIMIT as usize)?.unwrap_or_default();
    let launch = keys_of_launch(&data);
    let content = image.read(spot, TEXT_LIMIT)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    let mut found = Vec::new();
    for (line, number) in text.lines().zip(1..).filter(|(line, _)| is_key(line)) {
        let is_of_launch = is_of_launch(line, &launch);
        let action = if is_of_launch { Action::RemoveLine { line: line.into(), whole: true } } else { Action::Nothing };
        let mut key = one(trace, spot.clone(), Some(number), action);
        if is_of_launch {
            key.finding.says = "a key that was added at the launch of the build machine".into();
        } else {
            key.finding.hint = "remove the line, or allow it in /etc/ingot/seal.yaml with a reason".into();
        }
        found.push(key);
    }
    Ok(found)
}

/// Keys that sshd finds elsewhere: behind links in a home, and in the files of `AuthorizedKeysFile`. A
/// person has to judge them; none is removed.
pub(super) fn elsewhere(trace: &Trace, homes: &[PathBuf], image: &Scrubber) -> Result<Vec<Found>, HostError> {
    let mut spots = Vec::new();
    for home in homes {
        let directory = Spot::below(home, ".ssh");
        for spot in [directory.clone(), directory.join("authorized_keys"), directory.join("authorized_keys2")] {
            if image.find(&spot)?.is_some_and(|found| found.kind == FileKind::Symlink) {
                spots.push(spot);
            }
        }
    }
    let mut found: Vec<Found> = spots.into_iter().map(|spot| one(trace, spot, None, Action::Nothing)).collect();
    for key in &mut found {
        key.finding.says = "a link to keys, which sshd follows".into();
    }
    for place in configured(image)? {
        for spot in image.matching(&place)? {
            found.extend(find(trace, &spot, image)?.into_iter().map(|key| Found { action: Action::Nothing, ..key }));
        }
    }
    for key in &mut found {
        key.finding.hint = "remove it, or allow it in /etc/ingot/seal.yaml with a reason".into();
    }
    Ok(found)
}

/// The absolute paths of `AuthorizedKeysFile` in sshd_config(5), as patterns: `%u` matches any name.
fn configured(image: &Scrubber) -> Result<Vec<String>, HostError> {
    let mut files = image.matching("/etc/ssh/sshd_config")?;
    files.extend(image.matching("/etc/ssh/sshd_config.d/*.conf")?);
    let mut places = Vec::new();
    for file in files {
        let content = image.read(&file, TEXT_LIMIT)?.unwrap_or_default();
        for line in String::from_utf8_lossy(&content).lines() {
            let mut words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
            if words.next().is_some_and(|name| name.eq_ignore_ascii_case("AuthorizedKeysFile")) {
                let absolute = words.filter(|path| path.starts_with('/') && !path.contains("%h"));
                places.extend(absolute.map(|path| path.replace("%u", "*").replace("%U", "*")));
            }
        }
    }
    Ok(places)
}

fn is_key(line: &str) -> bool {
    !matches!(line.trim_start().bytes().next(), None | Some(b'#'))
}

fn is_of_launch(line: &str, launch: &[String]) -> bool {
    let says_whom = line.contains("echo 'Please login as the user");
    let Some((key, comment)) = key_and_comment(line) else { return says_whom };
    says_whom || is_packers(comment) || launch.iter().any(|known| known == key)
}

/// Packer names its temporary keys `packer_` followed by a random id.
fn is_packers(comment: &str) -> bool {
    comment.strip_prefix("packer_").is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
}

/// The key itself in base64, and its comment: they follow the type, which is also encoded at the beginning of the key.
fn key_and_comment(line: &str) -> Option<(&str, &str)> {
    let types = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
    let mut words = line.split_whitespace().skip_while(|word| !types.iter().any(|kind| word.starts_with(kind)));
    let _type = words.next()?;
    let key = words.next()?;
    let comment = line[line.find(key)? + key.len()..].trim();
    Some((key, comment))
}

fn keys_of_launch(instance_data: &[u8]) -> Vec<String> {
    let data: serde_json::Value = of_bytes(instance_data).unwrap_or_default();
    let lines = data["v1"]["public_ssh_keys"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
    lines.filter_map(|line| Some(key_and_comment(line)?.0.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_launch_are_told_from_others() {
        let launch = keys_of_launch(br#"{"v1": {"public_ssh_keys": ["ssh-ed25519 AAAAlaunch shop-keypair"]}}"#);
        for gone in [
            "ssh-rsa AAAAB3 packer_65f0c0de-0000",
            "ssh-ed25519 AAAAlaunch other-comment",
            "no-pty,command=\"echo 'Please login as the user \\\"admin\\\" rather than the user \\\"root\\\".';echo;sleep 10\" ssh-rsa AAAAx key",
            "no-pty ssh-ed25519 AAAAlaunch",
        ] {
            assert!(is_of_launch(gone, &launch), "{gone}");
        }
        for kept in
            ["ssh-ed25519 AAAAother ops@example.com", "ssh-ed25519 AAAApacker ops", "nonsense packer", "ssh-rsa AAAA packer-ci@example.com"]
        {
            assert!(!is_of_launch(kept, &launch), "{kept}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test makes the image that it looks at")]
    fn keys_behind_links_and_where_sshd_is_told_to_look_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let at = directory.path().join(path);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, content).unwrap();
        };
        write("srv/ssh/authorized_keys", "ssh-ed25519 AAAA ops\n");
        write("etc/ssh/sshd_config.d/10-ops.conf", "AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/operators/%u\n");
        write("etc/ssh/operators/root", "# ours\nssh-ed25519 AAAA ops\n");
        std::fs::create_dir(directory.path().join("root")).unwrap();
        std::os::unix::fs::symlink("/srv/ssh", directory.path().join("root/.ssh")).unwrap();
        let found = super::super::find::find(&Scrubber::open(directory.path()).unwrap()).unwrap();
        let keys: Vec<String> =
            found.iter().filter(|found| found.finding.rule == "authorized-keys").map(|found| found.finding.to_string()).collect();
        assert_eq!(
            keys,
            [
                "/root/.ssh: authorized-keys: a link to keys, which sshd follows",
                "/etc/ssh/operators/root:2: authorized-keys: a key that can log in"
            ]
        );
        assert!(found.iter().filter(|found| found.finding.rule == "authorized-keys").all(|found| !found.is_removable()));
    }
}
