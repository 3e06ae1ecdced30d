//! What a boot knows of the release that it is for.

use std::path::PathBuf;
use std::time::Duration;

use crate::address::Address;
use crate::boot::wanted::Wanted;
use crate::step::InForce;

/// A request for a release.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) wanted: Wanted,
    /// When it was made, since the kernel began.
    pub(crate) at: Duration,
}

/// What a boot has to do with the release.
#[derive(Debug)]
pub(super) struct InHand {
    pub(super) path: PathBuf,
    pub(super) wanted: Wanted,
    /// The bundles that it is made of.
    pub(super) bundles: Vec<Address>,
    /// The release in force, if that is another one.
    pub(super) goes_back_to: Option<InForce>,
    /// Whether it has been written that this is the release in force; `None` while it is being written.
    pub(super) is_kept: Option<bool>,
}
