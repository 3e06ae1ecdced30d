//! What a service was last started with: the stamps of the files, credentials and commands it watches.
//!
//! Kept in the record of the instance and compared with those of the present, so that a boot which was cut off between
//! writing a file and restarting its service is made good by the next.

use std::collections::BTreeMap;
use std::fmt;

use crate::address::Address;
use crate::gather::Gather as _;
use crate::step::Context;

/// What the watched steps put on the machine, each with its stamp.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamps(pub(crate) BTreeMap<Address, String>);

impl Stamps {
    /// Reads what [`Display`](fmt::Display) wrote.
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

/// The stamps of the watched steps as they are now.
pub(crate) fn stamps(watches: &[&Address], cx: &Context<'_>) -> Stamps {
    let stamp = |address: &&Address| Some(((*address).clone(), cx.world.known.stamp(address)?));
    Stamps(watches.iter().filter_map(stamp).gather())
}
