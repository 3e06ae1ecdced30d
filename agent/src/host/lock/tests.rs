use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[tokio::test]
async fn is_held_by_one_and_seen_by_all() {
    let (path, directory) = (Path::new(BOOT), tempfile::tempdir().unwrap());
    let files = DiskFiles::new(Some(directory.path().to_owned()));
    assert_eq!(holder(path, &files).await.unwrap(), None);

    let lock = Lock::take(path, &files).await.unwrap();
    let me = Some(std::process::id());
    assert_eq!(holder(path, &files).await.unwrap(), Some(Holder { pid: me }));
    assert!(matches!(Lock::take(path, &files).await, Err(LockError::Held { pid }) if pid == me));
    // The query must not have released the lock, as it would with POSIX locks.
    assert_eq!(holder(path, &files).await.unwrap(), Some(Holder { pid: me }));

    drop(lock);
    is_released(path, &files).await;
    drop(Lock::take(path, &files).await.unwrap());
}

/// Waits until the lock is free. A program that another test starts holds all open files between fork(2) and execve(2).
async fn is_released(path: &Path, files: &DiskFiles) {
    for _ in 0..500 {
        if holder(path, files).await.unwrap().is_none() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it is still held by {:?}", holder(path, files).await);
}

fn place(root: &Path) -> DiskFiles {
    std::fs::create_dir_all(root.join("run/ingot")).unwrap();
    DiskFiles::new(Some(root.to_owned()))
}

/// Every user of the machine could open a file of mode 0644 and hold the lock.
#[tokio::test]
async fn nobody_else_can_open_it() {
    let (path, root) = (Path::new(BOOT), tempfile::tempdir().unwrap());
    let files = place(root.path());
    let (file, directory) = (root.path().join("run/ingot/lock"), root.path().join("run/ingot"));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
    drop(Lock::take(path, &files).await.unwrap());
    assert_eq!((mode(&file), mode(&directory)), (0o600, 0o755));

    // Another user opened the file while that was possible, and holds the lock.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let theirs = std::fs::OpenOptions::new().read(true).write(true).open(&file).unwrap();
    // A process that another test is forking holds the previous lock until it calls execve(2).
    while fcntl(&theirs, FcntlArg::F_OFD_SETLK(&whole_file())).is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let lock = Lock::take(path, &files).await.unwrap();
    assert_eq!(mode(&file), 0o600);
    assert!(matches!(Lock::take(path, &files).await, Err(LockError::Held { .. })));
    drop(lock);

    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    drop(Lock::take(path, &files).await.unwrap());
    assert!(std::fs::symlink_metadata(&file).unwrap().is_file());

    std::fs::remove_file(&file).unwrap();
    let _listening = std::os::unix::net::UnixListener::bind(&file).unwrap();
    drop(Lock::take(path, &files).await.unwrap());
    assert!(std::fs::symlink_metadata(&file).unwrap().is_file());
}

/// Two processes found the same file that others could open, and the slower one removed the lock of the faster one.
#[tokio::test]
async fn a_lock_that_another_has_just_put_there_stays() {
    let (path, root) = (Path::new(BOOT), tempfile::tempdir().unwrap());
    let files = place(root.path());
    let slower = async || files.now("lock", path, |files, path| replace(path, files)).await.unwrap();
    let lock = Lock::take(path, &files).await.unwrap();
    assert!(slower().await.is_none());
    assert!(matches!(Lock::take(path, &files).await, Err(LockError::Held { pid }) if pid == Some(std::process::id())));
    assert_eq!(std::fs::read_dir(root.path().join("run/ingot")).unwrap().count(), 1);
    drop(lock);
    std::fs::remove_file(root.path().join("run/ingot/lock")).unwrap();
    assert!(slower().await.is_none());
    drop(Lock::take(path, &files).await.unwrap());
}

/// Opening a FIFO waits for a writer, and there is none.
#[tokio::test]
async fn who_asks_does_not_wait_for_a_fifo() {
    let (path, root) = (Path::new(BOOT), tempfile::tempdir().unwrap());
    let files = place(root.path());
    nix::unistd::mkfifo(&root.path().join("run/ingot/lock"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let asked = tokio::time::timeout(std::time::Duration::from_secs(60), holder(path, &files));
    assert!(!matches!(asked.await.unwrap(), Ok(Some(_))));
    drop(Lock::take(path, &files).await.unwrap());
}

async fn by_kernel(path: &Path, files: &DiskFiles) -> Result<Option<Holder>, HostError> {
    files.now("inspect", path, |files, path| holder_by_kernel(path, files)).await
}

#[tokio::test]
async fn the_kernel_says_whether_it_is_held() {
    // On a filesystem whose device number is assigned by the kernel, as for /run.
    let root = tempfile::tempdir_in("/dev/shm").unwrap();
    let (path, files) = (Path::new(BOOT), place(root.path()));
    assert_eq!(by_kernel(path, &files).await.unwrap(), None);
    let lock = Lock::take(path, &files).await.unwrap();
    assert_eq!(by_kernel(path, &files).await.unwrap(), Some(Holder { pid: None }));
    drop(lock);
    // A process that another test is starting holds it until it calls execve(2).
    let begun = std::time::Instant::now();
    while by_kernel(path, &files).await.unwrap().is_some() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "it is still held");
        tokio::task::yield_now().await;
    }
}

#[test]
fn only_a_lock_that_is_held_and_of_this_kind_counts() {
    let mut stat = fstat(std::io::stderr()).unwrap();
    (stat.st_dev, stat.st_ino) = (nix::sys::stat::makedev(0, 0x1b), 1234);
    assert!(is_listed("1: POSIX  ADVISORY  WRITE 7 08:01:5 0 EOF\n3: OFDLCK ADVISORY  WRITE -1 00:1b:1234 0 EOF\n", &stat));
    for line in [
        "1: FLOCK  ADVISORY  WRITE 7 00:1b:1234 0 EOF",
        "1: OFDLCK ADVISORY  READ -1 00:1b:1234 0 EOF",
        "1: OFDLCK ADVISORY  WRITE -1 00:1c:1234 0 EOF",
        "1: OFDLCK ADVISORY  WRITE -1 00:1b:12345 0 EOF",
        "1: -> OFDLCK ADVISORY  WRITE -1 00:1b:1234 0 EOF",
    ] {
        assert!(!is_listed(line, &stat), "{line}");
    }
}

#[test]
fn says_who_is_at_work() {
    let error = LockError::Held { pid: Some(7) };
    let explained = crate::failure::Explanation::of(&error).to_string();
    assert_eq!(explained, "another ingot process is running (pid 7)\n  hint: run `ingot status --wait` to wait for it");
}
