//! Removes parts of libc and of the unwinder from a static binary: our definitions replace theirs, and whatever only
//! theirs needed is not linked.
//!
//! None of it would be useful there. `getaddrinfo` would load shared objects for NSS, which a static binary must not
//! do; names are resolved by [`net::resolver`](crate::net). `dlsym` has no table to search. Nothing unwinds, because a
//! panic aborts, and without the tables that the linker omits no stack can be walked either: a backtrace would always
//! be empty. `pthread_getattr_np` finds the end of a stack for the standard library, which then reports a stack
//! overflow; to do so it reads `/proc/self/maps` with all of `sscanf`. Without it, such a program dies of the same
//! signal, without that report.
//!
//! [`streams`] and [`strings`] do the same for more of libc, but only for the one version whose parts are known.
//!
//! Used only where the alias `dist` links (`.cargo/config.toml`): a program that unwinds, such as a static test, needs
//! the unwinder, and for other targets nothing tells the linker to use these definitions instead of the others.

#[cfg(glibc_2_36)]
mod streams;
#[cfg(glibc_2_36)]
mod strings;

use std::ffi::{c_char, c_int, c_void};
use std::process::abort;
use std::ptr::null;

use nix::libc::{EAI_FAIL, ENOSYS, addrinfo, pthread_attr_t, pthread_t};

/// Result of `_Unwind_Backtrace`: there are no more frames.
const END_OF_STACK: c_int = 5;

#[unsafe(no_mangle)]
extern "C" fn getaddrinfo(_: *const c_char, _: *const c_char, _: *const addrinfo, _: *mut *mut addrinfo) -> c_int {
    EAI_FAIL
}

#[unsafe(no_mangle)]
extern "C" fn freeaddrinfo(_: *mut addrinfo) {}

#[unsafe(no_mangle)]
extern "C" fn gai_strerror(_: c_int) -> *const c_char {
    c"a static program has no getaddrinfo".as_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn dlsym(_: *mut c_void, _: *const c_char) -> *const c_void {
    null()
}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_: *const c_void, _: *mut c_void) -> c_int {
    END_OF_STACK
}

#[unsafe(no_mangle)]
extern "C" fn pthread_getattr_np(_: pthread_t, _: *mut pthread_attr_t) -> c_int {
    ENOSYS
}

/// The rest of the unwinder, which is linked but never called.
macro_rules! never_called {
    ($($name:ident)*) => {
        $(#[unsafe(no_mangle)] extern "C" fn $name() -> ! { abort() })*
    };
}

never_called! {
    _Unwind_ForcedUnwind _Unwind_GetCFA _Unwind_GetDataRelBase _Unwind_GetIP _Unwind_GetIPInfo
    _Unwind_GetLanguageSpecificData _Unwind_GetRegionStart _Unwind_GetTextRelBase _Unwind_Resume _Unwind_SetGR
    _Unwind_SetIP
}
