//! The connection to AWS for commands other than the boot that run on an instance: its role and its region.

use std::rc::Rc;

use aws_credential_types::provider::SharedCredentialsProvider;

use crate::aws::client::connection::{Connection, RegionSource};
use crate::aws::client::http::{Bounds, Http};
use crate::aws::credentials::{ImdsCredentials, ROLE_PATIENCE};
use crate::aws::imds::{Imds, Patience};
use crate::aws::variables::{ca_bundle, endpoints};
use crate::failure::Explanation;
use crate::host::environment;

/// # Errors
///
/// If a setting of this process, such as the CA bundle, is not valid.
pub(crate) async fn connection(variables: &environment::Aws, bounds: Bounds) -> Result<Connection, Explanation> {
    let http = Http::within(bounds, ca_bundle(variables).await.map_err(|error| Explanation::of(&error))?);
    let imds = metadata(http.clone(), variables)?;
    let credentials = SharedCredentialsProvider::new(ImdsCredentials::new(imds.clone(), ROLE_PATIENCE));
    Ok(Connection { http, region: RegionSource::Instance(Rc::new(imds)), credentials, endpoints: endpoints(variables) })
}

/// # Errors
///
/// If the endpoint in the environment is not valid.
pub(crate) fn metadata(http: Http, variables: &environment::Aws) -> Result<Imds, Explanation> {
    let endpoint = variables.get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    Imds::new(http, endpoint, Patience::default()).map_err(|error| Explanation::of(&error))
}
