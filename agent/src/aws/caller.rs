//! The credentials and region of a user on a dev box, for `ingot dry-run --live`: the same ones that botocore, and
//! therefore the AWS CLI, would choose.
//!
//! | order | from |
//! |---|---|
//! | 1 | `AWS_ACCESS_KEY_ID` and its companions, even if `AWS_PROFILE` is set |
//! | 2 | `role_arn` of the profile, a web identity, SSO |
//! | 3 | keys of the profile in the credentials file |
//! | 4 | `login_session`, `credential_process` |
//! | 5 | keys of the profile in the config file |
//! | 6 | a container |
//!
//! Only static keys are read here. Everything else is left to the AWS CLI: [`Choice::Elsewhere`]. Source:
//! `create_credential_resolver` in botocore's `credentials.py`. This module does no I/O: the environment and the
//! content of both files are passed in.

mod profiles;

use std::collections::BTreeMap;

use aws_credential_types::Credentials;
use zeroize::Zeroizing;

use self::profiles::{InvalidLine, Profile, profile_of, sections};
use crate::failure::Failure;

/// The places a caller's credentials may come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) env: &'a BTreeMap<String, String>,
    /// The content of `~/.aws/credentials`, or of `AWS_SHARED_CREDENTIALS_FILE`.
    pub(crate) credentials_file: Option<&'a str>,
    /// The content of `~/.aws/config`, or of `AWS_CONFIG_FILE`.
    pub(crate) config_file: Option<&'a str>,
}

/// Where a caller's credentials come from.
#[derive(Debug)]
pub(crate) enum Choice {
    Keys(Credentials),
    /// The AWS CLI has to obtain them, from the setting or variable named here.
    Elsewhere {
        how: &'static str,
    },
}

impl Caller<'_> {
    /// # Errors
    ///
    /// [`CallerError`] if there are none.
    pub(crate) fn choice(&self) -> Result<Choice, CallerError> {
        if let Some(id) = self.variable("AWS_ACCESS_KEY_ID") {
            let secret = self.variable("AWS_SECRET_ACCESS_KEY");
            let secret = secret.ok_or(CallerError::Half { missing: "AWS_SECRET_ACCESS_KEY", of: "the environment".into() })?;
            let token = self.variable("AWS_SECURITY_TOKEN").or_else(|| self.variable("AWS_SESSION_TOKEN"));
            return Ok(Choice::Keys(keys(id, secret, token)));
        }
        let Profiles { config, credentials } = self.profiles()?;
        let has = |name: &str| config.contains_key(name) || credentials.contains_key(name);
        let elsewhere = |how| Ok(Choice::Elsewhere { how });
        if has("role_arn") && !has("web_identity_token_file") {
            return elsewhere("role_arn");
        }
        if self.variable("AWS_WEB_IDENTITY_TOKEN_FILE").is_some() {
            return elsewhere("AWS_WEB_IDENTITY_TOKEN_FILE");
        }
        for how in ["web_identity_token_file", "sso_account_id", "sso_role_name"] {
            if has(how) {
                return elsewhere(how);
            }
        }
        if let Some(keys) = self.keys_in(&credentials)? {
            return Ok(Choice::Keys(keys));
        }
        for how in ["login_session", "credential_process"] {
            if has(how) {
                return elsewhere(how);
            }
        }
        if let Some(keys) = self.keys_in(&config)? {
            return Ok(Choice::Keys(keys));
        }
        for how in ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"] {
            if self.variable(how).is_some() {
                return elsewhere(how);
            }
        }
        Err(match self.named_profile() {
            Some(profile) => CallerError::NoKeys { profile: profile.into() },
            None => CallerError::None,
        })
    }

    /// The region, if any is set: `AWS_REGION` as in the SDKs, then `AWS_DEFAULT_REGION` as in botocore, then the
    /// profile's region.
    ///
    /// # Errors
    ///
    /// [`CallerError::Syntax`] if a file cannot be parsed.
    pub(crate) fn region(&self) -> Result<Option<String>, CallerError> {
        if let Some(region) = self.variable("AWS_REGION").or_else(|| self.variable("AWS_DEFAULT_REGION")) {
            return Ok(Some(region.into()));
        }
        let Profiles { config, credentials } = self.profiles()?;
        Ok(credentials.get("region").or_else(|| config.get("region")).cloned())
    }

    /// The profile that a variable names. Of the two variables, botocore checks the older one first.
    pub(crate) fn named_profile(&self) -> Option<&str> {
        self.variable("AWS_DEFAULT_PROFILE").or_else(|| self.variable("AWS_PROFILE"))
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn profiles(&self) -> Result<Profiles, CallerError> {
        let read = |file, content: Option<&str>| {
            sections(content.unwrap_or_default()).map_err(|InvalidLine(line)| CallerError::Syntax { file, line })
        };
        let profile = self.named_profile().unwrap_or("default");
        let credentials = read("credentials", self.credentials_file)?.into_iter().find(|(name, _)| name == profile);
        let config = read("config", self.config_file)?.into_iter().rev().find(|(name, _)| profile_of(name).as_deref() == Some(profile));
        let settings = |found: Option<(String, Profile)>| found.map(|(_, settings)| settings).unwrap_or_default();
        Ok(Profiles { config: settings(config), credentials: settings(credentials) })
    }

    fn keys_in(&self, profile: &Profile) -> Result<Option<Credentials>, CallerError> {
        let Some(id) = profile.get("aws_access_key_id") else { return Ok(None) };
        let of = || format!("the profile {}", self.named_profile().unwrap_or("default"));
        let secret =
            profile.get("aws_secret_access_key").ok_or_else(|| CallerError::Half { missing: "aws_secret_access_key", of: of() })?;
        let token = profile.get("aws_security_token").or_else(|| profile.get("aws_session_token"));
        Ok(Some(keys(id, secret, token.map(String::as_str))))
    }
}

