//! C string functions that process one byte at a time.
//!
//! libc contains each of these functions five to eight times, once for each kind of processor: 60 kB. ingot does not
//! call them; other linked parts of libc do, to search the environment at the start of the program, and `PATH`.
//! Functions that are called often remain libc's own: `memcpy`, `memcmp`, `memchr`, `memset` and `strlen`.

use std::ffi::{CStr, c_char, c_int, c_ulong};
use std::process::abort;
use std::ptr;

/// The bytes of a string, including the terminating zero.
unsafe fn bytes<'a>(string: *const c_char) -> &'a [u8] {
    // SAFETY: callers of libc functions pass NUL-terminated strings.
    unsafe { CStr::from_ptr(string) }.to_bytes_with_nul()
}

/// The character that a caller passes as an integer: C converts it to an unsigned char.
fn byte(character: c_int) -> u8 {
    character as u8
}

unsafe fn compare(one: *const c_char, other: *const c_char, most: usize) -> c_int {
    for at in 0..most {
        // SAFETY: both strings extend at least to their first difference, to their common end, or to `most`.
        let (one, other) = unsafe { (*one.add(at).cast::<u8>(), *other.add(at).cast::<u8>()) };
        if one != other || one == 0 {
            return c_int::from(one) - c_int::from(other);
        }
    }
    0
}

unsafe fn copy(to: *mut c_char, from: *const c_char) -> *mut c_char {
    // SAFETY: the caller provides room for the whole string.
    unsafe {
        let from = bytes(from);
        ptr::copy_nonoverlapping(from.as_ptr().cast(), to, from.len());
        to.add(from.len() - 1)
    }
}

/// The first occurrence of the character, or the end of the string.
unsafe fn find(string: *const c_char, character: c_int) -> *const c_char {
    // SAFETY: the offset is within the string.
    unsafe {
        let bytes = bytes(string);
        string.add(bytes.iter().position(|found| *found == byte(character)).unwrap_or(bytes.len() - 1))
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strcmp(one: *const c_char, other: *const c_char) -> c_int {
    unsafe { compare(one, other, usize::MAX) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strncmp(one: *const c_char, other: *const c_char, most: usize) -> c_int {
    unsafe { compare(one, other, most) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __stpcpy(to: *mut c_char, from: *const c_char) -> *mut c_char {
    unsafe { copy(to, from) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strcpy(to: *mut c_char, from: *const c_char) -> *mut c_char {
    unsafe { copy(to, from) };
    to
}

/// Fills the rest of the buffer with zeros.
#[unsafe(no_mangle)]
unsafe extern "C" fn strncpy(to: *mut c_char, mut from: *const c_char, room: usize) -> *mut c_char {
    for at in 0..room {
        // SAFETY: `to` has that much room, and `from` stops advancing at its end.
        unsafe {
            *to.add(at) = *from;
            from = from.add(usize::from(*from != 0));
        }
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __strchrnul(string: *const c_char, character: c_int) -> *const c_char {
    unsafe { find(string, character) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strchr(string: *const c_char, character: c_int) -> *const c_char {
    // SAFETY: `found` points into the string.
    unsafe {
        let found = find(string, character);
        if *found.cast::<u8>() == byte(character) { found } else { ptr::null() }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strrchr(string: *const c_char, character: c_int) -> *const c_char {
    // SAFETY: the offset is within the string.
    unsafe {
        let last = bytes(string).iter().rposition(|found| *found == byte(character));
        last.map_or(ptr::null(), |at| string.add(at))
    }
}

/// The caller guarantees that the character occurs.
#[unsafe(no_mangle)]
unsafe extern "C" fn __rawmemchr(mut memory: *const c_char, character: c_int) -> *const c_char {
    // SAFETY: the caller guarantees that the character occurs.
    unsafe {
        while *memory.cast::<u8>() != byte(character) {
            memory = memory.add(1);
        }
    }
    memory
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strstr(string: *const c_char, part: *const c_char) -> *const c_char {
    // SAFETY: each offset is within the string.
    unsafe {
        let length = bytes(part).len() - 1;
        let mut places = (0..bytes(string).len()).map(|at| string.add(at));
        places.find(|place| compare(*place, part, length) == 0).unwrap_or(ptr::null())
    }
}

/// Parses decimal digits only, which is all that libc reads from /proc and /sys. libc's version would need the tables
/// of the C locale, 65 kB. Any other input aborts the program rather than yield a wrong number.
unsafe fn number(text: *const c_char, end: *mut *const c_char, base: c_int) -> c_ulong {
    let mut at = text;
    let mut number: c_ulong = 0;
    // SAFETY: the zero at the end of a string is not a digit, so reading stops there.
    unsafe {
        if base != 10 || matches!(*at.cast::<u8>(), b' ' | b'\t'..=b'\r' | b'+' | b'-') {
            abort();
        }
        while let digit @ b'0'..=b'9' = *at.cast::<u8>() {
            number = number.saturating_mul(10).saturating_add(c_ulong::from(digit - b'0'));
            at = at.add(1);
        }
        if !end.is_null() {
            *end = at;
        }
    }
    number
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strtol(text: *const c_char, end: *mut *const c_char, base: c_int) -> c_ulong {
    unsafe { number(text, end, base) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strtoul(text: *const c_char, end: *mut *const c_char, base: c_int) -> c_ulong {
    unsafe { number(text, end, base) }
}
