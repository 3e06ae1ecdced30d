//! The connection of an instance to its metadata service and to AWS.

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

/// Prepares the connection of one boot. Sends nothing.
#[async_trait(?Send)]
pub(crate) trait Connect {
    /// # Errors
    ///
    /// If a setting of this process, such as the CA bundle, is missing or invalid.
    async fn connect(&self) -> Result<Rc<dyn Cloud>, Explanation>;
}

/// The metadata service and AWS, for one boot.
pub(crate) trait Cloud {
    fn metadata(&self) -> &dyn Metadata;

    /// What the boot waits for from the metadata service, as text for people. `None` if it does not wait.
    fn waiting(&self) -> Option<String>;

    /// Starts to fetch the instance's credentials in the background, so that the first AWS call does not wait for them.
    fn prefetch_credentials(&self);

    fn aws(&self) -> Aws;

    /// The requests made so far, to the metadata service and to AWS.
    fn exchanges(&self) -> Vec<Exchange>;

    /// A warning if AWS rejected this machine's clock.
    fn wrong_clock(&self) -> Option<String>;
}

/// The real services, from the instance that this process runs on.
pub(super) struct ThisInstance {
    /// The AWS SDK variables in the environment of this process.
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

    fn prefetch_credentials(&self) {
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
