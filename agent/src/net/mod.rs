//! What this machine talks to that is not AWS: services that are probed, applications that are given messages, workers that are
//! held, databases, name servers; and how the instances of a fleet agree on one of them, whatever store they share.
#![expect(clippy::disallowed_methods, reason = "this module is what the rule points to")]

pub(crate) mod claims;
pub(crate) mod databases;
mod fastcgi;
pub(crate) mod holds;
pub(crate) mod plain_http;
pub(crate) mod posts;
pub(crate) mod probes;
pub(crate) mod resolver;

use std::rc::Rc;

use crate::host::Files;
pub(crate) use probes::Probes;

/// Everything a step may ask of the network, apart from AWS.
#[derive(Clone)]
pub(crate) struct Net {
    pub(crate) probes: Rc<dyn Probes>,
    pub(crate) databases: Rc<dyn databases::Databases>,
    pub(crate) holds: Rc<dyn holds::Holds>,
}

impl Net {
    /// The network of the running system. `files` is where certificates are read.
    pub(crate) fn this_network(files: Rc<dyn Files>) -> Self {
        Self {
            probes: Rc::new(probes::NetProbes::default()),
            databases: Rc::new(databases::NetDatabases::new(files)),
            holds: Rc::new(holds::NetHolds),
        }
    }
}
