//! The question before something is replaced or removed.

use std::io::IsTerminal as _;

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
    /// Names what would be done, such as `delete shop-prod`, and asks. With `--yes` it is only named.
    pub(super) fn ask(self, what: &str) -> Result<(), Failure> {
        if self.yes {
            talk(what);
            return Ok(());
        }
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(
                Failure::new(Exit::Usage, format!("would {what}")).hint("add --yes: there is no terminal on which ingot-fleet could ask")
            );
        }
        let declined = || Failure::new(Exit::Failed, "nothing was changed");
        match dialoguer::Confirm::new().with_prompt(what).default(false).interact() {
            Ok(true) => Ok(()),
            Ok(false) => Err(declined()),
            Err(error) => Err(declined().because(&error)),
        }
    }
}
