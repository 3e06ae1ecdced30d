//! `credentials:` — a value for `LoadCredential=` of a unit.
//!
//! ```yaml
//! credentials:
//!   shop-db-password: "{{secrets.db.password}}"
//! ```
//!
//! This is short for `{ value: "…" }`, which also accepts the fields common to all steps. The value is written to
//! /run/credstore/NAME, which systemd searches for `LoadCredential=NAME`: only in memory, readable by root only, and
//! written again by each boot.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::failure::{Failure, Objection};
use crate::host::HostError;
use crate::step::fields::Mode;
use crate::step::{Context, Outputs, Shape, Step};
use crate::steps::install::{self, Change, Directories, Wanted};
use crate::template::TemplateError;
use crate::text::Text;

/// The directory in which systemd looks for credentials that are not given by an absolute path.
///
/// Source: systemd.exec(5), `LoadCredential=`; since systemd 252.
const STORE: &str = "/run/credstore";

/// Maximum size of a credential in bytes; systemd refuses larger ones.
///
/// Source: <https://systemd.io/CREDENTIALS/>: 1 MiB.
const SIZE_LIMIT: usize = 1024 * 1024;

/// A value for `LoadCredential=` of a unit.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credential {
    /// The value that the unit gets, usually a reference to a secret.
    value: Text,
}

impl Step for Credential {
    type Change = Change;
    type Error = CredentialError;

    fn summary(&self, _shown: &dyn Fn(&Text) -> String) -> String {
        "for LoadCredential=".into()
    }

    fn shape<'a>(&'a self, key: &'a str) -> Shape<'a> {
        Shape { texts: vec![&self.value], offers: Some(&["path"]), foretold: Some(path(key).into()), ..Shape::default() }
    }

    fn objections(&self, key: &str, _secret: bool) -> Vec<Objection> {
        let valid = !key.is_empty()
            && key.len() <= 255
            && !matches!(key, "." | "..")
            && !key.contains(|c: char| c == '/' || c == ':' || c.is_control());
        let objection = || Objection {
            message: format!("`{key}` is not the name of a credential"),
            hint: "use a plain file name without slashes and colons".into(),
        };
        if valid { Vec::new() } else { vec![objection()] }
    }

    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Change>, CredentialError> {
        let value = cx.render(&self.value).map_err(CredentialError::Render)?;
        if value.expose().len() > SIZE_LIMIT {
            return Err(CredentialError::TooLarge { size: value.expose().len() });
        }
        let wanted = Wanted {
            path: path(cx.key()),
            content: Zeroizing::new(value.expose().as_bytes().to_vec()),
            owner: None,
            group: None,
            mode: Mode(0o600),
            directories: Directories::Own(0o700),
        };
        install::inspect(wanted, cx).await.map_err(CredentialError::Host)
    }

    async fn stage(&self, change: &Change, cx: &Context<'_>) -> Result<(), CredentialError> {
        install::stage(change, cx).await.map_err(CredentialError::Host)
    }

    async fn abandon(&self, change: &Change, cx: &Context<'_>) {
        install::abandon(change, cx).await;
    }

    async fn apply(&self, change: Change, cx: &Context<'_>) -> Result<(), CredentialError> {
        install::apply(change, cx).await.map_err(CredentialError::Host)
    }

    async fn outputs(&self, cx: &Context<'_>) -> Result<Outputs, CredentialError> {
        install::outputs(&path(cx.key()), cx).await.map_err(CredentialError::Host)
    }
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(STORE).join(name)
}

/// Why a credential could not be provided.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    #[error("cannot render the value")]
    Render(#[source] TemplateError),
    #[error("a credential of {size} bytes is larger than the 1 MiB systemd takes")]
    TooLarge { size: usize },
    #[error(transparent)]
    Host(HostError),
}

impl Failure for CredentialError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Render(source) => source.hint(),
            Self::TooLarge { .. } => Some("write it to a file with `files:` instead".into()),
            Self::Host(source) => source.hint(),
        }
    }

    fn is_transient(&self) -> bool {
        matches!(self, Self::Host(source) if source.is_transient())
    }
}
