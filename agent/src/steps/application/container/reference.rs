//! The name of an image as written in documents: `registry/repository:tag@digest`. Pure.
//!
//! Source: <https://github.com/distribution/reference/blob/main/reference.go>.

use std::fmt;

/// The registry of an image name without one, as in docker.
const DEFAULT: &str = "docker.io";

/// The registry of images that were made on this machine: no server has this name.
const LOCAL: &str = "localhost";

/// Maximum length of a repository name including its registry. Below: that of a tag.
const LONGEST: usize = 255;
const LONGEST_TAG: usize = 128;

/// An image by its full name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) registry: String,
    pub(crate) repository: String,
    tag: Option<String>,
    /// `sha256:` and 64 hexadecimal digits.
    digest: Option<String>,
}

impl Reference {
    /// # Errors
    ///
    /// What is wrong with the name, as a fragment that follows the name.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err("has a digest that is not `sha256:` and 64 hexadecimal digits");
        }
        // The last colon starts a tag, unless it belongs to the registry's port.
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err("has an invalid tag: use letters, digits, `_`, `.` and `-`, and begin with none of the last two");
        }
        let is_registry = |first: &str| first.contains(['.', ':']) || first == LOCAL;
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest.to_owned()),
            Some(_) => (DEFAULT, name.to_owned()),
            None => (DEFAULT, format!("library/{name}")),
        };
        if !is_host(registry) || !repository.split('/').all(is_component) || name.len() > LONGEST {
            return Err("is not the name of an image: write `registry/repository:tag`, the repository in lower case");
        }
        let (registry, owned) = (registry.to_owned(), |text: &str| text.to_owned());
        Ok(Self { registry, repository, tag: tag.map(owned), digest: digest.map(owned) })
    }

    /// The version to display: the tag, or else the start of the digest.
    pub(crate) fn version(&self) -> String {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => tag.clone(),
            (None, Some(digest)) => digest.chars().skip("sha256:".len()).take(12).collect(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// Whether the name always identifies the same image.
    pub(crate) fn is_fixed(&self) -> bool {
        self.digest.is_some()
    }

    /// Whether the image can only be on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.registry == LOCAL
    }

    /// Registry and repository.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

/// The form in which it is pulled: docker does not accept a tag together with a digest.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.digest {
            Some(digest) => write!(f, "{}@{digest}", self.name()),
            None => write!(f, "{}:{}", self.name(), self.version()),
        }
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')))
}

fn is_tag(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(is_word) && text.len() <= LONGEST_TAG && text.chars().all(|c| is_word(c) || ".-".contains(c))
}

fn is_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let is_label =
        |label: &str| !label.is_empty() && !label.starts_with('-') && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    host.split('.').all(is_label) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Lower-case letters and digits, with `.`, `_`, `__` or hyphens between them.
fn is_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_word) && text.ends_with(is_word) && text.chars().all(|c| is_word(c) || "._-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_name_is_made_whole() {
        let ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/shop";
        for (text, whole, version) in [
            ("nginx", "docker.io/library/nginx:latest", "latest"),
            ("team/shop:1.2", "docker.io/team/shop:1.2", "1.2"),
            ("localhost/shop:1", "localhost/shop:1", "1"),
            ("registry:5000/shop", "registry:5000/shop:latest", "latest"),
            (&format!("{ecr}:1.2"), &format!("{ecr}:1.2"), "1.2"),
            (&format!("{ecr}@{DIGEST}"), &format!("{ecr}@{DIGEST}"), "0123456789ab"),
            (&format!("{ecr}:1.2@{DIGEST}"), &format!("{ecr}@{DIGEST}"), "1.2"),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!((reference.to_string().as_str(), reference.version().as_str()), (whole, version), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in
            ["", "Shop", "shop:", "shop:a b", "--privileged", "shop@sha256:12", "shop;id", "a//b", "host:x/shop", "shop:-1", "$(id)"]
        {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }
}
