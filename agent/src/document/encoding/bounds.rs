//! Limits on user data: the number of its encodings, and its decoded size.

/// The maximum size of user data once unwrapped, in bytes. The parts of a MIME message share it.
///
/// EC2 accepts 16 KiB. A thousand times that is more than any document needs, even one fetched from elsewhere, and
/// small enough for the smallest instance.
pub(super) const MAX_UNWRAPPED: usize = 16 << 20;

/// How many encodings are decoded. Three can happen by accident: a module gzips and encodes the data, and its caller
/// encodes it again.
pub(super) const MAX_LAYERS: usize = 3;
