//! Where an application's releases and records are: its name, a bucket, a prefix.

use std::fmt::Display;

/// The place of one application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) application: String,
    pub(crate) bucket: String,
    /// Empty, or with a slash at its end.
    pub(crate) prefix: String,
}

impl Place {
    /// Where the releases are, with a slash at its end.
    pub(crate) fn releases(&self) -> String {
        format!("{}{}/releases/", self.prefix, self.application)
    }

    /// Where the environments are, with a slash at its end.
    pub(crate) fn environments(&self) -> String {
        format!("{}{}/environments/", self.prefix, self.application)
    }

    /// Where the boot document with this digest is.
    pub(crate) fn document(&self, environment: &str, sha256: impl Display) -> String {
        format!("{}{environment}/documents/{sha256}.yaml", self.environments())
    }

    /// Where the terms of a deployment with this digest are.
    pub(crate) fn terms(&self, environment: &str, sha256: impl Display) -> String {
        format!("{}{environment}/documents/{sha256}.json", self.environments())
    }

    /// A key as a URL, for users and documents.
    pub(crate) fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }
}

#[cfg(test)]
impl Place {
    /// The place of the application `shop` in the bucket `acme-releases`.
    pub(crate) fn of_shop() -> Self {
        Self { application: "shop".into(), bucket: "acme-releases".into(), prefix: String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_below_the_prefix() {
        let place = Place { prefix: "a/b/".into(), ..Place::of_shop() };
        assert_eq!((place.releases(), place.environments()), ("a/b/shop/releases/".into(), "a/b/shop/environments/".into()));
        assert_eq!(Place::of_shop().url("shop/releases/v1.json"), "s3://acme-releases/shop/releases/v1.json");
    }
}
