//! Reads with many threads, each of which waits for one read.
//!
//! Memory: the buffers, at most 64 MiB, and 32 MiB with 64 reads in flight; [`BATCH`] pieces of files, and the files
//! that [`walk`](super::walk) has found and not yet visited; and, until the process ends, 16 bytes for each range that
//! was read. An asynchronous kernel interface would save only the threads, and those sleep.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use nix::libc;

use super::extents::{Range, blocks_first, chunk, merged, total, without};
use super::pace::Pace;
use super::tally::Tally;
use super::walk::{Piece, Walk, open};
use super::workers::{Buffer, Opened, in_flight, lowest_priority, next, read_range, sleep, spawn};
use super::{Claim, DeviceToRead, FilesToRead, OnAdvance, Reading, WasRead};
use crate::host::blocking;
use crate::host::disks::{Device, DeviceNumber};
use crate::host::error::HostError;
use crate::host::files::DiskFiles;
use crate::host::files::Files as _;
use crate::host::lock::{self, Holder, Lock, LockError};
use crate::host::tree::failed;

/// How often progress is reported.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// How many pieces of files are sorted at a time: a few megabytes of memory.
const BATCH: usize = 128 * 1024;

/// How many files may wait for their pieces to be sorted.
const MAPPED: usize = 256;

/// Ranges of devices that this process has read, sorted.
type Known = Arc<Mutex<BTreeMap<DeviceNumber, Vec<Range>>>>;

pub(crate) struct ThreadedReading {
    files: DiskFiles,
    known: Known,
}

impl ThreadedReading {
    pub(crate) fn new(root: Option<PathBuf>) -> Self {
        Self { files: DiskFiles::new(root), known: Known::default() }
    }
}

#[async_trait(?Send)]
impl Reading for ThreadedReading {
    async fn files(&self, wanted: &FilesToRead, advanced: OnAdvance<'_>) -> Result<WasRead, HostError> {
        let wanted = FilesToRead { at: self.files.located(&wanted.at), ..wanted.clone() };
        let known = Arc::clone(&self.known);
        in_background(move |tally| read_files(&wanted, &known, tally), advanced).await
    }

    async fn device(&self, wanted: &DeviceToRead, advanced: OnAdvance<'_>) -> Result<WasRead, HostError> {
        let wanted = wanted.clone();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&wanted.device.number).cloned().unwrap_or_default();
        in_background(move |tally| read_device(&wanted, &known, tally), advanced).await
    }

    async fn claimed(&self, name: &str) -> Result<Option<Holder>, HostError> {
        lock::holder(&claim_file(name), &self.files).await
    }

    async fn claim(&self, name: &str) -> Result<Option<Box<dyn Claim>>, HostError> {
        match Lock::take(&claim_file(name), &self.files).await {
            Ok(lock) => Ok(Some(Box::new(lock))),
            Err(LockError::Held { .. }) => Ok(None),
            Err(LockError::Open { source, .. }) => Err(source),
        }
    }
}

impl Claim for Lock {}

fn claim_file(name: &str) -> PathBuf {
    format!("/run/ingot/{}.lock", name.replace('/', "!")).into()
}

/// Runs blocking work on its own threads, and reports its progress. Dropping this stops the work.
async fn in_background(
    work: impl FnOnce(&Tally) -> Result<WasRead, HostError> + Send + 'static,
    advanced: OnAdvance<'_>,
) -> Result<WasRead, HostError> {
    struct StopWhenDropped(Arc<Tally>);

    impl Drop for StopWhenDropped {
        fn drop(&mut self) {
            self.0.stop();
        }
    }

    let tally = Arc::new(Tally::default());
    let _stop = StopWhenDropped(Arc::clone(&tally));
    let theirs = Arc::clone(&tally);
    let mut work = pin!(blocking::work("read", Path::new("/"), move || work(&theirs)));
    loop {
        let ended = tokio::time::timeout(TELL_EVERY, work.as_mut()).await;
        let (done, of) = tally.so_far();
        advanced(done, if ended.is_ok() { done } else { of });
        if let Ok(read) = ended {
            return read;
        }
    }
}

fn read_files(wanted: &FilesToRead, known: &Known, tally: &Tally) -> Result<WasRead, HostError> {
    let walk = Walk::new(&wanted.at, &wanted.selection, tally).map_err(|source| failed("read", &wanted.at, source))?;
    // If the device cannot be read, the files can.
    let device = wanted.device.as_ref().filter(|_| !wanted.into_cache).and_then(|device| open_device(device).ok());
    let (send, receive) = sync_channel(MAPPED);
    thread::scope(|scope| {
        for _ in 0..wanted.in_flight {
            let (walk, send) = (&walk, send.clone());
            // Fewer threads suffice.
            if spawn(scope, move || walk.go(&send)).is_err() {
                break;
            }
        }
        drop(send);
        let read = match &device {
            Some(device) => {
                gather(&receive, tally, |piece| Range::new(piece.place, piece.length), |batch| read_ranges(batch, device, wanted, tally))
            }
            None => gather(&receive, tally, |piece| piece, |batch| read_pieces(batch, wanted, tally)),
        };
        if let Some(device) = &wanted.device {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let ranges = known.entry(device.number).or_default();
            ranges.extend(read);
            *ranges = merged(std::mem::take(ranges));
        }
    });
    Ok(tally.was_read(walk.unmatched()))
}

