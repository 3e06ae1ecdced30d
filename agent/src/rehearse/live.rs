//! The connection to AWS with the caller's own credentials.

use std::path::{Path, PathBuf};

use crate::aws::caller::Caller;
use crate::aws::client::connection::Connection;
use crate::aws::client::http::Http;
use crate::aws::variables::{ca_bundle, endpoints};
use crate::document::source::SIZE_LIMIT;
use crate::host::Files;
use crate::host::environment::{Environment, absolute};
use crate::rehearse::request::Refusal;

pub(super) async fn connection(environment: &Environment, desk: &dyn Files) -> Result<Connection, Refusal> {
    let in_home = |name: &str| environment.home.as_deref().map(|home| Path::new(home).join(".aws").join(name));
    let named = |variable: &str| environment.aws.get(variable).map(PathBuf::from);
    let credentials_file = text(named("AWS_SHARED_CREDENTIALS_FILE").or_else(|| in_home("credentials")), desk).await?;
    let config_file = text(named("AWS_CONFIG_FILE").or_else(|| in_home("config")), desk).await?;
    let variables = environment.aws.all();
    let caller = Caller { env: &variables, credentials_file: credentials_file.as_deref(), config_file: config_file.as_deref() };
    let region = caller.region()?.ok_or_else(|| Refusal::Usage("no region is set\n  hint: set AWS_REGION".into()))?;
    let http = Http::new(ca_bundle(&environment.aws).await?);
    Ok(Connection::of_caller(http, caller.credentials()?, region, endpoints(&environment.aws)))
}

async fn text(path: Option<PathBuf>, desk: &dyn Files) -> Result<Option<String>, Refusal> {
    let Some(path) = path else { return Ok(None) };
    let bytes = desk.read(&absolute(&path), SIZE_LIMIT).await?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}
