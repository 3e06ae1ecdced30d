//! Shows progress on a terminal, and nothing anywhere else.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle, WeakProgressBar};

thread_local! {
    /// The bar on the screen. All commands run on this one thread.
    static SHOWN: RefCell<Option<WeakProgressBar>> = const { RefCell::new(None) };
}

/// A bar of bytes.
pub(super) fn bar(what: &'static str, total: u64) -> ProgressBar {
    shown(total, "{msg:>9} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}").with_message(what)
}

/// A bar of instances, with the elapsed time.
pub(super) fn instances(total: u64) -> ProgressBar {
    let bar = shown(total, "{msg} {wide_bar} {pos} of {len} {elapsed}");
    if !bar.is_hidden() {
        bar.enable_steady_tick(Duration::from_secs(1));
    }
    bar
}

fn shown(total: u64, template: &str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    SHOWN.set(Some(bar.downgrade()));
    bar
}

/// Writes something above the bar, if there is one.
pub(super) fn above(write: impl FnOnce()) {
    match SHOWN.with_borrow(|shown| shown.as_ref().and_then(WeakProgressBar::upgrade)) {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// A size in readable units.
pub(super) fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}
