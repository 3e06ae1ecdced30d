//! The state of a machine in memory, for comparing and printing.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// A machine at one moment: a line for each file, directory and unit.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Snapshot(pub(super) BTreeMap<String, String>);

impl Snapshot {
    /// The same without everything below `prefix`, such as a report that contains times.
    pub(crate) fn without(mut self, prefix: &str) -> Self {
        self.0.retain(|name, _| !Path::new(name).starts_with(prefix));
        self
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, line)| writeln!(f, "{name}  {line}"))
    }
}

/// Same as `Display`, because `assert_eq!` prints this.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        fmt::Display::fmt(self, f)
    }
}
