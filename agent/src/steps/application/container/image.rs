//! What a container engine reports about an image that it has. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The parts of an image's configuration that say what runs, and where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Image {
    /// Identifies the image on this machine, even if its names move to other images.
    pub(super) id: String,
    /// `name@sha256:…`, one for each registry that the image came from.
    pub(super) digests: Vec<String>,
    pub(super) tags: Vec<String>,
    /// In Go's spelling: `amd64`.
    pub(super) architecture: String,
    pub(super) entrypoint: Vec<String>,
    pub(super) command: Vec<String>,
    /// The port on which it listens, as the image declares it.
    pub(super) port: Option<u16>,
}

/// The output of podman or docker, which omit empty fields or set them to `null`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: Option<String>,
    repo_digests: Option<Vec<String>>,
    repo_tags: Option<Vec<String>>,
    architecture: Option<String>,
    config: Option<Config>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    exposed_ports: Option<BTreeMap<String, Value>>,
}

impl Image {
    /// Parses the output of `image inspect` for one image; `None` if the output is something else. Lines around the
    /// list are warnings, which arrive on the same pipe.
    pub(super) fn said(lines: &[String]) -> Option<Self> {
        let begin = lines.iter().position(|line| line.starts_with('['))?;
        let end = lines.iter().rposition(|line| line.ends_with(']'))?;
        Self::parse(&lines.get(begin..=end)?.join("\n"))
    }

    fn parse(text: &str) -> Option<Self> {
        let found: Vec<Inspected> = serde_json::from_str(text).ok()?;
        let found = found.into_iter().next()?;
        let config = found.config.unwrap_or_default();
        Some(Self {
            id: found.id.filter(|id| !id.is_empty())?,
            digests: found.repo_digests.unwrap_or_default(),
            tags: found.repo_tags.unwrap_or_default(),
            architecture: found.architecture.unwrap_or_default(),
            port: port(&config),
            entrypoint: config.entrypoint.unwrap_or_default(),
            command: config.cmd.unwrap_or_default(),
        })
    }

    /// Whether this machine's processor can run it.
    pub(super) fn runs_on(&self, machine: &str) -> bool {
        self.architecture.is_empty() || self.architecture == machine
    }

    /// The name that identifies this image permanently, if the image came from that repository.
    pub(super) fn pinned(&self, repository: &str) -> String {
        let of_it = |digest: &&String| digest.rsplit_once('@').is_some_and(|(name, _)| name == repository);
        self.digests.iter().find(of_it).unwrap_or(&self.id).clone()
    }
}

/// The architecture of this machine, in Go's spelling.
pub(super) fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The port in its PORT variable, else the lowest TCP port that it exposes.
fn port(config: &Config) -> Option<u16> {
    let named = config.env.iter().flatten().find_map(|line| line.strip_prefix("PORT=")?.parse().ok());
    let exposed = config.exposed_ports.iter().flat_map(BTreeMap::keys);
    let tcp = exposed.filter_map(|port| match port.split_once('/') {
        Some((port, "tcp")) => port.parse().ok(),
        Some(_) => None,
        None => port.parse().ok(),
    });
    named.or_else(|| tcp.min())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_engines_are_understood() {
        let podman = r#"[{"Id":"05ab","RepoDigests":["r.example/shop@sha256:1"],"RepoTags":[],"Architecture":"amd64","User":"app",
            "Config":{"User":"app","ExposedPorts":{"9000/tcp":{},"53/udp":{},"8080/tcp":{}},"Cmd":["serve"],"Entrypoint":["/init"]}}]"#;
        let image = Image::parse(podman).unwrap();
        assert_eq!((image.port, image.entrypoint[0].as_str(), image.command[0].as_str()), (Some(8080), "/init", "serve"));
        assert_eq!((image.pinned("r.example/shop").as_str(), image.pinned("other/shop").as_str()), ("r.example/shop@sha256:1", "05ab"));
        assert!(image.runs_on("amd64") && !image.runs_on("arm64"));
        let docker = r#"[{"Id":"sha256:05ab","Config":{"Env":["PORT=3000"],"ExposedPorts":null,"Entrypoint":null,"Cmd":null}}]"#;
        assert_eq!(Image::parse(docker).unwrap().port, Some(3000));
        assert_eq!(Image::parse("[]"), None);
    }

    #[test]
    fn warnings_around_the_answer_are_passed_over() {
        let said = |text: &str| Image::said(&text.lines().map(str::to_owned).collect::<Vec<_>>()).map(|image| image.id);
        let warning = "time=\"2026-01-01\" level=warning msg=\"cgroup v2: [systemd] is not available\"";
        assert_eq!(said(&format!("{warning}\n[\n {{\"Id\": \"05ab\"}}\n]\n{warning}")).as_deref(), Some("05ab"));
        assert_eq!(said("[{\"Id\":\"05ab\"}]").as_deref(), Some("05ab"));
        assert_eq!(said(warning), None);
        assert_eq!(said("]\n["), None);
    }
}
