//! Why a container does not run, and how the output of its engine is classified.

use super::engine::{Engine, INSPECT};
use crate::aws::AwsError;
use crate::failure::Failure;
use crate::host::HostError;
use crate::step::fields::Excerpt;

/// Why a container does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContainerError {
    #[error("neither podman nor docker is installed")]
    NoEngine,
    #[error("no program for compose files is installed")]
    NoCompose,
    #[error("{program} cannot {what}: {refusal}")]
    Compose {
        program: String,
        what: String,
        refusal: Refusal,
        #[source]
        said: Box<Excerpt>,
    },
    #[error("{0} is not supported with a compose file, whose containers are not in the unit of the application")]
    Composed(&'static str),
    #[error("`{name}` {why}")]
    Name { name: String, why: &'static str },
    #[error("cannot log in to {registry}")]
    Login { registry: String, source: Box<AwsError> },
    #[error("{}: {refusal}", engine.program().to_owned() + " cannot " + what)]
    Engine {
        engine: Engine,
        /// `pull IMAGE`
        what: String,
        refusal: Refusal,
        #[source]
        said: Box<Excerpt>,
    },
    #[error("{image} is for {is}, and this machine is {machine}")]
    Architecture { image: String, is: String, machine: &'static str },
    #[error("{image} does not define what it runs")]
    Idle { image: String },
    #[error("the command of `{process}` {why}")]
    Command { process: String, why: &'static str },
    #[error("{image} is not on this machine")]
    NotHere { image: String },
    /// Requires podman, whose containers are in the unit of the application.
    #[error("{0} is not supported with docker, whose containers are not in the unit of the application")]
    Unkept(&'static str),
    #[error(transparent)]
    Host(HostError),
}

/// The kind of an engine's failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A network or registry that is temporarily unavailable.
    Passing,
    Daemon,
    /// With the ECR action that the role lacks, if the registry names it.
    Denied(Option<String>),
    NotFound,
    Architecture,
    DiskFull,
    Syntax,
    Untrusted,
}

/// Phrases of podman, docker and registries, in lower case.
const WORDS: [(&str, Refusal); 19] = [
    ("cannot connect to the docker daemon", Refusal::Daemon),
    ("is the docker daemon running", Refusal::Daemon),
    ("no space left on device", Refusal::DiskFull),
    ("disk quota exceeded", Refusal::DiskFull),
    ("no basic auth credentials", Refusal::Denied(None)),
    ("is not authorized to perform", Refusal::Denied(None)),
    ("unauthorized", Refusal::Denied(None)),
    ("denied", Refusal::Denied(None)),
    ("authentication required", Refusal::Denied(None)),
    ("no matching manifest for", Refusal::Architecture),
    ("no image found in manifest list", Refusal::Architecture),
    ("no image found in image index", Refusal::Architecture),
    ("manifest unknown", Refusal::NotFound),
    ("name unknown", Refusal::NotFound),
    ("repository does not exist", Refusal::NotFound),
    ("no such image", Refusal::NotFound),
    ("image not known", Refusal::NotFound),
    ("invalid reference format", Refusal::Syntax),
    ("x509:", Refusal::Untrusted),
];

impl Refusal {
    /// This refusal, or the one that another line indicates. The first indication wins, unless a later one is more
    /// specific.
    pub(super) fn or(&self, line: &str) -> Self {
        // "Permission denied" is about a file, not about a registry.
        let lower = line.to_ascii_lowercase().replace("permission denied", "");
        let found = WORDS.iter().find(|(words, _)| lower.contains(words)).map(|(_, refusal)| refusal);
        match (self, found) {
            (Self::Passing | Self::Denied(None), Some(Self::Denied(None))) => Self::Denied(action(line)),
            (Self::Passing, Some(found)) => found.clone(),
            _ => self.clone(),
        }
    }
}

/// The missing IAM action, such as `ecr:BatchGetImage`.
fn action(line: &str) -> Option<String> {
    let word = line.split_whitespace().find(|word| word.starts_with("ecr:"))?;
    Some(word.trim_end_matches(['.', ',', '"']).to_owned())
}

impl Refusal {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Daemon => "enable docker.service in the image of this machine, and run `systemctl status docker`".into(),
            Self::Denied(action) => {
                let action = action.as_deref().unwrap_or("ecr:BatchGetImage and ecr:GetDownloadUrlForLayer");
                format!(
                    "allow {action} on the repository in the instance's role and, if it belongs to another account, in the \
                     repository's policy"
                )
            }
            Self::NotFound => "push it, or correct the repository or the tag in the document".into(),
            Self::Architecture => {
                "build it for this processor too, as in `docker buildx build --platform linux/amd64,linux/arm64 --push --tag IMAGE DIR`"
                    .into()
            }
            Self::DiskFull => "enlarge the disk of /var/lib, or remove unused images".into(),
            Self::Syntax => "correct the name in the document".into(),
            Self::Untrusted => {
                "put the certificate of its authority into /etc/containers/certs.d/REGISTRY/ca.crt, for docker below /etc/docker".into()
            }
            Self::Passing => return None,
        })
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Passing => "it failed",
            Self::Daemon => "its daemon is not running",
            Self::Denied(_) => "access denied",
            Self::NotFound => "not found in the registry",
            Self::Architecture => "the registry has no image for this machine's processor",
            Self::DiskFull => "the disk is full",
            Self::Syntax => "this is not the name of an image",
            Self::Untrusted => "the registry's certificate is not trusted",
        })
    }
}

