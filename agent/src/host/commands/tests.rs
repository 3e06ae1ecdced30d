use super::*;

fn sh(script: &str) -> Invocation {
    Invocation {
        argv: ["sh", "-c", script].map(SecretText::from).to_vec(),
        environment: vec![("PATH".into(), "/nowhere::/usr/bin:/bin".into())],
        directory: "/".into(),
        user: None,
        timeout: Duration::from_secs(30),
    }
}

async fn run(invocation: &Invocation) -> (Result<End, HostError>, Vec<String>) {
    let mut lines = Vec::new();
    let end = ProcessCommands.run(invocation, &mut |line| lines.push(line.to_owned())).await;
    (end, lines)
}

/// Whether a process is there, and not only waiting to be reaped by whoever its parent is now.
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

/// Its directory lay on a disk that hung.
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
    // A shell adds PWD and the like to what its children get.
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
    assert_eq!(run(&nowhere).await.0.unwrap_err().to_string(), "cannot work in /no/such");
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
    // Without root there is one user we can be.
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
