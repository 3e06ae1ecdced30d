//! The names shared by the boot, the drain and the proxy.

/// The settings of the drain.
pub(crate) const SETTINGS: &str = "/run/ingot/drain.json";

/// While this file exists, the proxy answers health checks of applications with 503.
pub(crate) const LEAVING: &str = "/run/ingot/proxy/leaving";

/// The record entry for the beginning of a drain: its time, and the sign that caused it.
pub(crate) const BEGAN: &str = "began";

/// The record entry for the last EC2 notice that caused a drain. The notice stays in the metadata of the instance, and
/// must not count again on a machine that works again.
pub(crate) const NOTICED: &str = "noticed";
