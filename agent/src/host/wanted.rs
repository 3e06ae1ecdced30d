//! Whether work on another thread is still wanted: its caller may have given up while a disk hung.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;

thread_local! {
    static WANTED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Runs `work`, which checks `wanted` through `still_wanted`.
pub(super) fn while_wanted(wanted: Arc<AtomicBool>, work: Box<dyn FnOnce() + Send>) {
    WANTED.set(Some(wanted));
    work();
    WANTED.set(None);
}

/// Checks that this thread's operation is still wanted. To be called before a system call that changes something,
/// because the call before it may have hung.
///
/// # Errors
///
/// ECANCELED if it is not.
pub(super) fn still_wanted() -> io::Result<()> {
    let wanted = WANTED.with_borrow(|wanted| wanted.as_ref().is_none_or(|wanted| wanted.load(Ordering::Acquire)));
    if wanted { Ok(()) } else { Err(Errno::ECANCELED.into()) }
}
