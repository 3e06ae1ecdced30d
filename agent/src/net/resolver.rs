//! Resolves host names as this machine is configured, in this process.
//!
//! Uses /etc/hosts and the servers of /etc/resolv.conf; never getaddrinfo, because a static glibc would load NSS
//! modules, and never a public resolver.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;

use crate::host::blocking;

/// The longest wait for one DNS answer. A VPC's resolver answers in milliseconds. After a lost packet there must be
/// time for a second query within the connect timeout, which the usual default of resolv.conf, 5 s, does not leave.
const DNS_TIMEOUT: Duration = Duration::from_secs(1);

/// The resolver, created on first use. Clones share everything.
#[derive(Clone, Default)]
pub(crate) struct SystemResolver {
    made: Arc<Mutex<Option<TokioResolver>>>,
}

impl SystemResolver {
    /// The addresses of a host, cached for their time to live.
    pub(crate) async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        match self.get().await?.lookup_ip(name).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) => {
                // Early in a boot, /etc/resolv.conf may be the image's until the DHCP lease provides this network's.
                *self.made.lock().unwrap_or_else(PoisonError::into_inner) = None;
                // The error's own text shows the whole query.
                let why = if error.is_no_records_found() { "the name does not exist".into() } else { error.to_string() };
                Err(ResolveError::Lookup { name: name.into(), why })
            }
        }
    }

    async fn get(&self) -> Result<TokioResolver, ResolveError> {
        if let Some(resolver) = &*self.made.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(resolver.clone());
        }
        // /etc may be on a disk that hangs.
        let made = blocking::work("read", Path::new("/etc/resolv.conf"), || Ok(Self::configured())).await;
        let resolver = made.unwrap_or_else(|error| Err(ResolveError::Configuration { why: error.to_string() }))?;
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(resolver.clone());
        Ok(resolver)
    }

    /// Reads /etc/resolv.conf and /etc/hosts.
    fn configured() -> Result<TokioResolver, ResolveError> {
        let configuration = |error: hickory_resolver::net::NetError| ResolveError::Configuration { why: error.to_string() };
        let mut builder = TokioResolver::builder_tokio().map_err(configuration)?;
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.timeout = options.timeout.min(DNS_TIMEOUT);
        builder.build().map_err(configuration)
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("cannot read name servers from /etc/resolv.conf: {why}")]
    Configuration { why: String },
    #[error("cannot resolve {name}: {why}")]
    Lookup { name: String, why: String },
}
