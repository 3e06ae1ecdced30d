//! The credentials and region of a person at a dev box, for `ingot dry-run --live`.
//!
//! From the variables the AWS CLI uses, else from keys in a profile. What takes more than reading (SSO, an assumed
//! role, a credential process) is left to the AWS CLI, and the hint says how. Reads nothing itself: it is given the
//! environment and the content of `~/.aws/credentials` and `~/.aws/config`.

use std::collections::BTreeMap;

use aws_credential_types::Credentials;
use ini::{Ini, ParseOption, Properties};

use crate::failure::Failure;

/// Where a caller's credentials may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) env: &'a BTreeMap<String, String>,
    /// The content of `~/.aws/credentials`, or of `AWS_SHARED_CREDENTIALS_FILE`.
    pub(crate) credentials_file: Option<&'a str>,
    /// The content of `~/.aws/config`, or of `AWS_CONFIG_FILE`.
    pub(crate) config_file: Option<&'a str>,
}

impl Caller<'_> {
    /// # Errors
    ///
    /// [`CallerError`] if there are none, or only a description of how to get some.
    pub(crate) fn credentials(&self) -> Result<Credentials, CallerError> {
        // As in the AWS CLI, a profile named on purpose goes before keys that happen to be set.
        if self.variable("AWS_PROFILE").is_none()
            && let (Some(id), Some(secret)) = (self.variable("AWS_ACCESS_KEY_ID"), self.variable("AWS_SECRET_ACCESS_KEY"))
        {
            return Ok(keys(id, secret, self.variable("AWS_SESSION_TOKEN")));
        }
        let profile = self.profile();
        let sections = self.sections()?;
        for section in &sections {
            if let (Some(id), Some(secret)) = (section.get("aws_access_key_id"), section.get("aws_secret_access_key")) {
                return Ok(keys(id, secret, section.get("aws_session_token")));
            }
        }
        const HOW: [&str; 6] =
            ["sso_session", "sso_start_url", "role_arn", "credential_process", "web_identity_token_file", "login_session"];
        let how = HOW.iter().find(|key| sections.iter().any(|section| section.contains_key(**key)));
        Err(match how {
            Some(how) => CallerError::Indirect { profile: profile.into(), how },
            None if self.variable("AWS_PROFILE").is_some() => CallerError::NoKeys { profile: profile.into() },
            None => CallerError::None,
        })
    }

    /// The region, if any is set.
    ///
    /// # Errors
    ///
    /// [`CallerError::Syntax`] of a file.
    pub(crate) fn region(&self) -> Result<Option<String>, CallerError> {
        if let Some(region) = self.variable("AWS_REGION").or_else(|| self.variable("AWS_DEFAULT_REGION")) {
            return Ok(Some(region.into()));
        }
        Ok(self.sections()?.iter().find_map(|section| section.get("region")).map(str::to_owned))
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn profile(&self) -> &str {
        self.variable("AWS_PROFILE").or_else(|| self.variable("AWS_DEFAULT_PROFILE")).unwrap_or("default")
    }

    /// The profile's sections: the one of the credentials file goes first.
    fn sections(&self) -> Result<Vec<Properties>, CallerError> {
        let profile = self.profile();
        let in_config = if profile == "default" { profile.to_owned() } else { format!("profile {profile}") };
        let mut sections = Vec::new();
        for (file, content, name) in [("credentials", self.credentials_file, profile), ("config", self.config_file, in_config.as_str())] {
            let Some(content) = content else { continue };
            let options = ParseOption {
                enabled_quote: false,
                enabled_escape: false,
                enabled_indented_mutiline_value: false,
                enabled_preserve_key_leading_whitespace: true,
            };
            // The parser's message may quote a line, and a line may be a secret.
            let ini = Ini::load_from_str_opt(content, options).map_err(|error| CallerError::Syntax { file, line: error.line })?;
            sections.extend(ini.section(Some(name)).cloned());
        }
        Ok(sections)
    }
}

fn keys(id: &str, secret: &str, token: Option<&str>) -> Credentials {
    Credentials::new(id, secret, token.map(str::to_owned), None, "ingot-caller")
}

/// Why there are no credentials of a caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallerError {
    #[error("there are no AWS credentials: no AWS_ACCESS_KEY_ID, and no keys in the default profile")]
    None,
    #[error("the profile {profile} has no keys")]
    NoKeys { profile: String },
    #[error("the profile {profile} gets its credentials by {how}, which only the AWS CLI can do")]
    Indirect { profile: String, how: &'static str },
    #[error("~/.aws/{file} is not valid at line {line}")]
    Syntax { file: &'static str, line: usize },
}

impl Failure for CallerError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Syntax { file, .. } => format!("correct ~/.aws/{file}"),
            Self::Indirect { profile, .. } => {
                format!("run `eval \"$(aws configure export-credentials --profile {profile} --format env)\"; unset AWS_PROFILE`")
            }
            _ => "run `eval \"$(aws configure export-credentials --format env)\"`".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = a/b+c=;d\\#\n\n[work]\naws_access_key_id=AKIAWORK\naws_secret_access_key=w\naws_session_token=t\n";
    const CONFIG: &str = "[default]\nregion = eu-west-1\ns3 =\n  max_concurrent_requests = 20\n\n[profile work]\nregion = us-east-2\n[profile sso]\nsso_session = corp\n";

    fn key(env: &[(&str, &str)]) -> Result<(String, String, Option<String>), CallerError> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let caller = Caller { env: &env, credentials_file: Some(CREDENTIALS), config_file: Some(CONFIG) };
        let credentials = caller.credentials()?;
        let id = credentials.access_key_id().to_owned();
        Ok((id, credentials.secret_access_key().to_owned(), caller.region()?))
    }

    fn found(id: &str, secret: &str, region: &str) -> Result<(String, String, Option<String>), CallerError> {
        Ok((id.into(), secret.into(), Some(region.into())))
    }

    #[test]
    fn finds_what_the_aws_cli_would() {
        assert_eq!(key(&[]), found("AKIADEFAULT", "a/b+c=;d\\#", "eu-west-1"));
        assert_eq!(key(&[("AWS_PROFILE", "work")]), found("AKIAWORK", "w", "us-east-2"));
        let set = [("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", "e"), ("AWS_REGION", "eu-north-1")];
        assert_eq!(key(&set), found("AKIAENV", "e", "eu-north-1"));
    }

    #[test]
    fn says_what_to_do_when_there_is_nothing_to_read() {
        let indirect = key(&[("AWS_PROFILE", "sso")]).unwrap_err();
        assert_eq!(indirect, CallerError::Indirect { profile: "sso".into(), how: "sso_session" });
        assert_eq!(key(&[("AWS_PROFILE", "none")]).unwrap_err(), CallerError::NoKeys { profile: "none".into() });
        assert!(indirect.hint().unwrap().contains("aws configure export-credentials --profile sso --format env"));

        let env = BTreeMap::new();
        let nothing = Caller { env: &env, credentials_file: None, config_file: None };
        assert_eq!(nothing.credentials().unwrap_err(), CallerError::None);
        assert_eq!(nothing.region(), Ok(None));
        let broken = Caller { credentials_file: Some("[default\n"), ..nothing };
        assert!(matches!(broken.credentials(), Err(CallerError::Syntax { file: "credentials", .. })));
    }
}
