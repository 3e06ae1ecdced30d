//! The SDKs' own environment variables, as far as ingot heeds them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::aws::endpoint::{USE_DUAL_STACK, USE_FIPS};
use crate::cli::prepare::absolute;
use crate::document::source::SIZE_LIMIT;
use crate::host::environment::Environment;
use crate::host::files::DiskFiles;
use crate::host::{Files, HostError};

/// The certificates of a private authority, by the SDKs' own variable.
pub(crate) async fn ca_bundle(environment: &Environment) -> Result<Option<Vec<u8>>, HostError> {
    let Some(path) = environment.aws.get("AWS_CA_BUNDLE") else { return Ok(None) };
    let found = DiskFiles::new(None).read(&absolute(Path::new(path)), SIZE_LIMIT).await?;
    let missing = || HostError::Path { operation: "read AWS_CA_BUNDLE", path: path.into(), source: std::io::ErrorKind::NotFound.into() };
    found.map(|found| Some(found.to_vec())).ok_or_else(missing)
}

/// The SDKs' own variables for other endpoints, and for other kinds of endpoint, as far as they are set.
pub(crate) fn endpoints(environment: &Environment) -> BTreeMap<String, String> {
    let own =
        ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL_SSM"];
    own.into_iter()
        .chain([USE_FIPS, USE_DUAL_STACK])
        .filter_map(|name| Some((name.to_owned(), environment.aws.get(name)?.to_owned())))
        .collect()
}
