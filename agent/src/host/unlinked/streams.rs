//! Replaces libc's streams (`FILE`) together with `printf`, its locales, character set conversion and the loader of
//! shared objects. These parts depend on each other: 250 kB, for the message of a failed assertion in libc and for the
//! statistics of `malloc`. The C locale, which a program has if it sets none, needs none of it.
//!
//! The set of symbols to replace differs between versions of glibc, and replacing only some of them would mix two
//! implementations. This is therefore only used with glibc 2.36, that of Debian 12 (`build.rs`); with other versions,
//! the binary is larger.

use std::arch::global_asm;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::io::Write as _;
use std::process::abort;
use std::ptr::null;
use std::slice;

use nix::libc::{PROT_READ, PROT_WRITE, STDERR_FILENO, strlen, write};

/// Part of libc's resolver. std calls it to reload the resolver's configuration when `getaddrinfo` fails.
#[unsafe(no_mangle)]
extern "C" fn __res_init() -> c_int {
    0
}

// Thread-local state of that resolver. libc initializes it for each new thread, and nothing reads it.
global_asm! {
    ".pushsection .tbss.__libc_resp,\"awT\",@nobits",
    ".balign 8",
    ".globl __libc_resp",
    ".type __libc_resp,@object",
    ".size __libc_resp,8",
    "__libc_resp: .zero 8",
    ".popsection",
}

/// Initializes the character classes of the locale for a new thread; ingot does not use libc's.
#[unsafe(no_mangle)]
extern "C" fn __ctype_init() {}

/// Initializes the search path for shared objects.
#[unsafe(no_mangle)]
extern "C" fn _dl_init_paths() {}

/// The memory protection of stacks, which would be changed for a shared object that needs an executable stack.
#[unsafe(no_mangle)]
static __stack_prot: c_int = PROT_READ | PROT_WRITE;

/// The C locale's conversion functions for wide characters, which are never used.
#[unsafe(no_mangle)]
static __wcsmbs_gconv_fcts_c: [usize; 4] = [0; 4];

/// The stream to which `malloc_stats` would print.
#[unsafe(no_mangle)]
static stderr: usize = 0;

/// fork(2) locks every open stream; there are none.
macro_rules! no_streams {
    ($($name:ident)*) => {
        $(#[unsafe(no_mangle)] extern "C" fn $name() -> *const c_void { null() })*
    };
}

no_streams! {
    _IO_enable_locks _IO_iter_begin _IO_iter_end _IO_iter_file _IO_iter_next _IO_list_lock _IO_list_resetlock _IO_list_unlock
}

unsafe extern "C" {
    fn strerrordesc_np(number: c_int) -> *const c_char;
}

/// The text of an error, always in English: libc's version would look for a translation.
#[unsafe(no_mangle)]
unsafe extern "C" fn __strerror_r(number: c_int, buffer: *mut c_char, size: usize) -> *const c_char {
    // SAFETY: a non-null `known` is a static string; the caller's buffer has `size` bytes.
    unsafe {
        let known = strerrordesc_np(number);
        if !known.is_null() {
            return known;
        }
        let buffer = slice::from_raw_parts_mut(buffer.cast::<u8>(), size);
        buffer.fill(0);
        if let Some((_, mut room)) = buffer.split_last_mut() {
            // Text that does not fit is cut off.
            let _ = write!(room, "Unknown error {number}");
        }
        buffer.as_ptr().cast()
    }
}

/// libc formats the message of a fatal error with it. This version copies the format and does not expand `%`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __snprintf(buffer: *mut c_char, size: usize, format: *const c_char) -> c_int {
    // SAFETY: the caller's buffer has `size` bytes, and the format is NUL-terminated.
    let (buffer, format) = unsafe { (slice::from_raw_parts_mut(buffer.cast::<u8>(), size), CStr::from_ptr(format)) };
    buffer.fill(0);
    if let Some((_, mut room)) = buffer.split_last_mut() {
        let _ = room.write(format.to_bytes());
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __assert_fail(assertion: *const c_char, file: *const c_char, _line: c_uint, _function: *const c_char) -> ! {
    for text in [file, c": ".as_ptr(), assertion, c"\n".as_ptr()] {
        // SAFETY: libc passes its own NUL-terminated constants.
        unsafe { write(STDERR_FILENO, text.cast(), strlen(text)) };
    }
    abort()
}

/// Functions that are linked but never called.
macro_rules! never_called {
    ($($name:ident)*) => {
        $(#[unsafe(no_mangle)] extern "C" fn $name() -> ! { abort() })*
    };
}

// Resolvers of functions in shared objects, used at their first call.
never_called! {
    _dl_runtime_profile_avx _dl_runtime_profile_avx512 _dl_runtime_profile_sse _dl_runtime_resolve_fxsave
    _dl_runtime_resolve_xsave _dl_runtime_resolve_xsavec
}

// Printers of `malloc` statistics and of the names of other threads.
never_called! {
    _IO_fputs fprintf fwrite sprintf
}