/// Collects pieces as they are found, and has them read in batches. Returns the ranges of the device.
fn gather<T>(
    receive: &Receiver<Vec<Piece>>,
    tally: &Tally,
    keep: impl Fn(Piece) -> T,
    mut read: impl FnMut(Vec<T>) -> Vec<Range>,
) -> Vec<Range> {
    let (mut batch, mut all) = (Vec::new(), Vec::new());
    for pieces in receive {
        Tally::add(&tally.of, pieces.iter().map(|piece| piece.length).sum());
        batch.extend(pieces.into_iter().map(&keep));
        if batch.len() >= BATCH {
            all.extend(read(std::mem::take(&mut batch)));
            all = merged(all);
        }
    }
    all.extend(read(batch));
    all
}

/// Reads ranges of the device itself, bypassing the page cache.
fn read_ranges(batch: Vec<Range>, device: &File, wanted: &FilesToRead, tally: &Tally) -> Vec<Range> {
    let raw: u64 = batch.iter().map(|range| range.length()).sum();
    let ranges = merged(batch);
    // The gaps between neighbors are read as well.
    Tally::add(&tally.of, total(&ranges).saturating_sub(raw));
    let chunk = chunk(wanted.in_flight);
    let pieces = Mutex::new(blocks_first(|| ranges.iter().flat_map(|range| range.pieces(chunk)), |piece| piece.start));
    in_flight(
        wanted.in_flight,
        tally,
        || Buffer::new(chunk),
        |buffer| {
            let Some(piece) = next(&pieces) else { return false };
            read_range(device, piece, buffer, tally, || format!("byte {} of the device", piece.start));
            true
        },
    );
    drop(pieces);
    ranges
}

/// Reads files in the order of their location, except as [`blocks_first`] changes it.
fn read_pieces(mut batch: Vec<Piece>, wanted: &FilesToRead, tally: &Tally) -> Vec<Range> {
    batch.sort_unstable_by_key(|piece| piece.place);
    let chunk = chunk(wanted.in_flight);
    let of_file = |piece: &'_ Piece| Range::new(piece.from, piece.length).pieces(chunk);
    let pieces = || batch.iter().flat_map(move |piece| of_file(piece).map(move |range| (piece, range)));
    let pieces = Mutex::new(blocks_first(pieces, |(piece, range)| piece.place.saturating_add(range.start - piece.from)));
    // Most files are read in one piece, and large ones piece by piece, so the last file is kept open.
    in_flight(
        wanted.in_flight,
        tally,
        || (Buffer::new(chunk), None::<Opened>),
        |(buffer, last)| {
            let Some((Piece { file: path, .. }, range)) = next(&pieces) else { return false };
            let file = last.take().filter(|last| last.is(path)).map_or_else(|| Opened::new(path, wanted.into_cache), Ok);
            match file {
                Ok(file) => last.insert(file).read(range, buffer, tally),
                Err(error) => tally.failed(|| format!("{}: {error}", path.display())),
            }
            true
        },
    );
    drop(pieces);
    batch.into_iter().map(|piece| Range::new(piece.place, piece.length)).collect()
}

fn read_device(wanted: &DeviceToRead, known: &[Range], tally: &Tally) -> Result<WasRead, HostError> {
    let refused = |source| failed("read", &wanted.device.node, source);
    let device = open_device(&wanted.device).map_err(refused)?;
    let size = io::Seek::seek(&mut &device, io::SeekFrom::End(0)).map_err(refused)?;
    let left = without(known, size);
    Tally::add(&tally.of, total(&left));
    let chunk = chunk(wanted.in_flight);
    let pieces = Mutex::new(left.iter().flat_map(|range| range.pieces(chunk)));
    let (begun, pace) = (Instant::now(), Mutex::new(Pace::new(wanted.mib_s)));
    let begin = || {
        lowest_priority();
        Buffer::new(chunk)
    };
    in_flight(wanted.in_flight, tally, begin, |buffer| {
        let Some(piece) = next(&pieces) else { return false };
        let wait = pace.lock().unwrap_or_else(PoisonError::into_inner).take(begun.elapsed(), piece.length());
        sleep(wait, tally);
        read_range(&device, piece, buffer, tally, || format!("byte {} of the device", piece.start));
        true
    });
    Ok(tally.was_read(Vec::new()))
}

