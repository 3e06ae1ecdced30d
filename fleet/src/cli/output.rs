//! What commands print: results on stdout, messages on stderr. Nothing that is printed acts on a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use dialoguer::console::{Term, measure_text_width};
use ingot::desk::{shown, shown_in_json};
use serde::Serialize;

use super::paint::{Line, is_colored};
use super::progress;
use crate::exit::Exit;

/// Why a result was lost. Of the process, as stdout is.
static LOST: OnceLock<String> = OnceLock::new();

/// Whether nobody reads results any more.
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

/// Puts lines in the place of what is on the terminal that stdout is; of so many as it shows. `is_first`: whatever is there
/// goes.
pub(super) fn redraw(lines: &[Line], is_first: bool) {
    let size = Term::stdout().size_checked().map(|(rows, columns)| (usize::from(rows), usize::from(columns)));
    let most = size.map_or(lines.len(), |(rows, columns)| fitting(lines, rows.saturating_sub(1).max(1), columns.max(1)));
    let is_colored = is_colored(true);
    let shown: String = lines.iter().take(most).map(|line| format!("{}\x1b[K\n", line.written(is_colored))).collect();
    // From the upper left corner on, each line to its end: nothing flickers.
    let clear = if is_first { "\x1b[2J" } else { "" };
    let mut out = io::stdout().lock();
    note(write!(out, "{clear}\x1b[H{shown}\x1b[J").and_then(|()| out.flush()));
}

/// How many lines fit into so many rows: one with a long word takes more than one.
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

/// How wide it is.
pub(super) fn width() -> Option<usize> {
    is_terminal().then(|| Term::stdout().size_checked()).flatten().map(|(_, columns)| usize::from(columns))
}

/// Whether somebody reads results.
pub(super) fn is_read() -> bool {
    !LEFT.load(Ordering::Relaxed)
}

/// Prints a line for people on stderr.
pub(super) fn talk(text: &str) {
    tell(&Line::plain(text));
}

/// The same, on a terminal with its color.
pub(super) fn tell(line: &Line) {
    let text = line.written(is_colored(io::stderr().is_terminal()));
    // Nobody is left to tell if this fails.
    progress::above(|| drop(writeln!(io::stderr(), "{text}")));
}

/// Prints what clap has to say: help and version are answers, mistakes go to stderr.
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

/// Remembers a result that could not be written. A reader that went away, such as `head`, has read enough.
fn note(printed: io::Result<()>) {
    match printed {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => LEFT.store(true, Ordering::Relaxed),
        Err(error) => drop(LOST.get_or_init(|| error.to_string())),
    }
}

/// How a command ends that would end with `exit`: badly if what it printed was lost.
pub(super) fn written(exit: Exit) -> Exit {
    let Some(why) = LOST.get() else { return exit };
    talk(&format!("cannot write to standard output: {why}\n  hint: free space where it goes, or send it somewhere else"));
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
