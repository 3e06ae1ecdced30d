//! How the machine started up to this process: firmware, kernel, initrd, userspace, according to systemd's timestamps.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::commands::{Commands, End, Invocation, SEARCH_PATH};

/// The properties read from systemd, in microseconds: the first two count back from the start of the kernel, the others
/// count from it.
///
/// Source: org.freedesktop.systemd1(5), the manager's `…TimestampMonotonic`.
const PROPERTIES: [&str; 4] =
    ["FirmwareTimestampMonotonic", "LoaderTimestampMonotonic", "InitRDTimestampMonotonic", "UserspaceTimestampMonotonic"];

/// Times in milliseconds. Unknown ones are `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Startup {
    /// How long the firmware took, before the boot loader.
    pub(crate) firmware_ms: Option<f64>,
    /// How long the boot loader took, before the kernel.
    pub(crate) loader_ms: Option<f64>,
    /// When the initrd started, after the kernel; likewise for the following fields.
    pub(crate) initrd_ms: Option<f64>,
    pub(crate) userspace_ms: Option<f64>,
    /// When this process started.
    pub(crate) process_ms: f64,
}

/// The start of this process relative to the start of the kernel, if it started `ago`.
pub(crate) fn process_began(ago: Duration) -> Option<Duration> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).ok()?;
    Some(Duration::from(now).saturating_sub(ago))
}

/// Reads the times from systemd. `None` if systemd is missing or does not answer: nothing depends on them.
pub(crate) async fn read(commands: &dyn Commands, process: Duration) -> Option<Startup> {
    let invocation = Invocation {
        argv: vec!["systemctl".into(), "show".into(), format!("--property={}", PROPERTIES.join(",")).into()],
        environment: vec![("PATH".into(), SEARCH_PATH.into()), ("LC_ALL".into(), "C".into())],
        directory: PathBuf::from("/"),
        user: None,
        timeout: Duration::from_secs(5),
        lease: None,
    };
    let mut said = Vec::new();
    let end = commands.run(&invocation, &mut |line| said.push(line.to_owned())).await;
    matches!(end, Ok(End::Exited(0))).then(|| of(&said, process))
}

fn of(lines: &[String], process: Duration) -> Startup {
    let at = |property: usize| {
        let line = lines.iter().find_map(|line| line.strip_prefix(PROPERTIES[property])?.strip_prefix('='))?;
        line.parse::<u64>().ok().filter(|microseconds| *microseconds > 0).map(|microseconds| microseconds as f64 / 1e3)
    };
    let (firmware, loader) = (at(0), at(1));
    Startup {
        firmware_ms: firmware.map(|firmware| firmware - loader.unwrap_or_default()),
        loader_ms: loader,
        initrd_ms: at(2),
        userspace_ms: at(3),
        process_ms: process.as_secs_f64() * 1e3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_systemd_says() {
        let lines = [
            "FirmwareTimestampMonotonic=3500000",
            "LoaderTimestampMonotonic=500000",
            "InitRDTimestampMonotonic=0",
            "UserspaceTimestampMonotonic=1250000",
        ]
        .map(str::to_owned);
        let expected =
            Startup { firmware_ms: Some(3000.0), loader_ms: Some(500.0), initrd_ms: None, userspace_ms: Some(1250.0), process_ms: 2000.0 };
        assert_eq!(of(&lines, Duration::from_secs(2)), expected);
    }
}
