//! The connection to AWS with the caller's own credentials.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_credential_types::Credentials;
use zeroize::Zeroizing;

use crate::aws::caller::{Caller, CallerError, Choice, exported};
use crate::aws::client::connection::Connection;
use crate::aws::client::http::{Bounds, Http};
use crate::aws::variables::{ca_bundle, endpoints};
use crate::document::source::SIZE_LIMIT;
use crate::host::commands::ProcessCommands;
use crate::host::environment::{Environment, absolute};
use crate::host::{Commands, End, Files, HostError, Invocation};
use crate::rehearse::request::Refusal;

/// How long the AWS CLI may take: it may refresh a session, or run a program that queries a password manager.
const CLI_TIMEOUT: Duration = Duration::from_secs(60);

/// How many lines of the AWS CLI's output an error shows.
const CLI_LINES: usize = 5;

/// Connects to AWS, with the time limits `bounds`.
///
/// # Errors
///
/// If there are no credentials, or no region is set.
pub(crate) async fn connection(environment: &Environment, desk: &dyn Files, bounds: Bounds) -> Result<Connection, Refusal> {
    let in_home = |name: &str| environment.home.as_deref().map(|home| Path::new(home).join(".aws").join(name));
    let named = |variable: &str| environment.aws.get(variable).map(|path| below_home(path, environment));
    let credentials_file = text(named("AWS_SHARED_CREDENTIALS_FILE").or_else(|| in_home("credentials")), desk).await?;
    let config_file = text(named("AWS_CONFIG_FILE").or_else(|| in_home("config")), desk).await?;
    let variables = environment.aws.all();
    let caller = Caller {
        env: &variables,
        credentials_file: credentials_file.as_deref().map(String::as_str),
        config_file: config_file.as_deref().map(String::as_str),
    };
    let region = caller.region()?.ok_or_else(|| Refusal::usage("no region is set", "set AWS_REGION"))?;
    let http = Http::within(bounds, ca_bundle(&environment.aws).await?);
    let credentials = match caller.choice()? {
        Choice::Keys(credentials) => credentials,
        Choice::Elsewhere { how } => from_cli(how, caller.named_profile(), environment).await?,
    };
    Ok(Connection::of_caller(http, credentials, region, endpoints(&environment.aws)))
}

/// Expands a path that may begin with `~/`, as botocore does.
fn below_home(path: &str, environment: &Environment) -> PathBuf {
    match (path.strip_prefix("~/"), environment.home.as_deref()) {
        (Some(rest), Some(home)) => Path::new(home).join(rest),
        _ => PathBuf::from(path),
    }
}

async fn text(path: Option<PathBuf>, desk: &dyn Files) -> Result<Option<Zeroizing<String>>, Refusal> {
    let Some(path) = path else { return Ok(None) };
    let bytes = desk.read(&absolute(&path), SIZE_LIMIT).await?;
    Ok(bytes.map(|bytes| Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned())))
}

/// Makes the AWS CLI get the credentials of the profile, in the environment that it would have in a shell.
async fn from_cli(how: &'static str, profile: Option<&str>, environment: &Environment) -> Result<Credentials, CallerError> {
    let mut variables = environment.inherited.clone();
    if let Some(profile) = profile {
        // Not passed as an option, because the CLI would then ignore a web identity in the
        // environment. And the CLI may only honor the newer name.
        variables.retain(|(name, _)| name != "AWS_PROFILE" && name != "AWS_DEFAULT_PROFILE");
        variables.push(("AWS_PROFILE".into(), profile.into()));
    }
    let invocation = Invocation {
        argv: ["aws", "configure", "export-credentials", "--format", "process"].map(Into::into).into(),
        environment: variables,
        directory: absolute(Path::new(".")),
        user: None,
        timeout: CLI_TIMEOUT,
        lease: None,
    };
    let mut lines: Vec<Zeroizing<String>> = Vec::new();
    let ended = ProcessCommands.run(&invocation, &mut |line| lines.push(Zeroizing::new(line.to_owned()))).await;
    let profile = profile.map(str::to_owned);
    let failed = |said: String| CallerError::Cli { profile: profile.clone(), how, said };
    match ended {
        // Its output may contain credentials, so nothing of it is shown.
        Ok(End::Exited(0)) => exported(&lines).ok_or_else(|| failed("what it printed is not the JSON of credentials".into())),
        Ok(End::Exited(_) | End::Signalled(_)) => {
            let said: Vec<&str> = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
            Err(failed(said[said.len().saturating_sub(CLI_LINES)..].join("; ")))
        }
        Ok(End::TimedOut) => Err(failed(format!("it did not finish within {CLI_TIMEOUT:?}"))),
        Err(HostError::Spawn { .. }) => Err(CallerError::NoCli { profile, how }),
        Err(error) => Err(failed(error.to_string())),
    }
}
