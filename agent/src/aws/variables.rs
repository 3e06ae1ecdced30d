//! The SDKs' own environment variables that ingot respects.

use std::collections::BTreeMap;
use std::path::Path;

use crate::aws::client::endpoint::{USE_DUAL_STACK, USE_FIPS};
use crate::gather::Gather as _;
use crate::host::environment::{Aws, absolute};
use crate::host::files::DiskFiles;
use crate::host::{Files, HostError};

/// A bundle of all public authorities has a few hundred kilobytes.
const LIMIT: u64 = 16 << 20;

/// The CA bundle of a private authority, from the SDKs' `AWS_CA_BUNDLE`.
pub(crate) async fn ca_bundle(variables: &Aws) -> Result<Option<Vec<u8>>, HostError> {
    let Some(path) = variables.get("AWS_CA_BUNDLE") else { return Ok(None) };
    let found = DiskFiles::new(None).read(&absolute(Path::new(path)), LIMIT).await?;
    let missing = || HostError::Path { operation: "read AWS_CA_BUNDLE", path: path.into(), source: std::io::ErrorKind::NotFound.into() };
    found.map(|found| Some(found.to_vec())).ok_or_else(missing)
}

/// The SDKs' own variables for custom endpoints and endpoint variants, those that are set.
pub(crate) fn endpoints(variables: &Aws) -> BTreeMap<String, String> {
    let kinds = [USE_FIPS, USE_DUAL_STACK].into_iter().filter_map(|name| Some((name, variables.get(name)?)));
    let own = variables.beginning("AWS_ENDPOINT_URL");
    own.chain(kinds).map(|(name, value)| (name.to_owned(), value.to_owned())).gather()
}
