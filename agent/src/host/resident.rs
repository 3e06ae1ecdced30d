//! Reduces how much of this process's own program is in memory, for a process that sleeps most of the time.

use std::ffi::c_void;
use std::fs;

use nix::libc;

/// Releases the pages that hold this program's code and constants. Code that runs afterwards is mapped again, usually
/// from the page cache: about fifty faults, a fraction of a millisecond. Otherwise a static program of eight megabytes
/// would be charged for most of its size because of what ran at its start.
pub(super) fn release() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, end) in pages(&maps) {
        // SAFETY: the mapping is private, read-only and backed by a file, so each of its pages is read back unchanged.
        unsafe { libc::madvise(start as *mut c_void, end - start, libc::MADV_DONTNEED) };
    }
}

/// Finds the mappings in /proc/self/maps that hold code from a file and the constants before it:
///
/// ```text
/// 55d0bff00000-55d0c0000000 r--p 00000000 08:01 1234 /usr/bin/ingot
/// 55d0c0000000-55d0c06b0000 r-xp 00100000 08:01 1234 /usr/bin/ingot
/// ```
///
/// Mappings that are writable, or were before relocation, come after the code.
fn pages(maps: &str) -> Vec<(usize, usize)> {
    let (mut found, mut before) = (Vec::new(), None);
    for line in maps.lines() {
        let Some((range, rights, inode)) = mapping(line) else { continue };
        match rights {
            "r--p" => before = Some((range, inode)),
            "r-xp" => {
                found.extend(before.take().filter(|(_, constants)| *constants == inode).map(|(range, _)| range));
                found.push(range);
            }
            _ => before = None,
        }
    }
    found
}

fn mapping(line: &str) -> Option<((usize, usize), &str, &str)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, rights) = (fields.next()?, fields.next()?);
    let inode = fields.nth(2).filter(|inode| *inode != "0")?;
    let (start, end) = range.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(((address(start)?, address(end)?), rights, inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_and_the_constants_before_it_are_let_go_of() {
        let maps = "\
            0500-0700 r--p 00000000 08:01 99 /usr/lib/other\n\
            0800-1000 r--p 00000000 08:01 1234 /usr/bin/ingot\n\
            1000-3000 r-xp 0010b000 08:01 1234 /usr/bin/ingot\n\
            3000-4000 r--p 0030b000 08:01 1234 /usr/bin/ingot\n\
            4000-5000 rw-p 0040b000 08:01 1234 /usr/bin/ingot\n\
            5000-6000 r-xp 00000000 00:00 0 [vdso]\n\n";
        assert_eq!(pages(maps), [(0x800, 0x1000), (0x1000, 0x3000)]);
        // The program continues to run afterwards.
        release();
    }
}
