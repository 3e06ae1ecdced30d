//! Where an application's releases and records are: its name, a bucket, a prefix.

use std::path::Path;

use serde::Deserialize;

use crate::exit::Exit;
use crate::failure::Failure;

/// The place of one application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) application: String,
    pub(crate) bucket: String,
    /// Empty, or with a slash at its end.
    pub(crate) prefix: String,
}

impl Place {
    /// Of an application, and a location such as `s3://shop-releases/` or `s3://shop-releases/below/`.
    pub(crate) fn new(application: &str, location: &str) -> Result<Self, String> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !application.starts_with(|c: char| c.is_ascii_lowercase()) || application.len() > 31 || !application.chars().all(is_plain) {
            return Err(format!("{application:?} is not the name of an application: up to 31 of a-z, 0-9 and -, a letter first"));
        }
        let path = location.strip_prefix("s3://").ok_or_else(|| format!("{location:?} is not a location such as s3://BUCKET/"))?;
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        let is_bucket = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(is_bucket) {
            return Err(format!("{bucket:?}, of {location:?}, is not the name of a bucket"));
        }
        let prefix = prefix.trim_end_matches('/');
        if prefix.split('/').any(|part| matches!(part, "." | "..")) || prefix.contains("//") || prefix.starts_with('/') {
            return Err(format!("{location:?} has a prefix with an empty part, or with . or .. as one"));
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { application: application.into(), bucket: bucket.into(), prefix })
    }

    /// Where the releases are, with a slash at its end.
    pub(crate) fn releases(&self) -> String {
        format!("{}{}/releases/", self.prefix, self.application)
    }

    /// Where the environments are, with a slash at its end.
    pub(crate) fn environments(&self) -> String {
        format!("{}{}/environments/", self.prefix, self.application)
    }

    /// A key as a URL, for people and documents.
    pub(crate) fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }
}

/// What of `fleet.yaml` tells the place.
#[derive(Deserialize)]
struct Head {
    application: String,
    releases: String,
}

/// Reads the place from a `fleet.yaml`.
pub(crate) fn of_fleet(file: &Path) -> Result<Place, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot read {shown}")).because(&error).hint("run it where fleet.yaml is, or name it with --file")
    })?;
    let wrong = |why: String| {
        let hint = "`application: NAME` and `releases: s3://BUCKET/` say where releases are kept";
        Failure::new(Exit::Document, format!("{shown} is wrong")).why(why).hint(hint)
    };
    let head: Head = serde_yaml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    Place::new(&head.application, &head.releases).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_below_the_prefix() {
        let place = |location| Place::new("shop", location).map(|place| (place.bucket.clone(), place.releases()));
        let at = |bucket: &str, key: &str| Ok((bucket.to_owned(), key.to_owned()));
        assert_eq!(place("s3://shop-releases"), at("shop-releases", "shop/releases/"));
        assert_eq!(place("s3://shop-releases/"), at("shop-releases", "shop/releases/"));
        assert_eq!(place("s3://acme/a/b/"), at("acme", "a/b/shop/releases/"));
        for wrong in ["shop-releases", "s3://", "s3://A/", "s3://acme/../x", "s3://acme//x", "s3://acme/a//b", "https://acme/"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "Shop", "1shop", "shop/x", "..", "shop.x", &"s".repeat(32)] {
            assert!(Place::new(wrong, "s3://acme/").is_err(), "{wrong}");
        }
    }
}
