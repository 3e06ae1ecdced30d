//! What every call to AWS shares: client, region, credentials, endpoints.
//!
//! The region is resolved at the first call: on an instance it comes from the identity document, and a boot that calls
//! no service should not need it.

use std::collections::BTreeMap;
use std::rc::Rc;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

use super::endpoint::{self, EndpointError, Variant};
use super::http::Http;
use crate::aws::arn::partition;
use crate::aws::metadata::{ImdsError, Metadata};

/// Where the region comes from.
#[derive(Clone)]
pub(crate) enum RegionSource {
    Known(String),
    Instance(Rc<dyn Metadata>),
}

#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) http: Http,
    pub(crate) region: RegionSource,
    pub(crate) credentials: SharedCredentialsProvider,
    /// The SDKs' variables `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_SERVICE` and `AWS_USE_…_ENDPOINT`, those that are set.
    pub(crate) endpoints: BTreeMap<String, String>,
}

impl Connection {
    /// The connection of a user on a dev box.
    pub(crate) fn of_caller(http: Http, credentials: Credentials, region: String, endpoints: BTreeMap<String, String>) -> Self {
        Self { http, region: RegionSource::Known(region), credentials: SharedCredentialsProvider::new(credentials), endpoints }
    }

    /// The same connection for another region, such as one named by an ARN. `None` if `region` is the current one.
    ///
    /// # Errors
    ///
    /// If `region` belongs to another partition, whose services do not accept these credentials.
    pub(in crate::aws) async fn elsewhere(&self, region: &str) -> Result<Option<Self>, PlaceError> {
        let own = self.region().await.map_err(PlaceError::Region)?;
        match (partition(&own), partition(region)) {
            _ if own == region => Ok(None),
            (here, there) if here != there => Err(PlaceError::Partition { region: region.to_owned(), there, here }),
            _ => Ok(Some(Self { region: RegionSource::Known(region.to_owned()), ..self.clone() })),
        }
    }

    /// # Errors
    ///
    /// [`ImdsError`] if the region has to be read from IMDS, and IMDS has no answer.
    pub(crate) async fn region(&self) -> Result<String, ImdsError> {
        match &self.region {
            RegionSource::Known(region) => Ok(region.clone()),
            RegionSource::Instance(metadata) => Ok(metadata.identity().await?.region),
        }
    }

    /// The configured endpoint that replaces AWS's own for `service`, such as `SECRETS_MANAGER`.
    pub(crate) fn endpoint(&self, service: &str) -> Option<&str> {
        let own = self.endpoints.get(&format!("AWS_ENDPOINT_URL_{service}"));
        own.filter(|url| !url.is_empty())
            .or_else(|| self.endpoints.get("AWS_ENDPOINT_URL"))
            .map(String::as_str)
            .filter(|url| !url.is_empty())
    }

    /// Where `service` is called. `variable` is its name in the SDKs' variables: `secretsmanager` and
    /// `SECRETS_MANAGER`.
    ///
    /// # Errors
    ///
    /// As [`region`](Connection::region); also if the variables ask for an endpoint that does not exist.
    pub(in crate::aws) async fn place(&self, service: &str, variable: &str) -> Result<Place, PlaceError> {
        let variant = Variant::of(&self.endpoints).map_err(PlaceError::Endpoint)?;
        let region = self.region().await.map_err(PlaceError::Region)?;
        let url = endpoint::resolve(service, &region, variant, self.endpoint(variable)).await.map_err(PlaceError::Endpoint)?;
        // Credentials may be on their way meanwhile.
        self.http.open_ahead(&url);
        Ok(Place { region, parsed: url.parse().ok(), url })
    }

    /// Where ECR is called. Its host begins with `api.ecr`, except with FIPS or dual stack.
    ///
    /// Source: <https://docs.aws.amazon.com/general/latest/gr/ecr.html>.
    pub(in crate::aws) async fn place_of_ecr(&self) -> Result<Place, PlaceError> {
        let variant = Variant::of(&self.endpoints).map_err(PlaceError::Endpoint)?;
        let first = if variant.fips || variant.dual_stack { "ecr" } else { "api.ecr" };
        self.place(first, "ECR").await
    }
}

/// The endpoint of a service, and its region.
#[derive(Debug, Clone)]
pub(in crate::aws) struct Place {
    pub(in crate::aws) region: String,
    pub(super) url: String,
    parsed: Option<reqwest::Url>,
}

impl Place {
    /// # Errors
    ///
    /// If the endpoint that the user configured is not a URL.
    pub(in crate::aws) fn parsed(&self) -> Result<reqwest::Url, PlaceError> {
        self.parsed.clone().ok_or_else(|| PlaceError::Endpoint(EndpointError::Unreadable { url: self.url.clone() }))
    }
}

/// Why the endpoint of a service is not known.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("the region is not known: {0}")]
    Region(ImdsError),
    #[error("{0}")]
    Endpoint(EndpointError),
    #[error("{region} belongs to the partition {there}, which does not accept credentials of {here}")]
    Partition { region: String, there: &'static str, here: &'static str },
}
