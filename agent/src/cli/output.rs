//! What commands print: data on stdout, words for people on stderr.
//!
//! Nothing that is printed acts on a terminal: see [`shown`]. Data that could not be written makes the command fail, see
//! [`written`].

use std::io::{self, Write as _};
use std::sync::OnceLock;

use crate::exit::Exit;
use crate::host::outlet::Stderr;
use crate::text::{shown, shown_in_json};

/// Why data was lost. Of the process, as stdout is.
static LOST: OnceLock<String> = OnceLock::new();

/// Prints text on stdout.
pub(super) fn data(text: &str) {
    print(&shown(text));
}

/// Prints JSON on stdout.
pub(super) fn json(value: &impl serde::Serialize) {
    // What ingot prints are maps with strings as keys, which cannot fail.
    print(&shown_in_json(&serde_json::to_string(value).unwrap_or_default()));
}

/// Prints a line for people on stderr.
pub(super) fn talk(text: &str) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(Stderr::default(), "{}", shown(text));
}

fn print(text: &str) {
    let mut out = io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    note(write!(out, "{text}{end}").and_then(|()| out.flush()));
}

/// Remembers data that could not be written. A reader that went away, such as `head`, has read enough.
pub(super) fn note(printed: io::Result<()>) {
    if let Err(error) = printed
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        LOST.get_or_init(|| error.to_string());
    }
}

/// How a command ends that would end with `exit`: badly if what it printed was lost. What says more stays.
pub(super) fn written(exit: Exit) -> Exit {
    let Some(why) = LOST.get() else { return exit };
    talk(&format!("cannot write to standard output: {why}\n  hint: free space where it goes, or send it somewhere else"));
    match exit {
        Exit::Usage | Exit::Bug | Exit::Unreachable | Exit::Document => exit,
        Exit::Done | Exit::Failed | Exit::Degraded | Exit::Running | Exit::NeverRan | Exit::NoDocument => Exit::Failed,
    }
}
