//! Stops units, in reverse order of their start. Each has its own share of the time that is left.

use std::time::Duration;

use super::leave::Leaving;
use super::outlook::Outlook;
use super::sign::Sign;
use crate::failure::Explanation;
use crate::host::HostError;
use crate::steps::application::leave::{stop, stop_proxy, stop_unit};

/// How long systemd may take to stop a socket, a path or a timer, which it does at once.
const TRIGGER_WITHIN: Duration = Duration::from_secs(10);

impl Leaving<'_> {
    /// Stops services and applications. A unit ends by its own `TimeoutStopSec=`. If a unit is not down in time, it
    /// continues to stop, and the next one is asked.
    pub(super) async fn units(&self, outlook: &Outlook) {
        let (host, mut has_proxy) = (&self.ground.host, true);
        let serving: Vec<&String> = self.settings.last_first().collect();
        let within = |done: usize| outlook.share(host.clock.elapsed(), u32::try_from(serving.len() + 1 - done).unwrap_or(u32::MAX));
        // Workers that were still starting, or that systemd has restarted.
        for unit in self.workers_up().await.unwrap_or_default() {
            told(&unit.id, stop_unit(&unit.id, within(0), host).await);
        }
        for (done, address) in serving.iter().enumerate() {
            log::info!("waiting for {address} to stop");
            let stopped = match address.split_once('.') {
                Some(("applications", name)) => {
                    if std::mem::take(&mut has_proxy) {
                        told("the proxy", stop_proxy(within(done), host).await);
                    }
                    self.application(name, within(done + 1)).await
                }
                Some((_, unit)) => self.service(unit, within(done + 1), outlook.sign).await,
                None => continue,
            };
            told(address, stopped);
        }
    }

    async fn application(&self, name: &str, within: Duration) -> Result<(), HostError> {
        let record = self.instance().await?;
        tokio::select! {
            biased;
            stopped = stop(name, &record, &self.ground.host) => stopped,
            () = self.ground.host.clock.sleep(within) => {
                Err(HostError::SystemctlTimeout { verb: "stop", unit: format!("applications.{name}"), waited: within })
            }
        }
    }

    /// If the machine does not come back, the units that could start the service again are stopped first.
    async fn service(&self, unit: &str, within: Duration, sign: Sign) -> Result<(), HostError> {
        let host = &self.ground.host;
        if sign.is_resumed() {
            let shown = host.units.show(&[unit.to_owned()]).await.unwrap_or_default();
            for trigger in shown.iter().flat_map(|unit| &unit.triggered_by) {
                told(trigger, stop_unit(trigger, TRIGGER_WITHIN.min(within), host).await);
            }
        }
        stop_unit(unit, within, host).await
    }
}

fn told(what: &str, stopped: Result<(), HostError>) {
    match stopped {
        Ok(()) => log::info!("stopped {what}"),
        Err(error) => log::warn!("{what} was not stopped: {}", Explanation::of(&error)),
    }
}
