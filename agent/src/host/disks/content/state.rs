//! The state of content that a recognizer has found.

use super::window::Window;
use crate::host::disks::signature::State;

/// The state of content that claims to be `size` bytes long.
pub(super) fn sized(window: &Window, size: u64) -> Option<State> {
    (size > window.size()).then(|| State::Damaged(format!("it says {size} bytes, and the device has {}", window.size())))
}

pub(super) fn damaged(reason: &str) -> State {
    State::Damaged(reason.to_owned())
}
