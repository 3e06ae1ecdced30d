//! Which paths are in memory, where the kernel does not say so: any may be on a disk.

use std::path::Path;

pub(super) async fn holds(_path: &Path) -> bool {
    false
}
