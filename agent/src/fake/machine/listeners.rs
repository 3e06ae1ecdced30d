//! What answers probes on a machine in memory, and its sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::gather::Gather as _;
use crate::host::sockets::{Endpoint, Holder, Listener};

/// The nginx unit. It listens at the addresses in the site files that it read last.
pub(super) const PROXY: &str = "ingot-proxy.service";
pub(super) const SITES: &str = "/run/ingot/proxy/sites";
const MASTER: u32 = 1000;

#[derive(Default)]
pub(super) struct Listeners {
    pub(super) units: BTreeMap<String, String>,
    pub(super) answers: BTreeMap<String, u16>,
    /// Sockets that accept connections, besides those that answer probes.
    pub(super) sockets: Vec<Listener>,
    pub(super) connections: BTreeMap<Endpoint, usize>,
    /// When each connection was accepted.
    pub(super) accepted: Vec<Duration>,
    /// Where nginx listens while it is running, and how often it has read its sites.
    sites: (BTreeSet<SocketAddr>, u32),
    /// How long a worker stays busy, and every hold and release of it.
    pub(super) in_hand_for: Duration,
    pub(super) holds: Vec<String>,
    /// Whether nginx ignores requests to reload its sites.
    pub(super) is_deaf: bool,
}

impl Listeners {
    pub(super) fn bind(&mut self, at: &str, unit: &str) {
        self.units.insert(at.to_owned(), unit.to_owned());
    }

    /// Lets nginx read its sites; each time, new worker processes serve them.
    pub(super) fn read(&mut self, sites: &str) {
        let values = sites.lines().filter_map(|line| line.trim().strip_prefix("listen ")?.split([' ', ';']).next());
        let everywhere = |port: &str| Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port.parse().ok()?));
        if !self.is_deaf {
            let addresses = values.filter_map(|value| value.parse().ok().or_else(|| everywhere(value)));
            self.sites = (addresses.gather(), self.sites.1 + 1);
        }
    }

    /// The sockets of nginx while it is running.
    pub(super) fn of_proxy(&self) -> impl Iterator<Item = Listener> {
        let holder = |pid| Holder { pid, name: "nginx".into(), unit: Some(PROXY.into()) };
        self.sites.0.iter().map(move |at| Listener { at: *at, holders: [MASTER, MASTER + self.sites.1].map(holder).into() })
    }

    pub(super) fn answer(&mut self, url: &str, status: u16) {
        self.answers.insert(url.to_owned(), status);
    }
}
