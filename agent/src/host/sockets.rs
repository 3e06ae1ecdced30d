//! Sockets of this machine, as listed by the kernel: how many connections an application has that is to be stopped, and
//! which processes listen where.
//!
//! Listening sockets and connections in other network namespaces, such as those of a container with its own network,
//! are not visible. A connection to such a container through this machine's loopback is visible by its other end.

mod kernel;
mod tables;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use async_trait::async_trait;

use super::error::HostError;

pub(crate) use kernel::KernelSockets;

/// The sockets of this machine.
#[async_trait(?Send)]
pub(crate) trait Sockets {
    /// The number of connections to `endpoints` that may still be in use. Connections that wait to be accepted count;
    /// those that the other end has closed do not. An established connection over loopback may count twice, once for
    /// each end.
    ///
    /// Listing TCP takes the kernel about 50 to 100 ms of one core when it remembers 10,000 connections, and listing
    /// UNIX sockets 0.1 ms. A caller that waits should query a path until it has no connections, and only then the port
    /// behind it.
    async fn connections(&self, endpoints: &[Endpoint]) -> Result<usize, HostError>;

    /// How many TCP connections this machine has accepted since it started, including those over loopback.
    async fn accepted(&self) -> Result<u64, HostError>;

    /// Every TCP socket that accepts connections, with the processes that hold it, sorted by address.
    async fn listeners(&self) -> Result<Vec<Listener>, HostError>;
}

/// Where an application accepts connections.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Endpoint {
    /// A TCP port of this machine.
    Port(u16),
    /// A UNIX socket, by the path that it was bound to, as the program wrote it.
    Path(PathBuf),
}

/// A TCP socket that accepts connections.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listener {
    pub(crate) at: SocketAddr,
    /// Sorted by process id. Empty if the kernel does not report any, for instance because the process has ended in the
    /// meantime.
    pub(crate) holders: Vec<Holder>,
}

/// A process that has a socket open.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
    /// Its name, as in `ps -o comm`: 15 bytes at most.
    pub(crate) name: String,
    /// Its unit, such as `apache2.service`.
    pub(crate) unit: Option<String>,
}

impl Listener {
    /// Whether a process of `unit` holds it.
    pub(crate) fn is_of(&self, unit: &str) -> bool {
        self.holders.iter().any(|holder| holder.unit.as_deref() == Some(unit))
    }

    /// Whether this socket prevents another one from listening on `at`: they have the same port, and both use the same
    /// address or one of them listens on every address of that family. A socket on every IPv6 address also occupies the
    /// IPv4 addresses unless it was told not to (`IPV6_V6ONLY`). The kernel does not show that option, so the socket is
    /// assumed to occupy them.
    pub(crate) fn is_in_the_way_of(&self, at: SocketAddr) -> bool {
        let (ours, other) = (self.at.ip(), at.ip());
        let same_family = ours.is_ipv4() == other.is_ipv4();
        let covers = |ip: IpAddr| ip.is_unspecified() && (same_family || ip.is_ipv6());
        self.at.port() == at.port() && (ours == other || covers(ours) || covers(other))
    }
}

/// Written as `apache2 (pid 812, apache2.service)`.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.unit {
            Some(unit) => write!(f, "{} (pid {}, {unit})", self.name, self.pid),
            None => write!(f, "{} (pid {})", self.name, self.pid),
        }
    }
}

/// Written as `nginx (pid 812, nginx.service)`. If several processes hold it, such as a server and its workers, the
/// first is shown.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.holders.first() {
            Some(holder) => holder.fmt(f),
            None => f.write_str("a process that is not visible from here"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(at: &str) -> Listener {
        Listener { at: at.parse().unwrap(), holders: Vec::new() }
    }

    #[test]
    fn a_port_is_in_use_where_the_addresses_overlap() {
        for (taken, wanted, in_the_way) in [
            ("0.0.0.0:80", "0.0.0.0:80", true),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("10.0.0.1:80", "127.0.0.1:80", false),
            ("[::]:80", "0.0.0.0:80", true),
            ("[::1]:80", "0.0.0.0:80", false),
            ("[::1]:80", "[::]:80", true),
            ("0.0.0.0:80", "0.0.0.0:81", false),
        ] {
            assert_eq!(listener(taken).is_in_the_way_of(wanted.parse().unwrap()), in_the_way, "{taken} {wanted}");
        }
    }

    #[test]
    fn says_who_holds_a_port() {
        let mut apache = listener("0.0.0.0:80");
        assert_eq!(apache.to_string(), "a process that is not visible from here");
        apache.holders.push(Holder { pid: 812, name: "apache2".into(), unit: Some("apache2.service".into()) });
        apache.holders.push(Holder { pid: 813, name: "apache2".into(), unit: Some("apache2.service".into()) });
        assert_eq!(apache.to_string(), "apache2 (pid 812, apache2.service)");
        assert_eq!(Holder { pid: 9, name: "nc".into(), unit: None }.to_string(), "nc (pid 9)");
    }
}
