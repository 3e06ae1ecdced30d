//! The fields of a bundle, and their validation before anything is contacted.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::release;
use crate::aws::arn;
use crate::aws::s3::Source;
use crate::digest::Sha256;
use crate::failure::Objection;
use crate::step::AsksAws;
use crate::step::fields::{Mode, one_of, within};
use crate::steps::install;
use crate::text::Text;

/// Number of releases to keep by default.
const KEEP: u32 = 3;

/// Maximum directory depth of a release, and therefore of the levels that can be removed from an archive.
const LEVELS: u8 = 200;

/// A release of an application, unpacked from an archive.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["s3"], "properties": {"parameter": false, "url": false}},
    {"required": ["parameter"], "properties": {"s3": false, "url": false, "version_id": false}},
    {"required": ["url", "sha256"], "properties": {"s3": false, "parameter": false, "version_id": false}}
]))]
pub(super) struct Fields {
    /// Archive in S3: `s3://BUCKET/KEY`.
    pub(super) s3: Option<Text>,
    /// Version of the object, in a versioned bucket.
    pub(super) version_id: Option<Text>,
    /// Name of an SSM parameter that holds the location, `s3://BUCKET/KEY` or an https URL.
    pub(super) parameter: Option<Text>,
    /// An https URL.
    pub(super) url: Option<Text>,
    /// SHA-256 of the archive, in hexadecimal or base64. Default: the one that S3 keeps, if any.
    pub(super) sha256: Option<Text>,
    /// Directory for `releases/VERSION` and the symbolic link `current`.
    pub(super) into: PathBuf,
    /// Name of the release. Default: the archive's name without extension, and 8 digits of `sha256` or `version_id`.
    pub(super) version: Option<Text>,
    /// Whether to unpack the archive. With `false` the release is one file: a jar, an executable. Default: true.
    pub(super) unpack: Option<bool>,
    /// Name of the file in the release, with `unpack: false`. Default: the object's name; an ending `.gz` or `.zst` is
    /// removed, and the file decompressed.
    pub(super) file: Option<String>,
    /// Number of leading directories to remove from each name in the archive. Default: 0.
    #[serde(default, deserialize_with = "levels")]
    #[schemars(range(max = LEVELS))]
    pub(super) strip_components: u8,
    /// Symbolic links that may leave the release: a path in the release, and the absolute path that the link may lead
    /// to or below. A path without `*` is made a link if the archive has none there. Default: none.
    #[serde(default)]
    pub(super) links: BTreeMap<String, PathBuf>,
    /// Owner of everything in the release: a user name or ID. Default: the user that runs ingot.
    pub(super) owner: Option<String>,
    /// Group: a name or ID. Default: the primary group of the owner.
    pub(super) group: Option<String>,
    /// Permissions of the release directory; its content has those of the archive, at most 0755. With `unpack: false`,
    /// of the file. Default: 0755.
    pub(super) mode: Option<Mode>,
    /// Number of releases to keep, including the current one. Default: 3.
    #[serde(default, deserialize_with = "within::<_, 1, { u32::MAX }>")]
    #[schemars(range(min = 1))]
    pub(super) keep: Option<u32>,
    /// Maximum size of the unpacked archive in GiB. Default: 20 times its own size, at least 1 and at most 16.
    #[serde(default, deserialize_with = "within::<_, 1, { u32::MAX }>")]
    #[schemars(range(min = 1))]
    pub(super) max_size_gib: Option<u32>,
}

impl Fields {
    pub(super) fn check(self) -> Result<Self, Objection> {
        match (&self.s3, &self.parameter, &self.url) {
            (Some(_), None, None) => {}
            (None, Some(_), None) | (None, None, Some(_)) if self.version_id.is_some() => {
                return Err(Objection::new("`version_id` applies only to `s3`", "remove it, or give the location of the object as `s3`"));
            }
            (None, Some(_), None) => {}
            (None, None, Some(_)) if self.sha256.is_none() => {
                return Err(Objection::new(
                    "a `url` needs `sha256`",
                    "give the digest that `sha256sum FILE` prints: nothing else verifies the archive",
                ));
            }
            (None, None, Some(_)) => {}
            (s3, parameter, url) => {
                let given = [s3, parameter, url].into_iter().any(Option::is_some);
                return Err(one_of(
                    "a bundle",
                    given,
                    "`s3: s3://BUCKET/KEY`, `parameter: /prod/release`, or `url:` and `sha256:`",
                    "s3, parameter and url",
                ));
            }
        }
        if self.strip_components > LEVELS {
            return Err(Objection::new(format!("`strip_components` is at most {LEVELS}"), "give the number of directories to remove"));
        }
        Ok(self)
    }

    pub(super) fn texts(&self) -> Vec<&Text> {
        [&self.s3, &self.version_id, &self.parameter, &self.url, &self.sha256, &self.version].into_iter().flatten().collect()
    }

    /// The location of the bundle, as written in the document.
    pub(super) fn source(&self) -> &Text {
        [&self.s3, &self.parameter, &self.url].into_iter().flatten().next().expect("a bundle has a source")
    }

    /// A parameter is read at every boot; a complete and current release needs no network.
    pub(super) fn asks_aws(&self) -> AsksAws {
        match (&self.parameter, &self.s3) {
            (Some(_), _) => AsksAws::Always,
            (None, Some(_)) => AsksAws::UnlessDone,
            (None, None) => AsksAws::Never,
        }
    }

    pub(super) fn keep(&self) -> usize {
        self.keep.unwrap_or(KEEP) as usize
    }

    /// Whether the release is a single file.
    pub(super) fn is_file(&self) -> bool {
        self.unpack == Some(false)
    }

