//! What a static binary need not link of libc and of the unwinder: our definitions take the place of theirs, and what only
//! theirs need stays out, 400 kB together.
//!
//! None of it can be of use there. `getaddrinfo` would load shared objects for NSS, which a static binary must not; names
//! are found by [`net::resolver`](crate::net). `dlsym` has no table to look in. Nothing unwinds, as a panic aborts, and
//! without the tables that the linker leaves out no stack can be walked either: the printer of backtraces never has a frame.
//! `sscanf` is called by one function, which finds the end of the main thread's stack in `/proc/self/maps`.

/// Both ends of a mapping, from a line of `/proc/self/maps`: proc_pid_maps(5).
fn ends(line: &[u8]) -> Option<(usize, usize)> {
    let text = line.split(|byte| *byte == b' ').next()?;
    let (from, to) = std::str::from_utf8(text).ok()?.split_once('-')?;
    Some((usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?))
}

#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
mod symbols {
    use std::ffi::{CStr, c_char, c_int, c_void};
    use std::process::abort;
    use std::ptr::null;

    use nix::libc::{EAI_FAIL, addrinfo};

    /// Of `_Unwind_Backtrace`: there are no more frames.
    const END_OF_STACK: c_int = 5;

    /// The only format it is called with. Source: glibc, nptl/pthread_getattr_np.c.
    const RANGE: &CStr = c"%lx-%lx";

    /// Not variadic, as it is where it is called: pointers are passed in the same registers. glibc has called it by the
    /// second name since 2.38.
    unsafe fn scanned(line: *const c_char, format: *const c_char, from: *mut usize, to: *mut usize) -> c_int {
        // SAFETY: both are strings of C, by the contract of sscanf(3).
        let (line, format) = unsafe { (CStr::from_ptr(line), CStr::from_ptr(format)) };
        if format != RANGE {
            abort();
        }
        let Some(ends) = super::ends(line.to_bytes()) else { return 0 };
        // SAFETY: this format has two unsigned longs to write to.
        unsafe { (*from, *to) = ends };
        2
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn __isoc99_sscanf(line: *const c_char, format: *const c_char, from: *mut usize, to: *mut usize) -> c_int {
        // SAFETY: as its caller promises.
        unsafe { scanned(line, format, from, to) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn __isoc23_sscanf(line: *const c_char, format: *const c_char, from: *mut usize, to: *mut usize) -> c_int {
        // SAFETY: as its caller promises.
        unsafe { scanned(line, format, from, to) }
    }

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

    /// The rest of the unwinder, which is linked, and never called.
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
}

#[cfg(test)]
mod tests {
    use super::ends;

    #[test]
    fn reads_the_ends_of_a_mapping() {
        let line = b"7ffd5c000000-7ffd5c021000 rw-p 00000000 00:00 0                          [stack]\n";
        assert_eq!(ends(line), Some((0x7ffd_5c00_0000, 0x7ffd_5c02_1000)));
        assert_eq!(ends(b"stack"), None);
    }
}
