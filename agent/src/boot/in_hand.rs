//! The release that a boot is for, and its state.

use std::path::PathBuf;
use std::time::Duration;

use crate::address::Address;
use crate::boot::wanted::Wanted;
use crate::step::InForce;

/// A request for a release.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) wanted: Wanted,
    /// When the request was made, in time since the kernel started.
    pub(crate) at: Duration,
}

/// The release that a boot works on.
#[derive(Debug)]
pub(super) struct InHand {
    pub(super) path: PathBuf,
    pub(super) wanted: Wanted,
    /// The bundles of the release.
    pub(super) bundles: Vec<Address>,
    /// The release in force, if it is a different one.
    pub(super) goes_back_to: Option<InForce>,
    /// Whether this release has been written as the one in force; `None` while it is being written.
    pub(super) is_kept: Option<bool>,
}
