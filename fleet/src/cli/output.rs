//! What commands print: results on stdout, messages on stderr. Nothing that is printed acts on a terminal.

use std::io::{self, Write as _};
use std::sync::OnceLock;

use ingot::desk::{shown, shown_in_json};
use serde::Serialize;

use crate::exit::Exit;

/// Why a result was lost. Of the process, as stdout is.
static LOST: OnceLock<String> = OnceLock::new();

/// Prints text on stdout.
pub(super) fn data(text: &str) {
    print(&shown(text));
}

/// Prints JSON on stdout.
pub(super) fn json(value: &impl Serialize) {
    print(&shown_in_json(&serde_json::to_string(value).expect("it is plain data")));
}

/// Prints a line for people on stderr.
pub(super) fn talk(text: &str) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr(), "{}", shown(text));
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
    if let Err(error) = printed
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        LOST.get_or_init(|| error.to_string());
    }
}

/// How a command ends that would end with `exit`: badly if what it printed was lost.
pub(super) fn written(exit: Exit) -> Exit {
    let Some(why) = LOST.get() else { return exit };
    talk(&format!("cannot write to standard output: {why}\n  hint: free space where it goes, or send it somewhere else"));
    if exit == Exit::Done { Exit::Failed } else { exit }
}
