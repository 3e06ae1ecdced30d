//! Keys that may log in.
//!
//! Those that the launch of the build machine put there go: Packer's, which it names in their comment, and those of the
//! instance's key pair, which cloud-init lists and has put into root's file with a command that only says whom to log in as.
//! Any other was put there by somebody for a reason: it is for that person to allow it, or to remove it.

use std::path::Path;

use super::Trace;
use super::find::{Action, Found, TEXT_LIMIT, one};
use crate::host::HostError;
use crate::host::scrub::{Scrubber, Spot};

/// Where cloud-init says what it was told, while the build machine runs.
const INSTANCE_DATA: &str = "/run/cloud-init/instance-data.json";

pub(super) fn find(trace: &Trace, spot: &Spot, image: &Scrubber) -> Result<Vec<Found>, HostError> {
    let data = image.read(&Spot::of(Path::new(INSTANCE_DATA)), TEXT_LIMIT)?.unwrap_or_default();
    let launch = keys_of_launch(&data);
    let content = image.read(spot, TEXT_LIMIT)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    let mut found = Vec::new();
    for (line, number) in text.lines().zip(1..).filter(|(line, _)| is_key(line)) {
        let is_of_launch = is_of_launch(line, &launch);
        let action = if is_of_launch { Action::RemoveLine { line: line.into(), whole: true } } else { Action::Nothing };
        let mut key = one(trace, spot.clone(), Some(number), action);
        if is_of_launch {
            key.finding.says = "a key that the launch of the build machine put there".into();
        } else {
            key.finding.hint = "remove the line, or allow it in /etc/ingot/seal.yaml with a reason".into();
        }
        found.push(key);
    }
    Ok(found)
}

fn is_key(line: &str) -> bool {
    !matches!(line.trim_start().bytes().next(), None | Some(b'#'))
}

fn is_of_launch(line: &str, launch: &[String]) -> bool {
    let says_whom = line.contains("echo 'Please login as the user");
    let Some((key, comment)) = key_and_comment(line) else { return says_whom };
    says_whom || comment.starts_with("packer") || launch.iter().any(|known| known == key)
}

/// The key itself, in base64, and its comment: what follows the type of the key, which begins with the same word that the
/// key itself encodes.
fn key_and_comment(line: &str) -> Option<(&str, &str)> {
    let types = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
    let mut words = line.split_whitespace().skip_while(|word| !types.iter().any(|kind| word.starts_with(kind)));
    let _type = words.next()?;
    let key = words.next()?;
    let comment = line[line.find(key)? + key.len()..].trim();
    Some((key, comment))
}

fn keys_of_launch(instance_data: &[u8]) -> Vec<String> {
    let data: serde_json::Value = serde_json::from_slice(instance_data).unwrap_or_default();
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
        for kept in ["ssh-ed25519 AAAAother ops@example.com", "ssh-ed25519 AAAApacker ops", "nonsense packer"] {
            assert!(!is_of_launch(kept, &launch), "{kept}");
        }
    }
}
