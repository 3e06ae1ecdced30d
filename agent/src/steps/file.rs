//! `files:` — a file with exactly this content, owner and mode.
//!
//! ```yaml
//! files:
//!   /etc/shop/shop.toml:
//!     template: /etc/ingot/templates/shop.toml.hbs   # or content: "text with {{references}}"
//!     owner: shop                                    # default: the user ingot runs as
//!     mode: "0640"                                   # default: 0644, or 0600 if it contains a secret
//!     format: toml                                   # default: from the extension of the path
//!     directories: { owner: shop, mode: "0750" }     # of directories that ingot creates; default: as their parent
//!     check: [shop, --check, "{path}"]               # run on the staged file; it is installed only if this succeeds
//! ```
//!
//! [`install`] puts a file in place so that no reader ever sees part of it.

mod unparsed;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

use self::unparsed::Unparsed;
use crate::failure::{Failure, Objection};
use crate::host::{End, HostError, Invocation, SEARCH_PATH};
use crate::step::fields::{Excerpt, Mode, one_of};
use crate::step::{Context, Misfit, Outputs, Progress, Shape, Step};
use crate::steps::install::{self, Change, Directories, Wanted};
use crate::template::{self, Format, TEMPLATES, TemplateError};
use crate::text::{SecretText, Text};

/// Rendering takes no time, but a `check:` of a large configuration may.
const PATIENCE: Duration = Duration::from_secs(120);

/// A file with exactly this content, owner and mode.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "Fields")]
#[schemars(with = "Fields")]
pub(crate) struct File {
    content: Content,
    fields: Fields,
}

#[derive(Debug, Clone)]
enum Content {
    Template(PathBuf),
    Inline(Text),
}

/// A file with exactly this content, owner and mode.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["template"]}, {"required": ["content"]}]))]
struct Fields {
    /// Template file; a relative path is below `/etc/ingot/templates/`.
    template: Option<PathBuf>,
    /// The content, as a template.
    content: Option<Text>,
    /// Owner: a user name or ID. Default: the user that runs ingot.
    owner: Option<String>,
    /// Group: a name or ID. Default: the primary group of the owner.
    group: Option<String>,
    /// Permissions. Default: 0644, or 0600 if the file holds a secret.
    mode: Option<Mode>,
    /// Parent directories that ingot creates; those that exist are left alone. Default: they belong to `owner` below a
    /// directory that belongs to `owner`, such as its home, and to the user that runs ingot elsewhere; mode 0755.
    directories: Option<OnTheWay>,
    /// Format that the content must parse as. Default: by the extension of the path.
    format: Option<Format>,
    /// `base64` if the rendered content is base64 of the bytes to write.
    encoding: Option<Encoding>,
    /// Command that validates the new file before it replaces the old one; `{path}` is the temporary file.
    #[serde(default)]
    check: Vec<Text>,
}

/// Parent directories that ingot creates.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OnTheWay {
    /// Owner: a user name or ID. Default: the owner of the file.
    owner: Option<String>,
    /// Group: a name or ID. Default: the primary group of the owner.
    group: Option<String>,
    /// Permissions. Default: 0755.
    mode: Option<Mode>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Base64,
}

impl TryFrom<Fields> for File {
    type Error = Objection;

    fn try_from(fields: Fields) -> Result<Self, Objection> {
        let content = match (&fields.template, &fields.content) {
            (Some(path), None) => Content::Template(Path::new(TEMPLATES).join(path)),
            (None, Some(text)) => Content::Inline(text.clone()),
            (template, _) => {
                return Err(one_of("a file", template.is_some(), "`content: \"…\"` or `template: app.toml.hbs`", "template and content"));
            }
        };
        Ok(Self { content, fields })
    }
}

impl Step for File {
    type Change = Change;
    type Error = FileError;

    fn summary(&self, _shown: &dyn Fn(&Text) -> String) -> String {
        match &self.content {
            Content::Template(path) => format!("from {}", path.display()),
            Content::Inline(_) => "from the document".into(),
        }
    }

