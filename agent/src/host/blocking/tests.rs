use std::future::Future;
use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, Sender, channel};

use futures_util::future::{join_all, poll_immediate};
use nix::errno::Errno;

use super::*;
use crate::host::wanted::still_wanted;

const SOMEWHERE: &str = "/no/such/place";

/// Operations that hang until they are released.
#[derive(Clone)]
struct Hanging {
    begun: Sender<()>,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Hanging {
    fn new() -> (Self, Receiver<()>) {
        let (begun, all) = channel();
        (Self { begun, gate: Arc::default() }, all)
    }

    fn one<'a>(&self, threads: &'a Threads) -> impl Future<Output = Result<(), HostError>> + 'a {
        let Self { begun, gate } = self.clone();
        let hang = move || {
            begun.send(()).unwrap();
            let mut open = gate.0.lock().unwrap();
            while !*open {
                open = gate.1.wait(open).unwrap();
            }
            Ok(())
        };
        threads.work("wait for", Path::new(SOMEWHERE), Path::new(SOMEWHERE), hang)
    }

    fn let_go(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }
}

async fn number<T: Send + 'static>(threads: &Threads, work: impl FnOnce() -> T + Send + 'static) -> T {
    threads.work("wait for", Path::new(SOMEWHERE), Path::new(SOMEWHERE), || Ok(work())).await.unwrap()
}

#[tokio::test]
async fn so_many_at_a_time_and_not_what_nobody_waits_for_any_more() {
    let (threads, done) = (Threads::with(Kind::Turns, Duration::from_secs(3600)), Arc::new(AtomicUsize::new(0)));
    let all_begun = Arc::new(Barrier::new(AT_ONCE + 1));
    let one = |gate: Option<Arc<Barrier>>| {
        let done = Arc::clone(&done);
        let threads = threads.clone();
        async move {
            number(&threads, move || {
                if let Some(gate) = gate {
                    gate.wait();
                    gate.wait();
                }
                done.fetch_add(1, Ordering::SeqCst)
            })
            .await
        }
    };
    let mut busy = std::pin::pin!(join_all((0..AT_ONCE).map(|_| one(Some(Arc::clone(&all_begun))))));
    assert!(poll_immediate(&mut busy).await.is_none());
    all_begun.wait();
    assert!(poll_immediate(std::pin::pin!(one(None))).await.is_none());
    all_begun.wait();
    busy.await;
    assert_eq!(one(None).await, AT_ONCE);
}

