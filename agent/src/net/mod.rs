//! What this machine talks to that is not AWS: services that are probed, databases, name servers.
#![expect(clippy::disallowed_methods, reason = "this module is what the rule points to")]

pub(crate) mod databases;
pub(crate) mod probes;
pub(crate) mod resolver;

use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;

use crate::host::Files;

/// Everything a step may ask of the network, apart from AWS.
#[derive(Clone)]
pub(crate) struct Net {
    pub(crate) probes: Rc<dyn Probes>,
    pub(crate) databases: Rc<dyn databases::Databases>,
}

impl Net {
    /// The network of the running system. `files` is where certificates are read.
    pub(crate) fn this_network(files: Rc<dyn Files>) -> Self {
        Self { probes: Rc::new(probes::NetProbes::default()), databases: Rc::new(databases::NetDatabases::new(files)) }
    }
}

/// Asks a service of this machine whether it serves.
#[async_trait(?Send)]
pub(crate) trait Probes {
    /// One GET, redirects not followed: the status code.
    ///
    /// # Errors
    ///
    /// A sentence for people: what did not work.
    async fn http(&self, url: &str, timeout: Duration) -> Result<u16, String>;
    /// One TCP connection to `host:port`.
    async fn tcp(&self, address: &str, timeout: Duration) -> Result<(), String>;
}
