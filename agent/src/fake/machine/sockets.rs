//! Sockets of a machine in memory: only those that were added.

use async_trait::async_trait;

use super::FakeMachine;
use super::listeners::PROXY;
use crate::host::sockets::{Endpoint, Listener, Sockets};
use crate::host::{Clock as _, HostError};

#[async_trait(?Send)]
impl Sockets for FakeMachine {
    async fn connections(&self, endpoints: &[Endpoint]) -> Result<usize, HostError> {
        self.alive().await;
        let known = &self.0.listeners.borrow().connections;
        Ok(endpoints.iter().filter_map(|endpoint| known.get(endpoint)).sum())
    }

    async fn accepted(&self) -> Result<u64, HostError> {
        self.alive().await;
        let listeners = self.0.listeners.borrow();
        let now = self.elapsed();
        Ok(listeners.accepted.iter().filter(|at| **at <= now).count() as u64)
    }

    async fn listeners(&self) -> Result<Vec<Listener>, HostError> {
        self.alive().await;
        let listeners = self.0.listeners.borrow();
        let of_proxy = self.0.units.borrow().is_active(PROXY, self.elapsed()).then(|| listeners.of_proxy());
        Ok(listeners.sockets.iter().cloned().chain(of_proxy.into_iter().flatten()).collect())
    }
}

#[cfg(test)]
impl FakeMachine {
    /// From now on, `endpoint` has `count` connections.
    pub(crate) fn set_connections(&self, endpoint: Endpoint, count: usize) {
        self.0.listeners.borrow_mut().connections.insert(endpoint, count);
    }

    /// Accepts a connection at each of these times, in seconds.
    pub(crate) fn accept_at(&self, times: &[u64]) {
        self.0.listeners.borrow_mut().accepted.extend(times.iter().map(|at| std::time::Duration::from_secs(*at)));
    }

    /// From now on, nginx does not apply a new configuration, as when it cannot bind a port.
    pub(crate) fn is_deaf(&self, is_deaf: bool) {
        self.0.listeners.borrow_mut().is_deaf = is_deaf;
    }

    /// Adds a socket that accepts connections.
    pub(crate) fn add_socket(&self, listener: Listener) {
        self.0.listeners.borrow_mut().sockets.push(listener);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sockets::Holder;

    #[tokio::test]
    async fn has_no_sockets_but_those_it_was_told_of() {
        let machine = FakeMachine::new_instance();
        let sockets = machine.host().sockets;
        let port = Endpoint::Port(8080);
        assert_eq!(sockets.connections(std::slice::from_ref(&port)).await.unwrap(), 0);
        assert!(sockets.listeners().await.unwrap().is_empty());
        machine.set_connections(port.clone(), 2);
        let holders = vec![Holder { pid: 812, name: "apache2".into(), unit: None }];
        machine.add_socket(Listener { at: "0.0.0.0:80".parse().unwrap(), holders });
        assert_eq!(sockets.connections(&[Endpoint::Port(80), port]).await.unwrap(), 2);
        assert_eq!(sockets.listeners().await.unwrap()[0].at.port(), 80);
    }
}
