//! libc's streams (`FILE`), with all of `printf`, its locales, the conversion between character sets and the loader of shared
//! objects. They hang together: 250 kB for what a failed assertion of libc says, and for what `malloc` would count. The C
//! locale, which is that of a program that sets none, needs none of it.
//!
//! Which names stand in the way is different in each version of glibc: some of them replaced, and others linked, would be
//! half of each. So this is for glibc 2.36, that of Debian 12, alone (`build.rs`); with another, the binary is larger.

use std::arch::global_asm;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::io::Write as _;
use std::process::abort;
use std::ptr::null;
use std::slice;

use nix::libc::{PROT_READ, PROT_WRITE, STDERR_FILENO, strlen, write};

/// Of libc's resolver, which std has read its configuration again when `getaddrinfo` fails.
#[unsafe(no_mangle)]
extern "C" fn __res_init() -> c_int {
    0
}

// What that resolver keeps for each thread: a new one is given its own, and nothing reads it.
global_asm! {
    ".pushsection .tbss.__libc_resp,\"awT\",@nobits",
    ".balign 8",
    ".globl __libc_resp",
    ".type __libc_resp,@object",
    ".size __libc_resp,8",
    "__libc_resp: .zero 8",
    ".popsection",
}

/// Which characters are letters for the locale of a new thread: nothing asks libc.
#[unsafe(no_mangle)]
extern "C" fn __ctype_init() {}

/// Where shared objects would be looked for.
#[unsafe(no_mangle)]
extern "C" fn _dl_init_paths() {}

/// What a stack may be used for once a shared object wants to run code on it.
#[unsafe(no_mangle)]
static __stack_prot: c_int = PROT_READ | PROT_WRITE;

/// How the C locale converts wide characters: nothing asks for it.
#[unsafe(no_mangle)]
static __wcsmbs_gconv_fcts_c: [usize; 4] = [0; 4];

/// Where `malloc_stats` would print to.
#[unsafe(no_mangle)]
static stderr: usize = 0;

/// fork(2) locks each stream that is open: there is none.
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

/// The text of an error, in English as always: libc would look for a translation.
#[unsafe(no_mangle)]
unsafe extern "C" fn __strerror_r(number: c_int, buffer: *mut c_char, size: usize) -> *const c_char {
    // SAFETY: what is not null is a constant; the caller's buffer has that size.
    unsafe {
        let known = strerrordesc_np(number);
        if !known.is_null() {
            return known;
        }
        let buffer = slice::from_raw_parts_mut(buffer.cast::<u8>(), size);
        buffer.fill(0);
        if let Some((_, mut room)) = buffer.split_last_mut() {
            // What has no room is left out.
            let _ = write!(room, "Unknown error {number}");
        }
        buffer.as_ptr().cast()
    }
}

/// What libc dies of, in a message: as it is written in libc, with what has a `%` left open.
#[unsafe(no_mangle)]
unsafe extern "C" fn __snprintf(buffer: *mut c_char, size: usize, format: *const c_char) -> c_int {
    // SAFETY: the caller's buffer has that size, and the format ends.
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
        // SAFETY: libc's constants.
        unsafe { write(STDERR_FILENO, text.cast(), strlen(text)) };
    }
    abort()
}

/// What is linked, and never called.
macro_rules! never_called {
    ($($name:ident)*) => {
        $(#[unsafe(no_mangle)] extern "C" fn $name() -> ! { abort() })*
    };
}

// What finds a function of a shared object when it is called for the first time.
never_called! {
    _dl_runtime_profile_avx _dl_runtime_profile_avx512 _dl_runtime_profile_sse _dl_runtime_resolve_fxsave
    _dl_runtime_resolve_xsave _dl_runtime_resolve_xsavec
}

// What prints how `malloc` does, and the name of another thread.
never_called! {
    _IO_fputs fprintf fwrite sprintf
}