    pub(super) fn objections(&self, secret: bool) -> Vec<Objection> {
        let objection = |message: String, hint: &str| Objection { message, hint: hint.to_owned() };
        let mut found: Vec<Objection> = install::path_objection(&self.into.to_string_lossy()).into_iter().collect();
        if secret {
            found.push(objection(
                "a bundle's source, version and digest are printed, so none of them may contain a secret".into(),
                "use `values:`, facts, or `parameter:` to keep the location out of the document",
            ));
        }
        for text in [&self.s3, &self.url].into_iter().flatten().filter(|text| text.is_plain()) {
            match Source::parse(text.raw()) {
                Err(wrong) => found.push(wrong),
                Ok(Source::S3 { .. }) if self.s3.is_none() => {
                    found.push(objection("`url` must be an https URL".into(), "write `s3:` for an object in S3"));
                }
                Ok(Source::Https(_)) if self.url.is_none() => {
                    found.push(objection("`s3` must be the location of an object in S3".into(), "write `url:` and `sha256:`"));
                }
                Ok(_) => {}
            }
        }
        let parameter = self.parameter.as_ref().filter(|text| text.is_plain());
        found.extend(parameter.and_then(|text| arn::check_nothing_but_parameter(text.raw()).err()));
        if self.sha256.as_ref().is_some_and(|text| text.is_plain() && Sha256::parse(text.raw()).is_none()) {
            found.push(objection("`sha256` is not a SHA-256 digest".into(), "write the 64 digits that `sha256sum FILE` prints"));
        }
        found.extend(self.shape_objections());
        found
    }

    /// Objections to how the object should be unpacked or named.
    fn shape_objections(&self) -> Vec<Objection> {
        let mut found = Vec::new();
        match &self.file {
            Some(_) if !self.is_file() => {
                let message = "`file` applies to a release that is one file";
                found.push(Objection::new(message, "add `unpack: false`, or remove `file`"));
            }
            Some(name) if !release::is_file_name(name) => {
                let message = format!("`{name}` is not the name of a file");
                found.push(Objection::new(message, "write a name without directories, such as shop.jar"));
            }
            _ => {}
        }
        if self.is_file() && (self.strip_components > 0 || !self.links.is_empty()) {
            let message = "`strip_components` and `links` apply to archives, and `unpack: false` installs one file";
            found.push(Objection::new(message, "remove them, or remove `unpack: false`"));
        }
        for (name, to) in &self.links {
            let is_inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
            let is_plain = is_inside && !name.is_empty() && !name.ends_with('/') && !name.contains("//") && !name.contains("/./");
            if !is_plain || glob::Pattern::new(name).is_err() {
                let message = format!("`{name}` is not the path of a link in the release");
                found.push(Objection::new(
                    message,
                    "write it as the archive does, such as shared/uploads, or shared/* for all in a directory",
                ));
            }
            found.extend(install::path_objection(&to.to_string_lossy()));
        }
        found.extend(self.links_behind_links());
        found
    }

    /// Links that would have to be created below another link: nothing is ever written through a link.
    fn links_behind_links(&self) -> impl Iterator<Item = Objection> {
        let made = || self.links.keys().filter(|name| !name.contains(['*', '?', '[']));
        made().flat_map(move |name| {
            let above = made().filter(move |above| Path::new(above) != Path::new(name) && Path::new(name).starts_with(above));
            above.map(move |above| {
                Objection::new(
                    format!("the link `{name}` is below the link `{above}`"),
                    format!("keep one of the two in `links`, and put the other into the directory that {above} points to"),
                )
            })
        })
    }
}

/// A number of levels. A number too large for the type is rejected like others above [`LEVELS`].
fn levels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    Ok(u8::try_from(u64::deserialize(deserializer)?).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn messages(more: Value) -> Vec<String> {
        let mut fields = json!({"into": "/opt/shop"});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let fields: Fields = serde_json::from_value(fields).unwrap();
        match fields.check() {
            Ok(fields) => fields.objections(false).into_iter().map(|found| found.message).collect(),
            Err(wrong) => vec![wrong.message],
        }
    }

    #[test]
    fn no_link_lies_behind_another() {
        let links = |links: Value| messages(json!({"s3": "s3://shop/a.tar", "links": links}));
        assert_eq!(links(json!({"shared": "/srv/a", "shared/x": "/srv/b"})), ["the link `shared/x` is below the link `shared`"]);
        // This is one mistake; that each is below the other is not reported as well.
        assert_eq!(links(json!({"shared": "/srv/a", "shared/": "/srv/b"})), ["`shared/` is not the path of a link in the release"]);
        assert_eq!(links(json!({"shared": "/srv/a", "shared-x": "/srv/b", "log/x": "/srv/c", "log/*": "/srv"})), [""; 0]);
    }

    #[test]
    fn as_many_levels_are_removed_as_a_release_may_have() {
        let stripped = |levels: u64| messages(json!({"s3": "s3://shop/a.tar", "strip_components": levels}));
        assert_eq!(stripped(200), [""; 0]);
        assert_eq!([201, 256, u64::MAX].map(stripped), [["`strip_components` is at most 200"]; 3]);
    }

    #[test]
    fn the_arn_of_a_parameter_is_checked() {
        let of = |parameter: &str| messages(json!({"parameter": parameter}));
        assert_eq!(of("arn:aws:ssm:eu-central-1:123456789012:parameter/shop"), [""; 0]);
        let wrong = "arn:aws:ssm:Frankfurt:123456789012:parameter/shop";
        assert_eq!(of(wrong), [format!("`{wrong}` is not the ARN of a parameter")]);
    }
}
