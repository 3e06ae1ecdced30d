//! The application that decides where the `current` of a bundle points to.

/// The application that decides where the `current` of a bundle points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    /// The key of the application.
    pub(crate) application: String,
    /// Whether the application switches `current` to the next release, once that release serves. If another step needs
    /// it earlier, the bundle switches it.
    pub(crate) switches: bool,
}
