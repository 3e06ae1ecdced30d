//! A metadata service and an AWS in memory, for a boot of a machine in memory.

use std::rc::Rc;

use async_trait::async_trait;

use crate::aws::Metadata;
use crate::aws::client::exchanges::Exchange;
use crate::aws::live::Aws;
use crate::boot::cloud::{Cloud, Connect};
use crate::failure::Explanation;

/// A connection to services in memory. Clones share them.
#[derive(Clone)]
pub(crate) struct StandIn {
    pub(crate) metadata: Rc<dyn Metadata>,
    pub(crate) aws: Aws,
    /// What the boot waits for from the metadata service.
    pub(crate) waiting: Option<String>,
}

#[async_trait(?Send)]
impl Connect for StandIn {
    async fn connect(&self) -> Result<Rc<dyn Cloud>, Explanation> {
        Ok(Rc::new(self.clone()))
    }
}

impl Cloud for StandIn {
    fn metadata(&self) -> &dyn Metadata {
        &*self.metadata
    }

    fn waiting(&self) -> Option<String> {
        self.waiting.clone()
    }

    fn prefetch_credentials(&self) {}

    fn aws(&self) -> Aws {
        self.aws.clone()
    }

    fn exchanges(&self) -> Vec<Exchange> {
        Vec::new()
    }

    fn wrong_clock(&self) -> Option<String> {
        None
    }
}
