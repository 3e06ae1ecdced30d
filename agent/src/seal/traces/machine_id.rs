//! /etc/machine-id.
//!
//! An empty file makes systemd create an id for each instance, and does not count as a "first boot".
//! `uninitialized`, or a missing file, does: systemd then enables every unit that no preset disables. Debian
//! and Ubuntu have no preset that disables all others, so each unit that the image leaves to ingot would be
//! enabled, and started too early. Distributions of the Fedora family disable everything that is not named.
//! Only there does the image begin with a first boot.
//!
//! Source: machine-id(5), systemd.preset(5).

use super::found::{Action, TEXT_LIMIT};
use crate::host::{FileKind, HostError};
use crate::image::scrub::{Scrubber, Spot};
use crate::seal::setup::presets;

const FIRST_BOOT: &[u8] = b"uninitialized\n";

pub(super) fn action(spot: &Spot, image: &Scrubber) -> Result<Option<Action>, HostError> {
    if image.find(spot)?.is_some_and(|found| found.kind != FileKind::File) {
        return Ok(Some(Action::Remove));
    }
    let content = image.read(spot, TEXT_LIMIT)?.unwrap_or_default();
    let wanted = if presets::disable_by_default(image)? { FIRST_BOOT } else { b"" };
    let holds_no_id = content.trim_ascii().is_empty() || content.trim_ascii() == FIRST_BOOT.trim_ascii();
    // A first boot that would enable too much is as wrong as an id.
    let is_wanted = content.trim_ascii() == wanted.trim_ascii() || (holds_no_id && !wanted.is_empty());
    Ok((!is_wanted).then_some(Action::Write(wanted)))
}