impl Failure for ContainerError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoEngine => "install podman in the image of this machine".into(),
            Self::Name { .. } => "write `REGISTRY/REPOSITORY:TAG`, or `REGISTRY/REPOSITORY@sha256:DIGEST`".into(),
            Self::Login { source, .. } => {
                return source.hint().map(|hint| match source.kind {
                    crate::aws::AwsErrorKind::Denied => "allow ecr:GetAuthorizationToken on * in the instance's role".into(),
                    _ => hint,
                });
            }
            Self::Engine { refusal, what, engine, .. } => refusal.hint().unwrap_or_else(|| match what.starts_with("build") {
                true => format!("run `{} build .` in the directory of the release", engine.program()),
                false => format!("run `{} {what}` yourself", engine.program()),
            }),
            Self::Compose { refusal, program, .. } => {
                refusal.hint().unwrap_or_else(|| format!("run `{program}` in the directory of the release"))
            }
            Self::NoCompose => "install docker-compose-plugin or podman-compose in the image of this machine".into(),
            Self::Composed(_) => "limit the services in the compose file, and remove the field".into(),
            Self::Architecture { machine, .. } => format!("build it for linux/{machine}"),
            Self::Idle { .. } => "name the command as `run: { web: … }`, or give the image a CMD".into(),
            Self::Command { .. } => "end the quote, or put a backslash before it".into(),
            Self::NotHere { .. } => "run `ingot boot`, which pulls it".into(),
            Self::Unkept(_) => "install podman in the image of this machine, or remove the field".into(),
            Self::Host(source) => return source.hint(),
        })
    }

    fn is_transient(&self) -> bool {
        match self {
            Self::Login { source, .. } => source.is_transient(),
            // A build that failed would fail again.
            Self::Engine { refusal, what, .. } => *refusal == Refusal::Passing && (what.starts_with("pull") || what.starts_with(INSPECT)),
            Self::Host(source) => source.is_transient(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(lines: &[&str]) -> Refusal {
        lines.iter().fold(Refusal::Passing, |refusal, line| refusal.or(line))
    }

    #[test]
    fn what_engines_say_is_understood() {
        for (line, refusal) in [
            (
                "Error: initializing source docker://r/shop:9: reading manifest 9 in r/shop: manifest unknown: manifest unknown",
                Refusal::NotFound,
            ),
            ("name unknown: The repository with name 'shop' does not exist in the registry with id '1'", Refusal::NotFound),
            ("Error: reading manifest 1 in r/shop: unauthorized: authentication required", Refusal::Denied(None)),
            (
                "denied: User: arn:aws:sts::1:assumed-role/x is not authorized to perform: ecr:BatchGetImage on resource: arn:y",
                Refusal::Denied(Some("ecr:BatchGetImage".into())),
            ),
            ("writing blob: storing blob to file: write /var/tmp/x: no space left on device", Refusal::DiskFull),
            ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?", Refusal::Daemon),
            ("no matching manifest for linux/arm64/v8 in the manifest list entries", Refusal::Architecture),
            ("pinging container registry r: Get \"https://r/v2/\": dial tcp: connection refused", Refusal::Passing),
            ("tls: failed to verify certificate: x509: certificate signed by unknown authority", Refusal::Untrusted),
            ("Error: r/shop:9: image not known", Refusal::NotFound),
            ("Error response from daemon: No such image: shop:9", Refusal::NotFound),
            ("COPY a /b: permission denied", Refusal::Passing),
            ("received unexpected HTTP status: 503 Service Unavailable", Refusal::Passing),
        ] {
            assert_eq!(judged(&["Trying to pull r/shop...", line, "Error: exit status 125"]), refusal, "{line}");
        }
    }
}
