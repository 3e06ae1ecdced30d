//! ingot takes an EC2 instance from golden image to serving.
//!
//! A map of this house, in the order in which a boot walks through it:
//!
//! | where | what |
//! |---|---|
//! | `cli` | the command line: one file for each subcommand |
//! | `document` | what the user wrote: user data unwrapped, layers merged, every mistake with its line |
//! | `plan` | what runs after what: references checked, cycles found; pure |
//! | `steps` | one file for each kind of step: its fields, its judgment, its action, its tests |
//! | `execute` | every step the moment what it needs is done, with retries |
//! | `report` | what happened: on disk, on the terminal, in the journal |
//! | `seal` | whether an image holds a secret or anything of the machine it was made on |
//! | `template` | Handlebars, strict, with helpers that quote for a format |
//! | `facts` | what is known of this instance without asking for it |
//! | `host`, `aws` | the only code that touches the world; each with a fake that keeps one in memory |
//! | `address`, `text`, `digest`, `failure`, `redaction`, `exit`, `backoff` | the words that all of these share |
//!
//! A file imports only from those that stand further down in this table, and from nothing else: `address text failure
//! exit redaction` ← `host aws` ← `template facts` ← `steps` ← `document` ← `plan` ← `execute report seal` ← `cli`.

mod address;
mod aws;
mod backoff;
mod cli;
mod digest;
mod document;
mod execute;
mod exit;
mod facts;
mod failure;
mod fake;
mod host;
mod image;
#[cfg(test)]
mod laws;
#[doc(hidden)]
pub mod measured;
mod net;
mod plan;
mod redaction;
mod rehearse;
mod report;
mod seal;
mod step;
mod steps;
mod template;
mod text;

/// Runs ingot with the arguments of this process.
pub fn main() -> std::process::ExitCode {
    cli::run().into()
}
