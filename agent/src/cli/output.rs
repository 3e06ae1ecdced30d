//! Output of the commands: results on stdout, messages on stderr.
//!
//! Nothing that is printed acts on a terminal, except the colors of [`paint`](crate::paint): see [`shown`]. A command
//! whose result cannot be written fails: see [`written`].

use std::io::{self, Write as _};
use std::sync::OnceLock;

use crate::exit::Exit;
use crate::host::environment::Environment;
use crate::host::outlet::Stderr;
use crate::paint::Canvas;
use crate::text::{shown, shown_in_json};

/// Why a result was lost. One per process, as there is only one stdout.
static LOST: OnceLock<String> = OnceLock::new();

/// Prints text on stdout.
pub(super) fn data(text: &str) {
    print(&shown(text));
}

/// Prints text that a [`Canvas`] has drawn, with its colors.
pub(super) fn drawn(text: &str) {
    print(text);
}

/// How text is drawn on stdout: in colors if it is a terminal that supports them, unless `NO_COLOR` is set.
pub(super) fn canvas(environment: &Environment) -> Canvas {
    if !environment.stdout_is_terminal {
        return Canvas::default();
    }
    let has_colors = environment.term.as_deref().is_some_and(|term| !term.is_empty() && term != "dumb");
    Canvas { width: environment.columns, colored: has_colors && !environment.no_color }
}

/// Prints JSON on stdout.
pub(super) fn json(value: &impl serde::Serialize) {
    // ingot only prints maps with string keys, whose serialization cannot fail.
    print(&shown_in_json(&serde_json::to_string(value).unwrap_or_default()));
}

/// Prints a line for people on stderr.
pub(super) fn talk(text: &str) {
    // A failure could not be reported anywhere else.
    let _ = writeln!(Stderr::default(), "{}", shown(text));
}

fn print(text: &str) {
    let mut out = io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    note(write!(out, "{text}{end}").and_then(|()| out.flush()));
}

/// Remembers a result that could not be written. A reader that closes the pipe, such as `head`, is not a failure.
pub(super) fn note(printed: io::Result<()>) {
    if let Err(error) = printed
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        LOST.get_or_init(|| error.to_string());
    }
}

/// The exit code of a command that would end with `exit`. If its output was lost, the result is
/// a failure, unless `exit` is more specific.
pub(super) fn written(exit: Exit) -> Exit {
    let Some(why) = LOST.get() else { return exit };
    talk(&format!("cannot write to standard output: {why}\n  hint: free space at its destination, or redirect it elsewhere"));
    match exit {
        Exit::Usage | Exit::Bug | Exit::Unreachable | Exit::Document => exit,
        Exit::Done | Exit::Failed | Exit::Degraded | Exit::Differs | Exit::Running | Exit::NeverRan | Exit::NoDocument => Exit::Failed,
    }
}
