//! The question before something is replaced or removed.

use std::io::{self, IsTerminal as _, Write as _};

use ingot::desk::shown;

use super::output::talk;
use crate::exit::Exit;
use crate::failure::Failure;

/// Whether the user has agreed on the command line.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Consent {
    /// Do not ask. Required where there is no terminal
    #[arg(long)]
    yes: bool,
}

impl Consent {
    /// Names what would be done, such as `delete shop-prod`, and asks. With `--yes` it is only named. Returns whether it was
    /// asked: then some time has passed, and what is to be done has to be looked at again.
    pub(super) fn ask(self, what: &str) -> Result<bool, Failure> {
        if self.yes {
            talk(what);
            return Ok(false);
        }
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(
                Failure::new(Exit::Usage, format!("would {what}")).hint("add --yes: there is no terminal on which ingot-fleet could ask")
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

/// Asks on the terminal; anything but `y` and `yes` is a no.
///
/// The terminal stays as it is, so that Ctrl-C leaves it usable: prompts of dialoguer hide the cursor until they are answered.
pub(super) fn is_agreed(what: &str) -> io::Result<bool> {
    let mut out = io::stderr();
    write!(out, "{} [y/N] ", shown(what)).and_then(|()| out.flush())?;
    let mut answer = String::new();
    if io::stdin().read_line(&mut answer)? == 0 {
        // Ctrl-D leaves the cursor behind the question.
        writeln!(out)?;
    }
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}
