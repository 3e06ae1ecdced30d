//! What units said, by journalctl: a few last lines for a message, or as much as there is room for.

use std::time::Duration;

use super::super::commands::{Commands, End};
use super::invocation::invocation;

/// The journal is for error messages; a slow disk must not hold up the message.
const JOURNAL: Duration = Duration::from_secs(5);

/// How long the journal may take to take in what was printed before. It takes milliseconds, unless the machine is busy.
const TAKEN_IN: Duration = Duration::from_millis(300);

/// More entries than fit into any bound that is asked for.
const ENTRIES: &str = "20000";

/// The journal of a unit, from its end backwards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Log {
    /// The newest line first, each with its time, program and process. They may hold secrets.
    pub(crate) newest_first: Vec<String>,
    /// Whether there was more.
    pub(crate) is_cut: bool,
}

/// A log that is being read.
pub(crate) struct Reading {
    log: Log,
    /// Where the lines of the last entry begin.
    entry: usize,
    room: usize,
}

impl Reading {
    /// Takes in no more than `most` bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self { log: Log::default(), entry: 0, room: most }
    }

    /// Takes in what journalctl prints from the newest entry on; the lines of one entry come in their order, and all but its
    /// first are indented.
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

/// The last lines of the journal of this boot that `which` chooses.
pub(super) async fn last_lines(commands: &dyn Commands, which: &[&str], lines: usize) -> Vec<String> {
    let count = lines.to_string();
    let argv = [&["journalctl", "-b", "-o", "cat", "-n", count.as_str(), "--no-pager", "--quiet"], which].concat();
    let mut said = Vec::new();
    let ended = commands.run(&invocation(&argv, JOURNAL), &mut |line| said.push(line.to_owned())).await;
    match ended {
        Ok(End::Exited(0)) => {
            // One entry may have several lines.
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

/// The journal of a unit in this boot, backwards.
///
/// systemd-journald reads what programs print when it gets to it: the last words of one that has just died may not be in the
/// journal yet. `--sync` answers once they are (journalctl(1)).
pub(super) async fn read(commands: &dyn Commands, unit: &str, most: usize, within: Duration) -> Log {
    if let Err(error) = commands.run(&invocation(&["journalctl", "--sync"], TAKEN_IN), &mut |_| {}).await {
        log::debug!("{error}");
    }
    let argv = ["journalctl", "-b", "-r", "-o", "short-iso-precise", "-n", ENTRIES, "--no-hostname", "--no-pager", "--quiet", "-u", unit];
    let mut reading = Reading::new(most);
    let ended = commands.run(&invocation(&argv, within), &mut |line| reading.push(line)).await;
    let log = reading.end();
    match ended {
        Ok(End::Exited(0)) => log,
        // What is there by then is the newest of it.
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
