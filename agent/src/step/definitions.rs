//! Which of the files that this boot has written systemd has read.

use std::collections::BTreeSet;

use tokio::sync::Mutex;

use crate::address::Address;

/// The steps that were done when systemd last read its unit files and ran its generators on behalf of this boot.
///
/// Held while systemd is made to read them again, so that ten services of one boot only need one reload.
#[derive(Debug, Default)]
pub(crate) struct Definitions(pub(crate) Mutex<BTreeSet<Address>>);
