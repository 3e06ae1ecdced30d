use std::io::Write as _;

use super::*;

fn sh(script: &str) -> Invocation {
    Invocation {
        argv: ["sh", "-c", script].map(SecretText::from).to_vec(),
        environment: vec![("PATH".into(), "/nowhere::/usr/bin:/bin".into())],
        directory: "/".into(),
        user: None,
        timeout: Duration::from_secs(30),
        lease: None,
    }
}

async fn run(invocation: &Invocation) -> (Result<End, HostError>, Vec<String>) {
    let mut lines = Vec::new();
    let end = ProcessCommands.run(invocation, &mut |line| lines.push(line.to_owned())).await;
    (end, lines)
}

/// Whether a process is running. A zombie that waits to be reaped does not count.
fn lives(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

async fn dies(pid: &str) -> bool {
    for _ in 0..200 {
        if !lives(pid) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// The working directory of the program was on a disk that hung.
#[tokio::test]
async fn does_not_start_what_was_given_up_meanwhile() {
    let (send, receive) = std::sync::mpsc::channel();
    let start = move || send.send(Running::start_now(&sh("exit 0")).map(drop)).unwrap();
    super::super::wanted::while_wanted(std::sync::Arc::default(), Box::new(start));
    let error = crate::failure::Explanation::of(&receive.recv().unwrap().unwrap_err());
    assert!(error.to_string().contains("ECANCELED") || error.to_string().contains("canceled"), "{error}");
}

#[tokio::test]
async fn hears_both_streams_in_order() {
    let (end, lines) = run(&sh("echo one; echo two >&2; printf three; exit 3")).await;
    assert_eq!(end.unwrap(), End::Exited(3));
    assert_eq!(lines, ["one", "two", "three"]);
}

#[tokio::test]
async fn gives_nothing_but_what_was_asked_for() {
    let mut invocation = sh("pwd; tr '\\0' '\\n' </proc/self/environ; cat; ps -o sid= -p $$ 2>/dev/null | tr -d ' '; kill -9 $$");
    invocation.directory = "/usr".into();
    let (end, lines) = run(&invocation).await;
    assert_eq!(end.unwrap(), End::Signalled(9));
    assert_eq!(lines[0], "/usr");
    // A shell adds variables such as PWD for its children.
    assert!(!lines.iter().any(|line| line.starts_with("CARGO") || line.starts_with("HOME")), "{lines:?}");
}

#[tokio::test]
async fn bears_long_lines_and_bytes_that_are_no_text() {
    let (end, lines) = run(&sh("head -c 1000000 /dev/zero | tr '\\0' x; echo; head -c 100000 /dev/urandom; echo; echo last")).await;
    assert_eq!(end.unwrap(), End::Exited(0));
    assert_eq!(lines[0], "x".repeat(crate::redaction::LINE_LIMIT));
    assert!(lines.iter().all(|line| line.len() <= crate::redaction::LINE_LIMIT));
    assert_eq!(lines.last().unwrap(), "last");
}

#[tokio::test]
async fn ends_what_never_stops_talking() {
    let mut invocation = sh("exec yes");
    // Long enough for a loaded machine to start it.
    invocation.timeout = Duration::from_secs(2);
    let mut count = 0;
    let end = ProcessCommands.run(&invocation, &mut |_| count += 1).await;
    assert_eq!(end.unwrap(), End::TimedOut);
    assert!(count > 0);
}

#[tokio::test]
async fn says_what_could_not_be_run() {
    let missing = |argv: &str| Invocation { argv: vec![argv.into()], ..sh("") };
    let (end, _) = run(&missing("no-such-program")).await;
    let explained = crate::failure::Explanation::of(&end.unwrap_err()).to_string();
    insta::assert_snapshot!(explained, @r"
    cannot run no-such-program: entity not found
      hint: install no-such-program in the image, or give its full path
    ");
    assert!(matches!(run(&missing("/etc/passwd")).await.0, Err(HostError::Spawn { .. })));
    let nowhere = Invocation { directory: "/no/such".into(), ..sh("true") };
    assert_eq!(run(&nowhere).await.0.unwrap_err().to_string(), "cannot start a program in /no/such");
}

#[tokio::test]
async fn a_timeout_takes_the_grandchildren_too() {
    let mut invocation = sh("sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & wait");
    invocation.timeout = Duration::from_secs(5);
    let (end, lines) = run(&invocation).await;
    assert_eq!(end.unwrap(), End::TimedOut);
    assert!(dies(&lines[0]).await, "{lines:?}");
}

#[tokio::test]
async fn a_daemon_in_the_background_is_not_waited_for() {
    let begin = Instant::now();
    let (end, lines) = run(&sh("sleep 60 & echo $!")).await;
    assert_eq!(end.unwrap(), End::Exited(0));
    assert!(begin.elapsed() < Duration::from_secs(30));
    assert!(lives(&lines[0]), "it was to go on");
    let _ = nix::sys::signal::kill(Pid::from_raw(lines[0].parse().unwrap()), Signal::SIGKILL);
}

#[tokio::test]
async fn dropping_the_future_kills_the_group() {
    let (sender, mut pids) = tokio::sync::mpsc::unbounded_channel();
    let invocation = sh("echo $$; sleep 60 & echo $!; wait");
    let mut on_line = |line: &str| sender.send(line.to_owned()).unwrap();
    let run = ProcessCommands.run(&invocation, &mut on_line);
    let both = async { (pids.recv().await.unwrap(), pids.recv().await.unwrap()) };
    let (leader, child) = tokio::select! {
        pids = both => pids,
        end = run => panic!("ended early: {end:?}"),
    };
    assert!(dies(&leader).await && dies(&child).await);
}

#[tokio::test]
async fn runs_as_the_user_asked_for() {
    let root = Uid::effective().is_root();
    // Without root, only one user is possible.
    let (uid, gid) = if root { (65534, 65533) } else { (Uid::effective().as_raw(), Gid::effective().as_raw()) };
    let user = User { name: "x".into(), uid, gid, home: "/".into(), groups: vec![gid, 65532] };
    let invocation = Invocation { user: Some(user), ..sh("id -u; id -g; id -G") };
    let (end, lines) = run(&invocation).await;
    assert_eq!(end.unwrap(), End::Exited(0));
    assert_eq!(lines[..2], [uid.to_string(), gid.to_string()]);
    if root {
        assert_eq!(lines[2], "65533 65532");
    }
}

/// A program that starts a child outside its process group and prints both process ids.
fn with_a_daemon() -> Invocation {
    sh("setsid sleep 300 >/dev/null 2>&1 & echo $!; echo $$; sleep 300")
}

async fn says(invocation: &Invocation, count: usize) -> Vec<String> {
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
    let mut on_line = |line: &str| send.send(line.to_owned()).unwrap();
    let mut said = Vec::new();
    tokio::select! {
        end = ProcessCommands.run(invocation, &mut on_line) => panic!("it has ended: {end:?}"),
        () = async { for _ in 0..count { said.push(receive.recv().await.unwrap()) } } => {}
    }
    said
}

#[tokio::test]
async fn a_lease_that_is_over_ends_the_program_and_all_that_it_has_started() {
    let lease = Lease::of(Duration::from_secs(1));
    let (end, lines) = run(&Invocation { lease: Some(lease), ..with_a_daemon() }).await;
    assert_eq!(end.unwrap(), End::Signalled(9));
    assert!(dies(&lines[1]).await);
    // Without a cgroup, only the process group is known.
    assert!(!has_cgroup() || dies(&lines[0]).await);
}

#[tokio::test]
async fn a_lease_that_is_extended_goes_on() {
    let lease = Lease::of(Duration::from_secs(2));
    let extended = async {
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            lease.extend(Duration::from_secs(2));
        }
    };
    let invocation = Invocation { lease: Some(lease.clone()), ..sh("sleep 2.8; exit 7") };
    let ((end, _), ()) = tokio::join!(run(&invocation), extended);
    assert_eq!(end.unwrap(), End::Exited(7));
}

#[tokio::test]
async fn what_has_a_lease_outlives_neither_a_program_that_failed_nor_whoever_waits_for_it() {
    let lease = || Some(Lease::of(Duration::from_secs(300)));
    let daemon = |status| format!("setsid sleep 300 >/dev/null 2>&1 & echo $!; exit {status}");
    let (end, left) = run(&Invocation { lease: lease(), ..sh(&daemon(1)) }).await;
    assert_eq!(end.unwrap(), End::Exited(1));
    assert!(!has_cgroup() || dies(&left[0]).await);
    let (_, spared) = run(&Invocation { lease: lease(), ..sh(&daemon(0)) }).await;
    assert!(lives(&spared[0]), "a daemon that was started well");
    nix::sys::signal::kill(Pid::from_raw(spared[0].parse().unwrap()), Signal::SIGKILL).unwrap();
    let dropped = says(&Invocation { lease: lease(), ..with_a_daemon() }, 2).await;
    assert!(dies(&dropped[1]).await && (!has_cgroup() || dies(&dropped[0]).await));
}

#[tokio::test]
async fn what_a_program_that_ended_well_leaves_behind_is_spared_each_time() {
    for _ in 0..100 {
        let lease = Some(Lease::of(Duration::from_secs(300)));
        let (end, left) = run(&Invocation { lease, ..sh("sleep 300 >/dev/null 2>&1 & echo $!") }).await;
        assert_eq!(end.unwrap(), End::Exited(0));
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(lives(&left[0]));
        nix::sys::signal::kill(Pid::from_raw(left[0].parse().unwrap()), Signal::SIGKILL).unwrap();
    }
}

#[tokio::test]
async fn nothing_is_spared_of_a_program_whose_time_is_over_however_it_ends() {
    let script = "trap 'exit 0' TERM; setsid sleep 300 >/dev/null 2>&1 & echo $!; while :; do sleep 0.05; done";
    let lease = Some(Lease::of(Duration::from_secs(300)));
    let (end, left) = run(&Invocation { lease, timeout: Duration::from_secs(1), ..sh(script) }).await;
    assert_eq!(end.unwrap(), End::TimedOut);
    assert!(!has_cgroup() || dies(&left[0]).await);
}

/// After a pid had been reused, no cgroup was created, and a daemon outlived its lease.
#[test]
fn a_cgroup_that_an_earlier_process_has_left_is_in_nobodys_way() {
    let own = tempfile::tempdir().unwrap();
    for number in 0..1_000 {
        std::fs::create_dir(own.path().join(format!("claim-{}-{number}", std::process::id()))).unwrap();
    }
    let made = super::lease::make_below(own.path()).unwrap();
    assert!(made.is_dir());
}

/// Whether a cgroup can be created here. If not, a note past the test runner's output capture says that these tests
/// only cover the end of a process group: `tests/boot/test_claims.py` covers the rest on every machine.
fn has_cgroup() -> bool {
    let made = super::lease::Cgroup::make();
    if let Err(error) = &made {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        let _ = writeln!(std::io::stderr(), "{name}: SKIPPED in part: a cgroup of version 2 cannot be made here: {error}");
    }
    made.is_ok()
}
