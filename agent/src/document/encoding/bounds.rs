//! Bounds on user data: the depth of its encodings, and its decoded size.

/// The most that user data may be once unwrapped, in bytes; the parts of a MIME message share it.
///
/// EC2 takes 16 KiB. A thousand times that is more than any document, also one fetched from elsewhere, and
/// little enough for the smallest instance.
pub(super) const MAX_UNWRAPPED: usize = 16 << 20;

/// How many encodings are taken off. Three is what people arrive at by accident: a module gzips and encodes,
/// and its caller encodes again.
pub(super) const MAX_LAYERS: usize = 3;
