//! How the programs of a service ended, as reported by systemd: the main program and the auxiliary ones.

use std::fmt;

use nix::sys::signal::Signal;

use super::wire::{ENTRY, PART};

/// `CLD_EXITED`, `CLD_KILLED` and `CLD_DUMPED` of waitid(2).
const EXITED: i32 = 1;
const KILLED: i32 = 2;
const DUMPED: i32 = 3;

/// How a process ended. The default is a process that has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ended {
    pub(super) code: i32,
    /// The exit status, or the number of the signal.
    pub(super) status: i32,
}

impl Ended {
    pub(crate) const fn exited(status: i32) -> Self {
        Self { code: EXITED, status }
    }

    #[cfg(test)]
    pub(crate) const fn killed(signal: Signal) -> Self {
        Self { code: KILLED, status: signal as i32 }
    }

    pub(crate) fn is_well(self) -> bool {
        self == Self::exited(0)
    }

    /// Whether it exited by itself with a status other than 0.
    pub(crate) fn has_failed(self) -> bool {
        self.code == EXITED && self.status != 0
    }

    pub(crate) fn signal(self) -> Option<Signal> {
        matches!(self.code, KILLED | DUMPED).then(|| Signal::try_from(self.status).ok()).flatten()
    }

    /// Whether it was killed by a signal that systemd uses to stop a unit.
    pub(crate) fn was_stopped(self) -> bool {
        self.code == KILLED && matches!(self.signal(), Some(Signal::SIGTERM | Signal::SIGKILL))
    }
}

/// Completes a sentence that begins with the name of the process: `exited with 3`.
impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signal = || self.signal().map_or_else(|| format!("signal {}", self.status), |signal| signal.as_str().to_owned());
        match self.code {
            EXITED => match reason(self.status) {
                Some(reason) => write!(f, "exited with {} ({reason})", self.status),
                None => write!(f, "exited with {}", self.status),
            },
            KILLED => write!(f, "was killed by {}", signal()),
            DUMPED => write!(f, "crashed with {}", signal()),
            _ => f.write_str("has not ended"),
        }
    }
}

/// What systemd means by the exit status of a process that failed before its program was executed.
///
/// Source: systemd.exec(5), "Process Exit Codes".
fn reason(status: i32) -> Option<&'static str> {
    Some(match status {
        200 => "cannot enter its WorkingDirectory=",
        203 => "cannot run its program",
        208 | 209 => "cannot open its standard input or output",
        216 => "its Group= does not exist",
        217 => "its User= does not exist",
        226 => "cannot set up its mount namespace: check ReadWritePaths=, BindPaths= and the like",
        238 => "cannot create its StateDirectory=",
        243 => "cannot read a credential of LoadCredential= or SetCredential=",
        _ => return None,
    })
}

/// An auxiliary program that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Helper {
    /// The setting that contains it: ExecStartPre, ExecStartPost …
    pub(crate) setting: String,
    pub(crate) program: String,
    pub(crate) ended: Ended,
}

impl Helper {
    /// The first failed program of a setting, ignoring programs whose failure is to be ignored.
    pub(super) fn bad(setting: &str, value: &str) -> Option<Self> {
        let entries: Vec<&str> = value.split(ENTRY).collect();
        let ended = entries.iter().filter_map(|entry| if entry.contains(PART) { of_bus(entry) } else { of_systemctl(entry) });
        let bad = ended.filter(|(_, ignored, ended)| !ignored && ended.code != 0 && !ended.is_well());
        bad.map(|(program, _, ended)| Self { setting: setting.to_owned(), program, ended }).next()
    }
}

/// Path, arguments, whether its failure is ignored, four timestamps, process id, and how it ended.
fn of_bus(entry: &str) -> Option<(String, bool, Ended)> {
    let parts: Vec<&str> = entry.trim_end_matches(PART).split(PART).collect();
    let [program, _, ignored, .., code, status] = parts[..] else { return None };
    Some((program.to_owned(), ignored == "yes", Ended { code: code.parse().ok()?, status: status.parse().ok()? }))
}

/// Parses `{ path=/bin/false ; argv[]=/bin/false ; ignore_errors=no ; … ; pid=7 ; code=exited ; status=1 }`.
fn of_systemctl(entry: &str) -> Option<(String, bool, Ended)> {
    let inner = entry.trim().strip_prefix('{')?.strip_suffix('}')?;
    let field = |name: &str| inner.split(" ; ").find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
    let code = match field("code")? {
        "exited" => EXITED,
        "killed" => KILLED,
        "dumped" => DUMPED,
        _ => 0,
    };
    let status = field("status")?.split('/').next()?.parse().ok()?;
    Some((field("path")?.to_owned(), field("ignore_errors")? == "yes", Ended { code, status }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_an_exit_from_a_signal() {
        for (code, status, said) in [
            (EXITED, 15, "exited with 15"),
            (EXITED, 203, "exited with 203 (cannot run its program)"),
            (KILLED, 15, "was killed by SIGTERM"),
            (DUMPED, 11, "crashed with SIGSEGV"),
            (KILLED, 40, "was killed by signal 40"),
            (0, 0, "has not ended"),
        ] {
            assert_eq!(Ended { code, status }.to_string(), said);
        }
    }

    #[test]
    fn finds_what_ended_badly_beside_the_main_process() {
        let entry = |program: &str, ignored: &str, code: &str, status: &str| {
            [program, "a b", ignored, "1", "2", "3", "4", "77", code, status].map(|part| format!("{part}{PART}")).concat()
        };
        let well = entry("/bin/true", "no", "1", "0");
        let ignored = entry("/bin/ignored", "yes", "1", "1");
        let running = entry("/bin/sleep", "no", "0", "0");
        let told = [well.as_str(), &ignored, &running, &entry("/opt/my app/post", "no", "1", "3")].join(&ENTRY.to_string());
        let bad = Helper { setting: "ExecStartPost".into(), program: "/opt/my app/post".into(), ended: Ended::exited(3) };
        assert_eq!(Helper::bad("ExecStartPost", &told), Some(bad));
        assert_eq!(Helper::bad("ExecStartPre", &[well, ignored, running].join(&ENTRY.to_string())), None);

        let shown = "{ path=/bin/sh ; argv[]=/bin/sh -c exit 3 ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=7 ; code=killed ; status=9/KILL }";
        let bad = Helper { setting: "ExecStartPre".into(), program: "/bin/sh".into(), ended: Ended::killed(Signal::SIGKILL) };
        assert_eq!(Helper::bad("ExecStartPre", shown), Some(bad));
        assert_eq!(Helper::bad("ExecStartPre", ""), None);
    }
}
