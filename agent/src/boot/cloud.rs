//! The way from an instance to its metadata service and to AWS.

use std::rc::Rc;

use async_trait::async_trait;

use crate::aws::Metadata;
use crate::aws::client::exchanges::Exchange;
use crate::aws::client::http::Http;
use crate::aws::credentials::{ImdsCredentials, ROLE_PATIENCE};
use crate::aws::imds::{Imds, Patience};
use crate::aws::live::Aws;
use crate::aws::variables::{ca_bundle, endpoints};
use crate::failure::Explanation;
use crate::host::environment;

/// Finds the way out. Nothing is asked over it yet.
#[async_trait(?Send)]
pub(crate) trait Connect {
    /// # Errors
    ///
    /// If what this process was given to find it by, such as a bundle of certificates, is not there or makes no sense.
    async fn connect(&self) -> Result<Rc<dyn Cloud>, Explanation>;
}

/// The metadata service and AWS, for one boot.
pub(crate) trait Cloud {
    fn metadata(&self) -> &dyn Metadata;

    /// What the metadata service is being waited for, for people. `None` if nothing is.
    fn waiting(&self) -> Option<String>;

    /// Begins to fetch the instance's credentials, so that the first call to AWS finds them.
    fn begin_with_credentials(&self);

    fn aws(&self) -> Aws;

    /// What was asked so far, of either.
    fn exchanges(&self) -> Vec<Exchange>;

    /// What AWS has found to be wrong with this machine's clock.
    fn wrong_clock(&self) -> Option<String>;
}

/// The real ones, as the instance that this process runs on reaches them.
pub(super) struct ThisInstance {
    /// The SDKs' variables of this process.
    pub(super) variables: environment::Aws,
}

#[async_trait(?Send)]
impl Connect for ThisInstance {
    async fn connect(&self) -> Result<Rc<dyn Cloud>, Explanation> {
        let http = Http::new(ca_bundle(&self.variables).await.map_err(|error| Explanation::of(&error))?);
        let endpoint = self.variables.get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        let imds = Imds::new(http.clone(), endpoint, Patience::default()).map_err(|error| Explanation::of(&error))?;
        let credentials = ImdsCredentials::new(imds.clone(), ROLE_PATIENCE);
        Ok(Rc::new(Live { http, imds, credentials, variables: self.variables.clone() }))
    }
}

struct Live {
    http: Http,
    imds: Imds,
    credentials: ImdsCredentials,
    variables: environment::Aws,
}

impl Cloud for Live {
    fn metadata(&self) -> &dyn Metadata {
        &self.imds
    }

    fn waiting(&self) -> Option<String> {
        self.imds.waiting()
    }

    fn begin_with_credentials(&self) {
        let credentials = self.credentials.clone();
        tokio::spawn(async move { credentials.prefetch().await });
    }

    fn aws(&self) -> Aws {
        Aws::on_instance(self.http.clone(), self.imds.clone(), self.credentials.clone(), endpoints(&self.variables))
    }

    fn exchanges(&self) -> Vec<Exchange> {
        self.http.exchanges().so_far()
    }

    fn wrong_clock(&self) -> Option<String> {
        self.http.clock().warning()
    }
}