    fn shape<'a>(&'a self, key: &'a str) -> Shape<'a> {
        let content = match &self.content {
            Content::Template(_) => None,
            Content::Inline(text) => Some(text),
        };
        let path = Cow::Borrowed(Path::new(key));
        Shape {
            texts: content.into_iter().chain(&self.fields.check).collect(),
            offers: Some(&["path"]),
            foretold: Some(path.clone()),
            paths: vec![path],
            patience: PATIENCE,
            ..Shape::default()
        }
    }

    fn template(&self) -> Option<&Path> {
        match &self.content {
            Content::Template(path) => Some(path),
            Content::Inline(_) => None,
        }
    }

    fn quoted_by(&self, key: &str) -> Option<&'static str> {
        self.fields.encoding.is_none().then(|| template::helper_for(Path::new(key), self.fields.format)).flatten()
    }

    fn is_parsed(&self, key: &str) -> bool {
        self.fields.encoding.is_some() || self.format(key).is_some()
    }

    fn misfit(&self, key: &str, filled: &SecretText) -> Option<Misfit> {
        let said = |error: &dyn Failure| Objection::new(error.to_string(), error.hint().unwrap_or_default());
        match (self.fields.encoding, self.format(key)) {
            (Some(Encoding::Base64), _) => Some(Misfit { objection: said(&decode(filled).err()?), line: 1, column: 1 }),
            (None, Some(format)) => {
                let error = format.check(filled.expose()).err()?;
                Some(Misfit { objection: said(&error), line: error.line.unwrap_or(1), column: error.column.unwrap_or(1) })
            }
            (None, None) => None,
        }
    }

    fn content(&self) -> Option<&Text> {
        match &self.content {
            Content::Inline(text) if self.fields.encoding.is_none() => Some(text),
            Content::Inline(_) | Content::Template(_) => None,
        }
    }

    fn programs(&self) -> Vec<&Text> {
        self.fields.check.first().into_iter().collect()
    }

    fn objections(&self, key: &str, secret: bool) -> Vec<Objection> {
        let path = install::path_objection(key);
        let readable = self.fields.mode.filter(|mode| secret && mode.0 & 0o007 != 0).map(|mode| Objection {
            message: format!("`mode` {mode} lets every user of the machine read this file, which holds a secret"),
            hint: "end it with 0, as in \"0640\", and name the reader as `owner` or `group`".into(),
        });
        let names_nothing = !self.fields.check.is_empty() && !self.fields.check.iter().any(|word| word.raw().contains("{path}"));
        let unchecked = names_nothing.then(|| Objection {
            message: "`check` does not name the staged file, so it would check the old one".into(),
            hint: "name it as \"{path}\" among the arguments".into(),
        });
        path.into_iter().chain(readable).chain(unchecked).collect()
    }

    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Change>, FileError> {
        let wanted = Wanted {
            path: cx.key().into(),
            content: self.content(cx)?,
            owner: self.fields.owner.clone(),
            group: self.fields.group.clone(),
            mode: self.fields.mode.unwrap_or(if cx.holds_secret { Mode(0o600) } else { Mode(0o644) }),
            directories: self.directories(),
        };
        install::inspect(wanted, cx).await.map_err(FileError::Host)
    }

    async fn stage(&self, change: &Change, cx: &Context<'_>) -> Result<(), FileError> {
        install::stage(change, cx).await.map_err(FileError::Host)?;
        if let (Change::Write(wanted), false) = (change, self.fields.check.is_empty()) {
            self.check(&install::staged(&wanted.path), cx).await?;
        }
        Ok(())
    }

    async fn abandon(&self, change: &Change, cx: &Context<'_>) {
        install::abandon(change, cx).await;
    }

    async fn apply(&self, change: Change, cx: &Context<'_>) -> Result<(), FileError> {
        install::apply(change, cx).await.map_err(FileError::Host)
    }

    async fn outputs(&self, cx: &Context<'_>) -> Result<Outputs, FileError> {
        install::outputs(Path::new(cx.key()), cx).await.map_err(FileError::Host)
    }
}

impl File {
    fn format(&self, key: &str) -> Option<Format> {
        self.fields.format.or_else(|| Format::from_path(Path::new(key)))
    }

