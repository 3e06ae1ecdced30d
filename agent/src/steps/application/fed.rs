//! Workers that feed an application: before it is stopped, they finish their requests to it and send no new ones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fields::Application;
use super::generation::Placed;
use super::procfile::WEB;
use super::proxy::Place;
use super::slot::Slot;
use crate::json::of_bytes;
use crate::net::holds::Hold;
use crate::step::{Context, Progress};
use crate::steps::worker::settings::{DIRECTORY, LIMIT, Settings, hold};

/// A worker, and the port of this application to which it posts.
struct Feeder {
    address: String,
    socket: PathBuf,
    port: u16,
    /// How long the worker allows for requests in progress.
    drain: Duration,
}

impl Feeder {
    /// `None` if the worker with these settings posts to another application. `reached` are the additional ports of
    /// this one.
    fn of(name: &str, settings: &Settings, placed: &Placed, reached: &[u16]) -> Option<Self> {
        let port = match &settings.to.slots {
            Some(slots) => (slots.link == Place::Current(&placed.application).path()).then_some(placed.port),
            None => Some(settings.to.at.port()).filter(|port| *port == placed.port || reached.contains(port)),
        }?;
        Some(Self { address: format!("workers.{name}"), socket: hold(name), port, drain: settings.drain })
    }
}

impl Application {
    /// The ports of an application other than those of its slots.
    pub(super) fn reached(&self, slot: Slot, placed: &Placed) -> Vec<u16> {
        let own = placed.port.checked_sub(slot.port(0, true)).filter(|_| Slot::is_apart(placed.port));
        self.proxy.ports().into_iter().chain(own).collect()
    }

    /// As [`held`], if `web` is among the processes about to be stopped; workers feed no other process.
    pub(super) async fn held(
        &self,
        slot: Slot,
        placed: &Placed,
        processes: &[String],
        limit: Duration,
        cx: &Context<'_>,
    ) -> Vec<Box<dyn Hold>> {
        match processes.iter().any(|process| process == WEB) {
            true => held(placed, &self.reached(slot, placed), limit, cx).await,
            false => Vec::new(),
        }
    }
}

/// Waits until no worker has a request in progress at a generation: at most `limit`, and no longer than the workers
/// allow. The workers send no new requests to it until the holds are dropped.
pub(super) async fn held(placed: &Placed, reached: &[u16], limit: Duration, cx: &Context<'_>) -> Vec<Box<dyn Hold>> {
    let feeders = feeders(placed, reached, cx).await;
    let mut held = Vec::new();
    for feeder in &feeders {
        held.push(cx.net().holds.hold(&cx.host().files.located(&feeder.socket), feeder.port).await);
    }
    let Some(drain) = feeders.iter().map(|feeder| feeder.drain).max() else { return held };
    let names = feeders.iter().map(|feeder| feeder.address.as_str()).collect::<Vec<_>>().join(" and ");
    let limit = limit.min(drain);
    cx.waiting(format!("for the messages of {names} that {placed} still handles"));
    let finished = async {
        for hold in &mut held {
            hold.finished().await;
        }
    };
    let is_done = tokio::select! {
        biased;
        () = finished => true,
        () = cx.host().clock.sleep(limit) => false,
    };
    if !is_done {
        let told = format!("{placed} still handled messages of {names} after {limit:?}: they are delivered again");
        cx.progress(Progress::Warning(told));
    }
    held
}

/// The workers on this machine that feed a generation.
async fn feeders(placed: &Placed, reached: &[u16], cx: &Context<'_>) -> Vec<Feeder> {
    let (files, directory) = (&cx.host().files, Path::new(DIRECTORY));
    let mut found = Vec::new();
    // A rollback has to continue regardless of messages: interrupted ones are delivered again.
    let listed = files.list(directory).await.unwrap_or_else(|error| {
        cx.progress(Progress::Warning(format!("workers are not waited for: {error}")));
        Vec::new()
    });
    for file in listed {
        let Some(name) = file.strip_suffix(".json").filter(|name| !name.starts_with('.')) else { continue };
        let settings = match files.read(&directory.join(&file), LIMIT).await {
            Ok(settings) => settings.and_then(|settings| of_bytes(&settings).ok()),
            // It may be the worker of another application.
            Err(error) => {
                cx.progress(Progress::Warning(format!("worker `{name}` is not waited for: {error}")));
                continue;
            }
        };
        found.extend(settings.and_then(|settings| Feeder::of(name, &settings, placed, reached)));
    }
    found
}