/// The settings of one profile in both files.
struct Profiles {
    config: Profile,
    credentials: Profile,
}

fn keys(id: &str, secret: &str, token: Option<&str>) -> Credentials {
    let token = token.filter(|token| !token.is_empty()).map(str::to_owned);
    Credentials::new(id, secret, token, None, "ingot-caller")
}

/// The credentials in the output of `aws configure export-credentials --format process`. Other lines around them are
/// ignored.
///
/// Source: <https://docs.aws.amazon.com/cli/latest/reference/configure/export-credentials.html>
pub(crate) fn exported(lines: &[Zeroizing<String>]) -> Option<Credentials> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Exported {
        access_key_id: String,
        secret_access_key: String,
        session_token: Option<String>,
    }

    let begin = lines.iter().position(|line| line.trim_start().starts_with('{'))?;
    (begin..lines.len()).filter(|end| lines[*end].trim_end().ends_with('}')).find_map(|end| {
        let json: Zeroizing<String> = Zeroizing::new(lines[begin..=end].iter().map(|line| line.as_str()).collect());
        let Exported { access_key_id, secret_access_key, session_token } = serde_json::from_str(&json).ok()?;
        Some(keys(&access_key_id, &secret_access_key, session_token.as_deref()))
    })
}

/// Why a caller has no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallerError {
    #[error("AWS credentials are missing: AWS_ACCESS_KEY_ID is not set, and the default profile has no keys")]
    None,
    #[error("the profile {profile} has no keys")]
    NoKeys { profile: String },
    #[error("{of} has an access key, but not its {missing}")]
    Half { missing: &'static str, of: String },
    /// The AWS CLI is not installed.
    #[error("only the AWS CLI can get credentials by {how}, and `aws` is not on PATH")]
    NoCli { profile: Option<String>, how: &'static str },
    #[error("the AWS CLI could not get credentials by {how}: {said}")]
    Cli { profile: Option<String>, how: &'static str, said: String },
    #[error("~/.aws/{file} is not valid at line {line}")]
    Syntax { file: &'static str, line: usize },
}

impl Failure for CallerError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Syntax { file, .. } => format!("correct ~/.aws/{file}"),
            Self::Half { missing, .. } => format!("set {missing} as well"),
            Self::NoCli { profile, .. } | Self::Cli { profile, .. } => {
                let profile = profile.as_ref().map_or_else(String::new, |profile| format!(" --profile {}", quoted(profile)));
                let unset = if profile.is_empty() { "" } else { "; unset AWS_PROFILE AWS_DEFAULT_PROFILE" };
                format!("run `eval \"$(aws configure export-credentials{profile} --format env)\"{unset}`")
            }
            Self::None | Self::NoKeys { .. } => "run `eval \"$(aws configure export-credentials --format env)\"`".into(),
        })
    }
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    match word.chars().all(|character| character.is_ascii_alphanumeric() || "-_.@/+:".contains(character)) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests;
