//! Who says where the `current` of a bundle leads.

/// The application that says where the `current` of a bundle leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    /// Its key.
    pub(crate) application: String,
    /// Whether `current` leads to the next release once that serves. Where another step needs that before, the bundle
    /// switches it.
    pub(crate) switches: bool,
}
