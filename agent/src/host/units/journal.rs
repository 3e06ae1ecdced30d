//! The journal of units, read with journalctl: a few last lines for a message, or as much as fits.

use std::time::Duration;

use super::super::commands::{Commands, End};
use super::invocation::invocation;

/// How long reading the last lines may take. They are only for error messages, which a slow disk must not delay.
const JOURNAL: Duration = Duration::from_secs(5);

/// How long the journal may take to process what was printed before. It takes milliseconds unless the machine is busy.
const TAKEN_IN: Duration = Duration::from_secs(1);

/// More entries than fit within any limit that callers use.
const ENTRIES: &str = "20000";

/// The journal of a unit, newest entries first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Log {
    /// Lines with time, program and process, the newest first. They may contain secrets.
    pub(crate) newest_first: Vec<String>,
    /// Whether older lines were left out.
    pub(crate) is_cut: bool,
}

/// A log while it is being read.
pub(crate) struct Reading {
    log: Log,
    /// The index of the first line of the current entry.
    entry: usize,
    room: usize,
}

impl Reading {
    /// Creates a log that accepts at most `most` bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self { log: Log::default(), entry: 0, room: most }
    }

    /// Adds a line that journalctl prints. Entries arrive newest first; the lines within an entry arrive in order, and
    /// all but the first are indented.
    pub(crate) fn push(&mut self, line: &str) {
        match self.room.checked_sub(line.len() + 1) {
            Some(room) if !self.log.is_cut => self.room = room,
            _ => return self.log.is_cut = true,
        }
        let lines = &mut self.log.newest_first;
        if !line.starts_with(' ') {
            self.entry = lines.len();
        }
        lines.insert(self.entry, line.to_owned());
    }

    pub(crate) fn end(self) -> Log {
        self.log
    }
}

/// Waits until the journal has what was printed before.
///
/// systemd-journald reads the output of programs with a delay, so the last lines of a program that has just died may
/// not be in the journal yet. `--sync` returns once they are (journalctl(1)).
async fn sync(commands: &dyn Commands) {
    if let Err(error) = commands.run(&invocation(&["journalctl", "--sync"], TAKEN_IN), &mut |_| {}).await {
        log::debug!("{error}");
    }
}

/// The last lines of this boot's journal that match `which`.
pub(super) async fn last_lines(commands: &dyn Commands, which: &[&str], lines: usize) -> Vec<String> {
    sync(commands).await;
    let count = lines.to_string();
    let argv = [&["journalctl", "-b", "-o", "cat", "-n", count.as_str(), "--no-pager", "--quiet"], which].concat();
    let mut said = Vec::new();
    let ended = commands.run(&invocation(&argv, JOURNAL), &mut |line| said.push(line.to_owned())).await;
    match ended {
        Ok(End::Exited(0)) => {
            // An entry may have several lines.
            said.drain(..said.len().saturating_sub(lines));
            said
        }
        Ok(end) => {
            log::debug!("journalctl ended with {end:?}: {}", said.join("; "));
            Vec::new()
        }
        Err(error) => {
            log::debug!("{error}");
            Vec::new()
        }
    }
}

/// Reads the journal of a unit in this boot, backwards.
pub(super) async fn read(commands: &dyn Commands, unit: &str, most: usize, within: Duration) -> Log {
    sync(commands).await;
    let argv = ["journalctl", "-b", "-r", "-o", "short-iso-precise", "-n", ENTRIES, "--no-hostname", "--no-pager", "--quiet", "-u", unit];
    let mut reading = Reading::new(most);
    let ended = commands.run(&invocation(&argv, within), &mut |line| reading.push(line)).await;
    let log = reading.end();
    match ended {
        Ok(End::Exited(0)) => log,
        // The lines read so far are the newest ones.
        Ok(End::TimedOut) => Log { is_cut: true, ..log },
        Ok(end) => {
            log::debug!("journalctl of {unit} ended with {end:?}: {}", log.newest_first.join("; "));
            Log::default()
        }
        Err(error) => {
            log::debug!("{error}");
            Log::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(most: usize, lines: &[&str]) -> Log {
        let mut reading = Reading::new(most);
        lines.iter().for_each(|line| reading.push(line));
        reading.end()
    }

    #[test]
    fn the_lines_of_an_entry_keep_their_order() {
        let mut log = read(1000, &["3 a[1]: last", "2 a[1]: panic", "        at one", "        at two", "1 a[1]: first"]);
        log.newest_first.reverse();
        assert_eq!(log.newest_first, ["1 a[1]: first", "2 a[1]: panic", "        at one", "        at two", "3 a[1]: last"]);
        assert!(!log.is_cut);
    }

    #[test]
    fn the_newest_lines_are_kept() {
        let log = read(12, &["3 new", "2 old", "1 older", "x"]);
        assert_eq!(log, Log { newest_first: vec!["3 new".into(), "2 old".into()], is_cut: true });
    }
}
