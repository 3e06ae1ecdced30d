//! Names of applications and environments, and the location of releases.

use ingot::desk::Objection;

use crate::fleet::words::{Edge, Word, has_form};
use crate::place::Place;

/// Maximum length of the name of a load balancer or target group.
///
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html>
const LONGEST_OF_TARGETS: usize = 32;

/// Checks the name of an application or environment against what the templates accept.
pub(super) fn check(name: &str) -> Result<(), Objection> {
    let hint = "write 1 to 31 lower-case letters, digits and hyphens, starting with a letter and not ending with a hyphen";
    match has_form(name, "[a-z]([a-z0-9-]{0,29}[a-z0-9])?") {
        true => Ok(()),
        false => Err(Objection::new(format!("`{name}` is not a name that CloudFormation and load balancers accept"), hint)),
    }
}

/// Checks the name of an application. `environments` is reserved, since object keys contain it after the application.
pub(super) fn check_application(name: &str) -> Result<(), Objection> {
    match name {
        "environments" => Err(Objection::new("an application cannot be called `environments`", "give it another name")),
        name => check(name),
    }
}

/// Checks the name of an edge against what the template accepts.
pub(super) fn check_edge(name: &str) -> Result<(), Objection> {
    Word::<Edge>::parse(name).map(|_| ())
}

/// Checks the names of application and environment together, since resources are named after both.
pub(super) fn check_together(application: &str, environment: &str) -> Result<(), Objection> {
    let stack = format!("{application}-{environment}");
    let wrong = |message: String, hint: String| Err(Objection::new(message, hint));
    if stack == "ingot-account" {
        return wrong("`ingot-account` is the name of the account stack".into(), "give the environment another name".into());
    }
    if environment == "edge" || environment.starts_with("edge-") {
        return wrong(
            format!("`{stack}` is reserved for the stack of an edge"),
            "give the environment a name that does not begin with `edge`".into(),
        );
    }
    if stack.len() > LONGEST_OF_TARGETS {
        let message = format!("`{stack}` has {} characters, but the name of a target group has at most {LONGEST_OF_TARGETS}", stack.len());
        return wrong(message, format!("shorten the name by {}", stack.len() - LONGEST_OF_TARGETS));
    }
    Ok(())
}

/// Location of releases: `s3://BUCKET/PREFIX/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Releases {
    pub(crate) bucket: String,
    /// Empty, or ends with a slash.
    pub(crate) prefix: String,
}

impl Releases {
    /// Returns where an application has its releases and records.
    pub(crate) fn place(&self, application: &str) -> Place {
        Place { application: application.to_owned(), bucket: self.bucket.clone(), prefix: self.prefix.clone() }
    }

    pub(super) fn parse(text: &str) -> Result<Self, Objection> {
        let wrong = |message: String, hint: &str| Err(Objection::new(message, hint));
        let Some((bucket, prefix)) = text.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, ""))) else {
            return wrong(format!("`{text}` is not an S3 location"), "write s3://BUCKET/ or s3://BUCKET/PREFIX/");
        };
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let is_address = bucket.split('.').count() == 4 && bucket.split('.').all(is_number);
        let reserved = bucket.starts_with("xn--") || bucket.ends_with("-s3alias") || bucket.ends_with("--ol-s3");
        if !has_form(bucket, "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]") || bucket.contains("..") || is_address || reserved {
            let hint = "write a bucket name of 3 to 63 lower-case letters, digits, dots and hyphens";
            return wrong(format!("`{bucket}` is not a valid bucket name"), hint);
        }
        if !text.ends_with('/') {
            return wrong(format!("`{text}` does not end with a slash"), "add `/` at its end");
        }
        if !has_form(prefix, "([A-Za-z0-9][A-Za-z0-9._-]*/)*") {
            return wrong(format!("`{prefix}` is not a valid prefix"), "write letters, digits and . _ - between slashes, such as team/");
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_named_as_s3_names_them() {
        for (text, bucket, prefix) in
            [("s3://shop-releases/", "shop-releases", ""), ("s3://acme.releases/team/shop/", "acme.releases", "team/shop/")]
        {
            assert_eq!(Releases::parse(text).unwrap(), Releases { bucket: bucket.into(), prefix: prefix.into() });
        }
        for text in [
            "shop",
            "s3://Shop/",
            "s3://ab/",
            "s3://10.0.0.1/",
            "s3://a..b/",
            "s3://shop-releases",
            "s3://shop-releases/a//b/",
            "s3://xn--shop/",
        ] {
            assert!(Releases::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_name_of_a_stack_is_valid_for_a_target_group() {
        assert!(check_together("shop", "prod").is_ok());
        for (application, environment) in [("ingot", "account"), ("shop", "edge-blue"), ("an-application-of-some-length", "production")] {
            assert!(check_together(application, environment).is_err(), "{application}-{environment}");
        }
        for name in ["Shop", "1shop", "shop-", "shop_1", "", "a-name-that-is-longer-than-thirty-1"] {
            assert!(check(name).is_err(), "{name}");
        }
    }
}
