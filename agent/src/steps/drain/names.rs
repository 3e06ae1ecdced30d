//! What the boot, the drain and the proxy call things by which they know of each other.

/// Its settings.
pub(crate) const SETTINGS: &str = "/run/ingot/drain.json";

/// While this is there, the proxy answers 503 where the health of an application is asked for.
pub(crate) const LEAVING: &str = "/run/ingot/proxy/leaving";

/// What the record of a drain says first: by which sign, and when, it began.
pub(crate) const BEGAN: &str = "began";

/// What it says of the last notice of EC2 for which this machine was drained: that stays in its metadata, and is no news to a
/// machine that works again.
pub(crate) const NOTICED: &str = "noticed";
