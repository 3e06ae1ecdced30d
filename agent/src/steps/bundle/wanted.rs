//! Determines which release the document names, as far as that is possible without fetching it.

use super::Bundle;
use super::release::{self, OneFile, Release};
use super::trouble::BundleError;
use crate::aws::ParameterValue;
use crate::aws::s3::Source;
use crate::digest::Sha256;
use crate::failure::Objection;
use crate::host::Attributes;
use crate::step::Context;
use crate::step::fields::Mode;
use crate::steps::install;
use crate::text::Text;

impl Bundle {
    /// The release that the document names; if it names a parameter, that is read.
    pub(super) async fn wanted(&self, cx: &Context<'_>) -> Result<Release, BundleError> {
        let fields = &self.fields;
        let place = match &fields.parameter {
            Some(name) => {
                let name = rendered(name, "parameter", cx)?;
                cx.asking(format!("for parameter {name}"));
                let value = cx.world.aws.parameters.get(&name).await.map_err(BundleError::Fetch)?;
                cx.answered();
                match value {
                    ParameterValue::Text(text) => text.expose().trim().to_owned(),
                    ParameterValue::List(_) => {
                        let what = format!("the parameter {name} is a list, not a single location");
                        return Err(BundleError::Wrong(Objection::new(what, "make it a String")));
                    }
                }
            }
            None => rendered(fields.source(), "s3", cx)?,
        };
        let mut source = match (Source::parse(&place), cx.placeholder()) {
            (Ok(source), _) => source,
            (Err(_), Some(_)) => Source::Https(place),
            (Err(objection), None) => return Err(BundleError::Wrong(objection)),
        };
        if let (Source::S3 { version_id, .. }, Some(version)) = (&mut source, &fields.version_id) {
            *version_id = Some(rendered(version, "version_id", cx)?);
        }
        let sha256 = match &fields.sha256 {
            Some(text) => match (Sha256::parse(&rendered(text, "sha256", cx)?), cx.placeholder()) {
                (None, None) => {
                    let wrong = Objection::new("`sha256` is not a SHA-256 digest", "write the 64 digits that `sha256sum FILE` prints");
                    return Err(BundleError::Wrong(wrong));
                }
                (sha256, _) => sha256,
            },
            None if matches!(source, Source::Https(_)) && cx.placeholder().is_none() => {
                let what = format!("{source} is a plain URL, and its digest is missing");
                return Err(BundleError::Wrong(Objection::new(what, "give the bundle its `sha256`")));
            }
            None => None,
        };
        let version = self.version(&source, sha256, cx)?;
        let file = match fields.is_file() {
            true => Some(self.only_file(&source, cx)?),
            false => None,
        };
        let (strip_components, links) = (fields.strip_components, fields.links.clone());
        Ok(Release { source, sha256, strip_components, links, file, version })
    }

    /// The name of the release.
    fn version(&self, source: &Source, sha256: Option<Sha256>, cx: &Context<'_>) -> Result<String, BundleError> {
        match &self.fields.version {
            None => Ok(release::name_of(source, sha256, self.fields.is_file())),
            Some(text) => {
                let version = rendered(text, "version", cx)?;
                if !release::is_name(&version) && cx.placeholder().is_none() {
                    let what = format!("`{version}` cannot be the name of a release");
                    let hint = "write letters, digits and . _ + ~ - @ =, not beginning with a dot";
                    return Err(BundleError::Wrong(Objection::new(what, hint)));
                }
                Ok(version.replace('/', "_"))
            }
        }
    }

    fn only_file(&self, source: &Source, cx: &Context<'_>) -> Result<OneFile, BundleError> {
        let (mut name, compression) = release::file_of(source.name(), self.fields.file.as_deref());
        if !release::is_file_name(&name) {
            if cx.placeholder().is_none() {
                let what = format!("the name of {source} is not a valid file name");
                return Err(BundleError::Wrong(Objection::new(what, "give the bundle a name for it, such as `file: shop.jar`")));
            }
            name = "release".into();
        }
        Ok(OneFile { name, mode: self.mode().0, compression })
    }

    fn mode(&self) -> Mode {
        self.fields.mode.unwrap_or(Mode(0o755))
    }

    /// Owner and mode of the release's directory. For a single file, everybody who may read the file may also enter the
    /// directory.
    pub(super) async fn attributes(&self, cx: &Context<'_>) -> Result<Attributes, BundleError> {
        let Mode(mode) = self.mode();
        let mode = Mode(if self.fields.is_file() { 0o700 | mode & 0o055 | (mode & 0o044) >> 2 } else { mode });
        install::owned(self.fields.owner.as_deref(), self.fields.group.as_deref(), mode, cx).await.map_err(BundleError::Host)
    }
}

fn rendered(text: &Text, field: &'static str, cx: &Context<'_>) -> Result<String, BundleError> {
    Ok(cx.render(text).map_err(|source| BundleError::Field { field, source })?.expose().to_owned())
}
