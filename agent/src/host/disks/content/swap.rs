//! Swap, and what a hibernated machine leaves in its place.

use super::state::{damaged, sized};
use super::window::Window;
use crate::host::disks::signature::{Signature, State};

/// The page sizes of Linux, in bytes: the signature is at the end of the first page.
const PAGES: [u64; 5] = [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10];

/// Offset of the header, for every page size.
const HEADER: u64 = 1024;

/// The signature of TuxOnIce, at the very beginning. TuxOnIce leaves the signature of the swap area in place.
const TUX_ON_ICE: &[u8] = b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c";

const HIBERNATED: [&[u8]; 4] = [b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001"];

pub(super) fn swap(window: &Window) -> Option<Signature> {
    let page = signed(window, b"SWAPSPACE2")?;
    let (version, last) = (window.le32(HEADER)?, window.le32(HEADER + 4)?);
    if version != 1 || last == 0 {
        return None;
    }
    let size = (u64::from(last) + 1) * page;
    Some(Signature { size: Some(size), state: sized(window, size).unwrap_or(State::Clean), ..described(window, "swap") })
}

/// A swap signature on content that cannot be used as swap, such as a remnant below another filesystem.
pub(super) fn broken(window: &Window) -> Option<Signature> {
    let reason = if signed(window, b"SWAP-SPACE").is_some() {
        "its version is 0, which Linux no longer uses"
    } else if signed(window, b"SWAPSPACE2").is_none() {
        return None;
    } else if window.be32(HEADER)? == 1 {
        "it was made on a machine of the other byte order"
    } else {
        "its header contradicts itself"
    };
    Some(Signature { state: damaged(reason), ..Signature::plain("swap") })
}

fn signed(window: &Window, magic: &[u8]) -> Option<u64> {
    let page = || PAGES.into_iter().find(|page| window.has(page - 10, magic));
    if window.has(0, TUX_ON_ICE) { None } else { page() }
}

pub(super) fn hibernation(window: &Window) -> Option<Signature> {
    let is_signed = PAGES.into_iter().any(|page| HIBERNATED.iter().any(|magic| window.has(page - 10, magic)));
    (is_signed || window.has(0, TUX_ON_ICE)).then(|| described(window, "swsuspend"))
}

fn described(window: &Window, kind: &str) -> Signature {
    Signature { uuid: window.uuid(HEADER + 12), label: window.text(HEADER + 28, 16), ..Signature::plain(kind) }
}
