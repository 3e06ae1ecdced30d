//! How far something is, on a terminal; nothing anywhere else.

use std::io::IsTerminal as _;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar of bytes.
pub(super) fn bar(what: &'static str, total: u64) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(total), target).with_message(what);
    let style = ProgressStyle::with_template("{msg:>9} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// A size for people.
pub(super) fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}
