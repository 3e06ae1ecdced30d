//! What this machine talks to besides AWS: services that are probed, applications that receive messages, workers that
//! are held, databases and name servers; and claims, by which the instances of a fleet choose one of them, whichever
//! store they share.
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

/// All network services a step can use, except AWS.
#[derive(Clone)]
pub(crate) struct Net {
    pub(crate) probes: Rc<dyn Probes>,
    pub(crate) databases: Rc<dyn databases::Databases>,
    pub(crate) holds: Rc<dyn holds::Holds>,
}

impl Net {
    /// The network of the running system. `files` reads certificates.
    pub(crate) fn this_network(files: Rc<dyn Files>) -> Self {
        Self {
            probes: Rc::new(probes::NetProbes::default()),
            databases: Rc::new(databases::NetDatabases::new(files)),
            holds: Rc::new(holds::NetHolds),
        }
    }
}
