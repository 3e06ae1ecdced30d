//! Probes of a machine in memory: answered by units, or with a fixed answer.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;

use super::FakeMachine;
use crate::host::Clock as _;
use crate::net::Probes;

impl FakeMachine {
    async fn connect(&self, to: &str) -> Result<(), String> {
        self.alive().await;
        match self.0.listeners.borrow().units.get(to) {
            Some(unit) if !self.0.units.borrow().is_active(unit, self.elapsed()) => Err("connection refused".into()),
            _ => Ok(()),
        }
    }
}

#[async_trait(?Send)]
impl Probes for FakeMachine {
    async fn http(&self, url: &str, _timeout: Duration) -> Result<u16, String> {
        self.connect(url).await?;
        Ok(self.0.listeners.borrow().answers.get(url).copied().unwrap_or(200))
    }

    async fn fastcgi(&self, at: SocketAddr, _root: &str, path: &str, _timeout: Duration) -> Result<u16, String> {
        let url = format!("fastcgi://{at}{path}");
        self.connect(&url).await?;
        Ok(self.0.listeners.borrow().answers.get(&url).copied().unwrap_or(200))
    }

    async fn tcp(&self, address: &str, _timeout: Duration) -> Result<(), String> {
        self.connect(address).await
    }

    async fn published(&self, port: u16, _timeout: Duration) -> Result<(), String> {
        self.connect(&format!("127.0.0.1:{port}")).await
    }
}
