//! What systemd has read of what this boot has written.

use std::collections::BTreeSet;

use tokio::sync::Mutex;

use crate::address::Address;

/// The steps that were done when systemd last read its unit files and ran its generators, as far as this boot had it do so.
///
/// Whoever would have it read them again holds this, so that ten services of one boot cost one reading.
#[derive(Debug, Default)]
pub(crate) struct Definitions(pub(crate) Mutex<BTreeSet<Address>>);
