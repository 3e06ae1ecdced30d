//! The stamps of the files, credentials, commands and bundles that a service watches, as of its last start.
//!
//! They are kept in the record of the instance and compared with the current ones, so that the next boot repairs an
//! interruption between writing a file and restarting its service.

use std::collections::BTreeMap;
use std::fmt;

use crate::address::Address;
use crate::gather::Gather as _;
use crate::step::Context;

/// The watched steps, each with the stamp of its result.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamps(pub(crate) BTreeMap<Address, String>);

impl Stamps {
    /// Parses the output of [`Display`](fmt::Display).
    pub(crate) fn parse(recorded: &str) -> Self {
        let lines = recorded.lines().filter_map(|line| line.split_once(' '));
        Self(lines.filter_map(|(stamp, address)| Some((address.parse().ok()?, stamp.to_owned()))).gather())
    }
}

impl fmt::Display for Stamps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(address, stamp)| writeln!(f, "{stamp} {address}"))
    }
}

/// The current stamps of the watched steps.
pub(crate) fn stamps(watches: &[&Address], cx: &Context<'_>) -> Stamps {
    let stamp = |address: &&Address| Some(((*address).clone(), cx.world.known.stamp(address)?));
    Stamps(watches.iter().filter_map(stamp).gather())
}
