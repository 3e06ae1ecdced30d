//! `ingot record-preload`: lists the files of a mount as they are opened, in the format that `preload:` takes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::pin::pin;

use futures_util::future::{Either, select};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::output::{self, data, talk};
use crate::exit::Exit;
use crate::failure::{Explanation, Failure};
use crate::host::Clock;
use crate::host::clock::SystemClock;
use crate::host::opened::Recording;
use crate::step::fields::TimeLimit;
use crate::text::is_unshowable;

/// List the files of a mount as they are opened or read, for `preload: { list: FILE }`
///
/// Prints one path a line, relative to the mount, in the order of the first access. Start it, start the service, wait
/// until the service is ready, and stop it with SIGINT or SIGTERM. Needs root.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Record only the processes of this systemd unit
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,
    /// Stop after this long
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<TimeLimit>,
    /// Mount point of the filesystem
    #[arg(value_name = "MOUNT")]
    mount: PathBuf,
}

pub(crate) async fn run(args: Args, json: bool) -> Exit {
    match record(&args, json).await {
        Ok(()) => Exit::Done,
        Err(error) => {
            talk(&error.to_string());
            Exit::Failed
        }
    }
}

async fn record(args: &Args, json: bool) -> Result<(), Explanation> {
    let explained = |error: &dyn Failure| Explanation::of(error);
    let unit = args.unit.clone().map(|unit| if unit.contains('.') { unit } else { format!("{unit}.service") });
    let mut recording = Recording::begin(&args.mount, unit).map_err(|error| explained(&error))?;
    let mut stop = pin!(stop(args.duration));
    talk(&format!("recording the files opened below {}; send SIGINT or SIGTERM to stop", args.mount.display()));
    let (mut listed, mut left_out) = (Vec::new(), BTreeSet::new());
    while let Either::Left((paths, _)) = select(pin!(recording.next()), stop.as_mut()).await {
        for path in paths.map_err(|error| explained(&error))? {
            match line(&path) {
                Some(line) if json => listed.push(line.to_owned()),
                Some(line) => data(line),
                None => drop(left_out.insert(path)),
            }
        }
    }
    if json {
        output::json(&serde_json::json!({ "paths": listed }));
    }
    for path in left_out {
        talk(&format!("warning: left out, because a list cannot contain its name: {path:?}"));
    }
    if recording.elsewhere > 0 {
        talk(&format!("warning: {} files of the same filesystem were opened by paths that are not below the mount", recording.elsewhere));
    }
    if recording.incomplete {
        talk("warning: the kernel dropped events: the list is not complete");
    }
    Ok(())
}

/// A path as a line of the list. `None` if it cannot be one, also because the list is shown on a terminal.
fn line(path: &Path) -> Option<&str> {
    path.to_str().filter(|line| !line.is_empty() && !line.contains('\n') && !line.contains(is_unshowable))
}

/// Completes when the recording is to end.
async fn stop(duration: Option<TimeLimit>) {
    let asked = async {
        let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
            return std::future::pending().await;
        };
        select(pin!(term.recv()), pin!(interrupt.recv())).await;
    };
    match duration {
        None => asked.await,
        Some(TimeLimit(duration)) => {
            select(pin!(asked), SystemClock::start().sleep(duration)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_what_can_be_read_back() {
        assert_eq!(line(Path::new("db/a b")), Some("db/a b"));
        assert_eq!(line(Path::new("db/a\nb")), None);
        assert_eq!(line(Path::new("db/a\x1b[2J")), None);
        assert_eq!(line(Path::new("")), None);
    }
}