/// Opens a device for reads that bypass the page cache, if it is still the intended one.
fn open_device(device: &Device) -> io::Result<File> {
    let number = device.number;
    let by_number = PathBuf::from(format!("/dev/block/{number}"));
    let mut refused = io::ErrorKind::NotFound.into();
    for node in [&device.node, &by_number] {
        // Follows links such as those of LVM.
        let node = std::fs::canonicalize(node).unwrap_or_else(|_| node.clone());
        match open(&node, libc::O_DIRECT).and_then(|file| Ok((file.metadata()?, file))) {
            Ok((metadata, file)) if metadata.file_type().is_block_device() && number_of(metadata.rdev()) == number => return Ok(file),
            Ok(_) => {}
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn number_of(rdev: u64) -> DeviceNumber {
    DeviceNumber { major: libc::major(rdev), minor: libc::minor(rdev) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::selection::Selection;
    use super::*;

    async fn read(root: &Path, patterns: &[&str], into_cache: bool) -> WasRead {
        let wanted = FilesToRead {
            at: "/srv".into(),
            selection: Selection::parse(patterns.iter().copied()).unwrap(),
            device: None,
            into_cache,
            in_flight: 4,
        };
        let last = std::cell::Cell::new((0, 1));
        let read = ThreadedReading::new(Some(root.to_owned())).files(&wanted, &|done, of| last.set((done, of))).await.unwrap();
        assert_eq!(last.get(), (read.bytes, read.bytes), "it did not say that it is done");
        read
    }

    /// Writes a file to disk: data that is only in memory has no location yet.
    fn write(path: &Path, content: &[u8]) {
        fs::write(path, content).unwrap();
        File::open(path).unwrap().sync_all().unwrap();
    }

    #[tokio::test]
    async fn reads_what_is_meant_and_follows_no_links() {
        let root = tempfile::tempdir().unwrap();
        let srv = root.path().join("srv");
        fs::create_dir_all(srv.join("db/deep")).unwrap();
        for number in 0..30 {
            write(&srv.join(format!("db/deep/{number}.idx")), &vec![7; 1000 * number]);
        }
        write(&srv.join("db/large"), &vec![7; 3 << 20]);
        write(&srv.join("other"), b"x");
        write(&root.path().join("outside"), &vec![7; 1 << 20]);
        std::os::unix::fs::symlink("../../outside", srv.join("db/link")).unwrap();
        std::os::unix::fs::symlink("..", srv.join("db/loop")).unwrap();
        let small = 1000 * (0..30).sum::<u64>();
        for into_cache in [false, true] {
            let all = read(root.path(), &["db"], into_cache).await;
            assert_eq!(all, WasRead { files: 31, bytes: small + (3 << 20), ..WasRead::default() });
            let some = read(root.path(), &["db/*/1?.idx", "other", "gone", "db/gone/*", "db/link"], into_cache).await;
            let expected = WasRead { files: 11, bytes: 1000 * (10..20).sum::<u64>() + 1, unmatched: vec![2, 3, 4], ..WasRead::default() };
            assert_eq!(some, expected);
        }
    }

    #[tokio::test]
    async fn passes_over_holes() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("srv")).unwrap();
        let sparse = File::create(root.path().join("srv/sparse")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&sparse, &[7; 4096], 1 << 30).unwrap();
        sparse.sync_all().unwrap();
        let read = read(root.path(), &["sparse"], true).await;
        assert!(read.files == 1 && read.bytes <= 64 << 10, "{read:?}");
    }

    #[tokio::test]
    async fn a_mount_that_is_not_there_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let wanted =
            FilesToRead { at: "/srv".into(), selection: Selection::parse(["."]).unwrap(), device: None, into_cache: false, in_flight: 1 };
        let error = ThreadedReading::new(Some(root.path().to_owned())).files(&wanted, &|_, _| {}).await.unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read {}/srv", root.path().display()));
    }

    #[tokio::test]
    async fn what_is_claimed_by_one_is_not_given_to_another() {
        let root = tempfile::tempdir().unwrap();
        let [one, another] = [(); 2].map(|()| ThreadedReading::new(Some(root.path().to_owned())));
        let claim = one.claim("preload./srv/shop").await.unwrap();
        assert!(claim.is_some());
        assert!(another.claim("preload./srv/shop").await.unwrap().is_none());
        assert_eq!(another.claimed("preload./srv/shop").await.unwrap(), Some(Holder { pid: Some(std::process::id()) }));
        assert!(another.claim("preload./srv/shop:rest").await.unwrap().is_some());
        drop(claim);
        assert!(another.claimed("preload./srv/shop").await.unwrap().is_none());
    }
}