    fn directories(&self) -> Directories {
        match &self.fields.directories {
            None => Directories::AsFound(0o755),
            Some(OnTheWay { owner, group, mode }) => Directories::Given {
                owner: owner.clone().or_else(|| self.fields.owner.clone()),
                group: group.clone(),
                mode: mode.unwrap_or(Mode(0o755)),
            },
        }
    }

    fn content(&self, cx: &Context<'_>) -> Result<Zeroizing<Vec<u8>>, FileError> {
        let rendered = match &self.content {
            Content::Template(path) => {
                cx.render_file(path).map_err(|source| FileError::Render { template: path.display().to_string(), source })?
            }
            Content::Inline(text) => cx.render(text).map_err(|source| FileError::Render { template: "`content`".into(), source })?,
        };
        if self.fields.encoding == Some(Encoding::Base64) {
            let decoded = decode(&rendered);
            if let (Ok(bytes), true) = (&decoded, cx.holds_secret) {
                cx.world.redactor.learn_bytes(bytes);
            }
            return match (decoded, cx.placeholder()) {
                (Err(_), Some(reference)) => {
                    cx.progress(Progress::Warning(format!(
                        "the placeholder for {reference} is not base64; give its real shape in --facts"
                    )));
                    Ok(Zeroizing::new(rendered.expose().as_bytes().to_vec()))
                }
                (decoded, _) => decoded,
            };
        }
        if let Some(format) = self.format(cx.key())
            && let Err(error) = format.check(rendered.expose())
        {
            match cx.placeholder() {
                None => return Err(FileError::Format(Unparsed::of(error, rendered.expose(), cx))),
                Some(reference) => cx.progress(Progress::Warning(format!(
                    "with the placeholder for {reference} this does not parse; give its real shape in --facts"
                ))),
            }
        }
        Ok(Zeroizing::new(rendered.expose().as_bytes().to_vec()))
    }

    async fn check(&self, staged: &Path, cx: &Context<'_>) -> Result<(), FileError> {
        let located = cx.host().files.located(staged).display().to_string();
        let argv = self
            .fields
            .check
            .iter()
            .map(|word| {
                let word = Text::new(word.raw().replace("{path}", &located));
                cx.render(&word).map_err(|source| FileError::Render { template: "`check`".into(), source })
            })
            .collect::<Result<Vec<SecretText>, _>>()?;
        let program = cx.shown(&self.fields.check[0]);
        cx.waiting(format!("for {program} to check the file"));
        let invocation = Invocation {
            argv,
            environment: vec![("PATH".into(), SEARCH_PATH.into()), ("LANG".into(), "C.UTF-8".into())],
            directory: "/".into(),
            user: None,
            timeout: cx.time_left(),
            lease: None,
        };
        let mut said = Excerpt::default();
        match cx.host().commands.run(&invocation, &mut |line| said.push(cx.redact(line))).await {
            Ok(End::Exited(0)) => Ok(()),
            Ok(_) => Err(FileError::Refused { program, said }),
            Err(error) => Err(FileError::Host(error.of_program(program))),
        }
    }
}

fn decode(rendered: &SecretText) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let packed = Zeroizing::new(rendered.expose().chars().filter(|c| !c.is_ascii_whitespace()).collect::<String>());
    base64::engine::general_purpose::STANDARD.decode(packed.as_bytes()).map(Zeroizing::new).map_err(|_| FileError::NotBase64)
}

/// Why a file could not be written as wanted. An existing file is left as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot render {template}")]
    Render { template: String, source: TemplateError },
    #[error("the rendered file does not parse")]
    Format(#[source] Unparsed),
    #[error("the rendered content is not base64")]
    NotBase64,
    #[error("{program} refused the file; nothing was installed")]
    Refused {
        program: String,
        #[source]
        said: Excerpt,
    },
    #[error(transparent)]
    Host(HostError),
}

impl Failure for FileError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Render { source, .. } => source.hint(),
            Self::Format(source) => source.hint(),
            Self::NotBase64 => Some("remove `encoding: base64`, or produce the content with {{base64 x}} or from a binary secret".into()),
            Self::Refused { .. } => Some("correct the template; `ingot dry-run --out DIR` shows what it renders".into()),
            Self::Host(source) => source.hint(),
        }
    }

    fn is_transient(&self) -> bool {
        matches!(self, Self::Host(source) if source.is_transient())
    }
}