/// Sixteen hanging operations used to take every thread.
#[tokio::test]
async fn what_hangs_does_not_keep_others_from_a_thread() {
    let threads = Threads::default();
    let (hanging, begun) = Hanging::new();
    let mut all = std::pin::pin!(join_all((0..3 * AT_ONCE).map(|_| hanging.one(&threads))));
    assert!(poll_immediate(&mut all).await.is_none());
    assert_eq!(number(&threads, || 7).await, 7);
    // They were ahead of it in the queue.
    assert_eq!(begun.try_iter().count(), 3 * AT_ONCE);
    hanging.let_go();
    assert!(all.await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn so_many_late_ones_on_a_mount_keep_it_from_taking_every_thread() {
    let threads = Threads::default();
    let (hanging, begun) = Hanging::new();
    let mut all = std::pin::pin!(join_all((0..4 * LATE_ON_ONE_MOUNT).map(|_| hanging.one(&threads))));
    assert!(poll_immediate(&mut all).await.is_none());
    // It is on another mount, so it does not matter how many wait on the first.
    let of_proc = threads.work("wait for", Path::new("/proc/x"), Path::new("/proc/x"), || Ok(7));
    assert_eq!(of_proc.await.unwrap(), 7);
    let begun = begun.try_iter().count();
    assert!((LATE_ON_ONE_MOUNT..=LATE_ON_ONE_MOUNT + AT_ONCE).contains(&begun), "{begun}");
    hanging.let_go();
    assert!(all.await.iter().all(Result::is_ok));
}

/// While a mount by another process hangs, reading the mount table hangs too. It was read while holding a lock that the
/// runtime thread also takes.
#[tokio::test]
async fn the_table_of_mounts_is_read_without_the_lock() {
    static IS_READ: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
    static MAY_END: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
    fn set((flag, changed): &(Mutex<bool>, Condvar)) {
        *flag.lock().unwrap() = true;
        changed.notify_all();
    }
    fn wait((flag, changed): &(Mutex<bool>, Condvar)) {
        drop(changed.wait_while(flag.lock().unwrap(), |is_set| !*is_set).unwrap());
    }
    fn table_that_hangs() -> Vec<PathBuf> {
        set(&IS_READ);
        wait(&MAY_END);
        vec!["/".into(), "/proc".into()]
    }
    let threads = Threads::with_mounts(Kind::Turns, LATE, table_that_hangs);
    let (hanging, _begun) = Hanging::new();
    let mut all = std::pin::pin!(join_all((0..2 * LATE_ON_ONE_MOUNT).map(|_| hanging.one(&threads))));
    assert!(poll_immediate(&mut all).await.is_none());
    wait(&IS_READ);
    let (locked, is_locked) = channel();
    let shared = Arc::clone(&threads.0);
    thread::spawn(move || {
        drop(shared.state());
        locked.send(()).unwrap();
    });
    assert!(is_locked.recv_timeout(Duration::from_secs(10)).is_ok(), "the lock is held");
    let of_proc = threads.work("wait for", Path::new("/proc/x"), Path::new("/proc/x"), || Ok(7));
    set(&MAY_END);
    assert_eq!(of_proc.await.unwrap(), 7);
    hanging.let_go();
    assert!(all.await.iter().all(Result::is_ok));
}

/// Every operation waited for that reading, whatever its filesystem.
#[tokio::test]
async fn a_look_at_the_mounts_that_hangs_keeps_no_other_mount_waiting() {
    static MAY_END: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
    fn table_that_hangs() -> Vec<PathBuf> {
        drop(MAY_END.1.wait_while(MAY_END.0.lock().unwrap(), |may_end| !*may_end).unwrap());
        vec!["/".into(), "/proc".into()]
    }
    let threads = Threads::with_mounts(Kind::Turns, LATE, table_that_hangs);
    let (hanging, begun) = Hanging::new();
    let mut all = std::pin::pin!(join_all((0..2 * LATE_ON_ONE_MOUNT).map(|_| hanging.one(&threads))));
    assert!(poll_immediate(&mut all).await.is_none());
    let since = Instant::now();
    let of_proc = threads.work("wait for", Path::new("/proc/x"), Path::new("/proc/x"), || Ok(7));
    assert_eq!(tokio::time::timeout(Duration::from_secs(20), of_proc).await.unwrap().unwrap(), 7);
    assert!(since.elapsed() < IDLE, "{:?}", since.elapsed());
    let begun = begun.try_iter().count();
    assert!((LATE_ON_ONE_MOUNT..=LATE_ON_ONE_MOUNT + AT_ONCE).contains(&begun), "{begun}");
    *MAY_END.0.lock().unwrap() = true;
    MAY_END.1.notify_all();
    hanging.let_go();
    assert!(all.await.iter().all(Result::is_ok));
}

/// A thread that had fallen asleep with an empty queue was counted as one that checks for late operations, although it
/// would not wake for five seconds.
#[tokio::test]
async fn a_thread_that_sleeps_does_not_keep_others_from_looking() {
    let threads = Threads::default();
    let (before, begun_before) = Hanging::new();
    let mut all = std::pin::pin!(join_all((0..=AT_ONCE).map(|_| before.one(&threads))));
    assert!(poll_immediate(&mut all).await.is_none());
    (0..=AT_ONCE).for_each(|_| begun_before.recv().unwrap());
    before.let_go();
    all.await;

    let (hanging, begun) = Hanging::new();
    let mut all = std::pin::pin!(join_all((0..AT_ONCE).map(|_| hanging.one(&threads))));
    assert!(poll_immediate(&mut all).await.is_none());
    (0..AT_ONCE).for_each(|_| begun.recv().unwrap());
    let since = Instant::now();
    number(&threads, || ()).await;
    assert!(since.elapsed() < IDLE, "{:?}", since.elapsed());
    hanging.let_go();
    assert!(all.await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn there_is_an_end_to_threads_and_it_is_said() {
    let threads = Threads::with(Kind::Alone, Duration::ZERO);
    let (hanging, begun) = Hanging::new();
    let mut all: Vec<_> = (0..THREADS).map(|_| Box::pin(hanging.one(&threads))).collect();
    for one in &mut all {
        assert!(poll_immediate(one).await.is_none());
    }
    all.iter().for_each(|_| begun.recv().unwrap());
    let error = hanging.one(&threads).await.unwrap_err();
    insta::assert_snapshot!(crate::failure::Explanation::of(&error).to_string(), @r"
    cannot wait for /no/such/place: no thread can be started for it: 512 disk operations are stuck
      hint: run `ps -eLo stat,wchan:32,comm | grep ^D` to find the filesystem that hangs
    ");
    hanging.let_go();
    assert!(join_all(all).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn what_is_given_up_while_it_hangs_changes_nothing_afterwards() {
    let threads = Threads::of(Kind::Alone);
    let (begun, has_begun) = channel();
    let (given_up, is_given_up) = channel();
    let (end, ended) = channel();
    let hung = number(&threads, move || {
        still_wanted().unwrap();
        begun.send(()).unwrap();
        is_given_up.recv().unwrap();
        end.send(still_wanted()).unwrap();
    });
    {
        let mut hung = Box::pin(hung);
        assert!(poll_immediate(&mut hung).await.is_none());
        has_begun.recv().unwrap();
    }
    given_up.send(()).unwrap();
    assert_eq!(ended.recv().unwrap().unwrap_err().raw_os_error(), Some(Errno::ECANCELED as i32));
    // The thread's next operation is wanted.
    assert!(number(&threads, still_wanted).await.is_ok());
}
