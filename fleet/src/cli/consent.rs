//! Asks for confirmation before something is replaced or deleted.

use std::io::{self, IsTerminal as _, Write as _};

use ingot::desk::shown;

use super::output::talk;
use crate::exit::Exit;
use crate::failure::Failure;

/// Whether the user has agreed on the command line.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Consent {
    /// Do not ask for confirmation. Required without a terminal
    #[arg(long)]
    yes: bool,
}

impl Consent {
    /// Names what would be done, such as `delete shop-prod`, and asks for confirmation; with `--yes`, only names it.
    /// Returns whether it asked: if so, time has passed, and the caller must check again what it is about to do.
    pub(super) fn ask(self, what: &str) -> Result<bool, Failure> {
        if self.yes {
            talk(what);
            return Ok(false);
        }
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(
                Failure::new(Exit::Usage, format!("would {what}")).hint("add --yes: there is no terminal to ask for confirmation on")
            );
        }
        let declined = || Failure::new(Exit::Failed, "nothing was changed");
        match is_agreed(what) {
            Ok(true) => Ok(true),
            Ok(false) => Err(declined()),
            Err(error) => Err(declined().because(&error)),
        }
    }
}

/// Asks on the terminal; any answer except `y` and `yes` means no.
///
/// Leaves the terminal's mode alone, so that Ctrl-C leaves it usable: dialoguer hides the cursor until its prompt is
/// answered.
pub(super) fn is_agreed(what: &str) -> io::Result<bool> {
    let mut out = io::stderr();
    write!(out, "{} [y/N] ", shown(what)).and_then(|()| out.flush())?;
    let mut answer = String::new();
    if io::stdin().read_line(&mut answer)? == 0 {
        // After Ctrl-D, the cursor is still on the line of the question.
        writeln!(out)?;
    }
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}
