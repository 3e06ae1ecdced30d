//! Prints results on stdout and messages on stderr. Control characters are escaped, so that no text acts on a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use dialoguer::console::{Term, measure_text_width};
use ingot::desk::{shown, shown_in_json};
use serde::Serialize;

use super::paint::{Line, is_colored};
use super::progress;
use crate::exit::Exit;

/// Why a result was lost. A static, because stdout belongs to the process.
static LOST: OnceLock<String> = OnceLock::new();

/// Whether the reader of stdout has gone.
static LEFT: AtomicBool = AtomicBool::new(false);

/// Prints text on stdout.
pub(super) fn data(text: &str) {
    print(&shown(text));
}

/// Prints JSON on stdout.
pub(super) fn json(value: &impl Serialize) {
    print(&shown_in_json(&serde_json::to_string(value).expect("it is plain data")));
}

/// Prints lines on stdout, on a terminal with their colors.
pub(super) fn lines(lines: &[Line]) {
    let is_colored = is_colored(io::stdout().is_terminal());
    print(&lines.iter().map(|line| line.written(is_colored)).collect::<Vec<_>>().join("\n"));
}

/// Replaces what the terminal of stdout shows with as many of these lines as fit. `is_first` clears the terminal
/// before.
pub(super) fn redraw(lines: &[Line], is_first: bool) {
    let size = Term::stdout().size_checked().map(|(rows, columns)| (usize::from(rows), usize::from(columns)));
    let most = size.map_or(lines.len(), |(rows, columns)| fitting(lines, rows.saturating_sub(1).max(1), columns.max(1)));
    let is_colored = is_colored(true);
    let shown: String = lines.iter().take(most).map(|line| format!("{}\x1b[K\n", line.written(is_colored))).collect();
    // Overwriting each line from the upper left corner does not flicker, while clearing first would.
    let clear = if is_first { "\x1b[2J" } else { "" };
    let mut out = io::stdout().lock();
    note(write!(out, "{clear}\x1b[H{shown}\x1b[J").and_then(|()| out.flush()));
}

/// How many lines fit into these rows: a line that is wider than the terminal takes more than one.
fn fitting(lines: &[Line], rows: usize, columns: usize) -> usize {
    let mut left = rows;
    let fits = |line: &&Line| {
        let takes = measure_text_width(&shown(&line.text)).div_ceil(columns).max(1);
        let fits = takes <= left;
        left = left.saturating_sub(takes);
        fits
    };
    lines.iter().take_while(fits).count()
}

/// Whether results go to a terminal.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// The width of the terminal.
pub(super) fn width() -> Option<usize> {
    is_terminal().then(|| Term::stdout().size_checked()).flatten().map(|(_, columns)| usize::from(columns))
}

/// Whether results are still read.
pub(super) fn is_read() -> bool {
    !LEFT.load(Ordering::Relaxed)
}

/// Prints a message on stderr.
pub(super) fn talk(text: &str) {
    tell(&Line::plain(text));
}

/// The same, on a terminal with its color.
pub(super) fn tell(line: &Line) {
    let text = line.written(is_colored(io::stderr().is_terminal()));
    // If this fails, there is no channel left to report it on.
    progress::above(|| drop(writeln!(io::stderr(), "{text}")));
}

/// Prints what clap says: help and version are results, mistakes are messages.
pub(super) fn usage(error: &clap::Error) -> Exit {
    if error.use_stderr() {
        talk(error.render().to_string().trim_end());
        return Exit::Usage;
    }
    note(error.print().and_then(|()| io::stdout().flush()));
    written(Exit::Done)
}

fn print(text: &str) {
    let mut out = io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    note(write!(out, "{text}{end}").and_then(|()| out.flush()));
}

/// Remembers a result that could not be written. A closed pipe, such as that of `head`, is not a loss.
fn note(printed: io::Result<()>) {
    match printed {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => LEFT.store(true, Ordering::Relaxed),
        Err(error) => drop(LOST.get_or_init(|| error.to_string())),
    }
}

/// The exit code of a command that would end with `exit`: a failure if its output was lost.
pub(super) fn written(exit: Exit) -> Exit {
    let Some(why) = LOST.get() else { return exit };
    talk(&format!("cannot write to standard output: {why}\n  hint: free space at its destination, or redirect it elsewhere"));
    if exit == Exit::Done { Exit::Failed } else { exit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_take_several_rows_are_counted_as_such() {
        let lines = ["a", "", &"x".repeat(25), "b"].map(Line::plain);
        let fitting: Vec<usize> = [1, 2, 4, 5, 6].map(|rows| fitting(&lines, rows, 10)).into();
        assert_eq!(fitting, [1, 2, 2, 3, 4]);
    }
}
