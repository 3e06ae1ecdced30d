//! Reads the rest of the device behind a mount, at a limited rate.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;

use super::done::{Done, record, recorded};
use super::reading::{PATIENCE, advanced, failures, is_taken};
use super::shown::{Shown, shown};
use super::trouble::PreloadError;
use crate::address::Address;
use crate::host::disks::Device;
use crate::host::reading::DeviceToRead;
use crate::host::state::EntryState;
use crate::step::amount::Gauge;
use crate::step::{Context, Order, Outputs, Progress, Shape, Step};
use crate::text::Text;

/// Stands for the whole device in the record, since there is nothing to select.
const ALL: &str = "all";

#[derive(Debug)]
pub(super) struct PreloadRest {
    pub(super) mount: PathBuf,
    pub(super) in_flight: u16,
    pub(super) mib_s: u64,
    /// The step that reads the paths, if there is one: it runs first.
    pub(super) paths: Option<Address>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    mount: PathBuf,
    mib_s: u64,
    device: Device,
    identity: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read the rest of the device of {} at {} MiB/s", self.mount.display(), self.mib_s)
    }
}

impl Step for PreloadRest {
    type Change = Change;
    type Error = PreloadError;

    fn summary(&self, _shown: &dyn Fn(&Text) -> String) -> String {
        format!("the rest of the device, at {} MiB/s", self.mib_s)
    }

    fn shape<'a>(&'a self, _key: &'a str) -> Shape<'a> {
        Shape { watches: self.paths.iter().collect(), order: Order::Beside, patience: PATIENCE, ..Shape::default() }
    }

    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Change>, PreloadError> {
        let Shown { device, identity } = shown(&self.mount, cx).await?;
        // The order matters: a process that is still reading has not recorded yet that it is done.
        if is_taken(cx).await? || Done::recorded(recorded(cx).await?.as_ref(), &identity, ALL, None).is_some() {
            return Ok(Vec::new());
        }
        let Some(device) = device else {
            cx.progress(Progress::Warning(format!("the mount at {} is not on a device that can be read", self.mount.display())));
            return Ok(Vec::new());
        };
        Ok(vec![Change { mount: self.mount.clone(), mib_s: self.mib_s, device, identity }])
    }

    async fn apply(&self, change: Change, cx: &Context<'_>) -> Result<(), PreloadError> {
        let Some(_claim) = cx.host().reading.claim(cx.address.as_str()).await.map_err(PreloadError::Host)? else { return Ok(()) };
        let mut done = Done::not_yet(change.identity, ALL.into());
        record(EntryState::Started, &done, cx).await?;
        let wanted = DeviceToRead { device: change.device, in_flight: self.in_flight.into(), mib_s: self.mib_s };
        let gauge = RefCell::new(Gauge::begin(cx.host().clock.elapsed()));
        let read = cx.host().reading.device(&wanted, &|bytes, of| advanced(&gauge, bytes, of, cx)).await.map_err(PreloadError::Host)?;
        failures(&read, cx)?;
        done.bytes = read.bytes;
        record(EntryState::Done, &done, cx).await
    }

    async fn outputs(&self, _cx: &Context<'_>) -> Result<Outputs, PreloadError> {
        Ok(Outputs::default())
    }
}
