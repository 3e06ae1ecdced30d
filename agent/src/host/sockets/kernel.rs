//! The sockets that the running kernel lists.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use async_trait::async_trait;

use super::{Endpoint, Holder, Listener, Sockets, tables};
use crate::host::blocking;
use crate::host::error::HostError;
use crate::host::tree::failed;
use crate::host::units::unit_of;
use crate::sorting::Sort as _;

const TCP: &str = "/proc/net/tcp";
/// Does not exist if the kernel has no IPv6.
const TCP6: &str = "/proc/net/tcp6";
const UNIX: &str = "/proc/net/unix";
const COUNTERS: &str = "/proc/net/snmp";
const PROCESSES: &str = "/proc";

/// The sockets of the network namespace that ingot runs in.
pub(crate) struct KernelSockets;

#[async_trait(?Send)]
impl Sockets for KernelSockets {
    async fn connections(&self, endpoints: &[Endpoint]) -> Result<usize, HostError> {
        let endpoints = endpoints.to_vec();
        // The table of a busy server has tens of thousands of lines.
        blocking::work("read", Path::new(TCP), move || {
            let is_port = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Port(_));
            let tcp = if endpoints.iter().any(is_port) { [read(TCP)?, read(TCP6)?] } else { Default::default() };
            let unix = if endpoints.iter().all(is_port) { Vec::new() } else { read(UNIX)? };
            let tcp = tcp.map(|table| String::from_utf8_lossy(&table).into_owned());
            let count = |endpoint: &Endpoint| match endpoint {
                Endpoint::Port(port) => tcp.iter().map(|table| tables::tcp_connections(table, *port)).sum(),
                Endpoint::Path(path) => tables::unix_connections(&unix, path),
            };
            Ok(endpoints.iter().map(count).sum())
        })
        .await
    }

    async fn accepted(&self) -> Result<u64, HostError> {
        blocking::work("read", Path::new(COUNTERS), || {
            let counters = read(COUNTERS)?;
            let found = tables::passive_opens(&String::from_utf8_lossy(&counters));
            found.ok_or_else(|| failed("read", Path::new(COUNTERS), io::Error::other("it has no PassiveOpens")))
        })
        .await
    }

    async fn listeners(&self) -> Result<Vec<Listener>, HostError> {
        blocking::work("read", Path::new(TCP), || {
            let mut sockets: BTreeMap<u64, (SocketAddr, Vec<Holder>)> = BTreeMap::new();
            for table in [read(TCP)?, read(TCP6)?] {
                let found = tables::tcp_listeners(&String::from_utf8_lossy(&table)).collect::<Vec<_>>();
                sockets.extend(found.into_iter().map(|(at, inode)| (inode, (at, Vec::new()))));
            }
            add_holders(&mut sockets)?;
            let mut listeners: Vec<_> = sockets.into_values().map(|(at, holders)| Listener { at, holders }).collect();
            listeners.order();
            Ok(listeners)
        })
        .await
    }
}

/// Reads one of the kernel's tables; empty if it does not exist.
fn read(path: &str) -> Result<Vec<u8>, HostError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|source| failed("read", Path::new(path), source)),
    }
}

/// Finds the sockets among the open files of every process. Processes that come and go meanwhile, and those of other
/// users, which only root may inspect, are skipped.
fn add_holders(sockets: &mut BTreeMap<u64, (SocketAddr, Vec<Holder>)>) -> Result<(), HostError> {
    let processes = fs::read_dir(PROCESSES).map_err(|source| failed("list", Path::new(PROCESSES), source))?;
    let mut pids: Vec<u32> = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.order();
    for pid in pids {
        let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        let links = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let mut inodes: Vec<u64> = links.filter_map(|link| tables::socket_inode(link.as_os_str().as_bytes())).collect();
        inodes.order();
        inodes.dedup();
        for inode in inodes {
            if let Some((_, holders)) = sockets.get_mut(&inode) {
                holders.extend(holder(pid));
            }
        }
    }
    Ok(())
}

fn holder(pid: u32) -> Option<Holder> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    Some(Holder { pid, name: String::from_utf8_lossy(&name).trim_end().to_owned(), unit: unit_of(&cgroup) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::{Duration, Instant};

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn sees_a_connection_from_before_it_is_accepted_until_it_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let port = [Endpoint::Port(at.port())];
        assert_eq!(KernelSockets.connections(&port).await.unwrap(), 0);
        let client = TcpStream::connect(at).await.unwrap();
        assert_eq!(KernelSockets.connections(&port).await.unwrap(), 2);
        let (accepted, _) = listener.accept().await.unwrap();
        assert_eq!(KernelSockets.connections(&port).await.unwrap(), 2);
        drop((client, accepted));
        // A busy kernel closes them a moment later.
        let begun = Instant::now();
        while KernelSockets.connections(&port).await.unwrap() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(10), "they are not closed");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn sees_connections_to_a_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("http.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let endpoint = [Endpoint::Path(path.clone())];
        assert_eq!(KernelSockets.connections(&endpoint).await.unwrap(), 0);
        let client = UnixStream::connect(&path).unwrap();
        assert_eq!(KernelSockets.connections(&endpoint).await.unwrap(), 1);
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(KernelSockets.connections(&endpoint).await.unwrap(), 1);
        drop((client, accepted));
        // A child of another test may hold a copy until it calls execve(2).
        let begun = Instant::now();
        while KernelSockets.connections(&endpoint).await.unwrap() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(10), "they are not closed");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn names_the_process_that_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let listeners = KernelSockets.listeners().await.unwrap();
        let ours = listeners.iter().find(|listener| listener.at == at).unwrap();
        assert!(ours.holders.iter().any(|holder| holder.pid == std::process::id() && !holder.name.is_empty()), "{ours:?}");
    }
}
