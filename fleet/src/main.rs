//! `ingot-fleet` checks, creates and deploys the environments of an application: many instances, each of which `ingot`
//! configures.
//!
//! | where | what |
//! |---|---|
//! | `cli` | the command line: one file for each verb |
//! | `conduct` | one deployment from its record to its end, on CloudFormation as the engine |
//! | `stack` | what an environment comes to: template, parameters, boot document, user data; offline |
//! | `beanstalk` | an environment of Elastic Beanstalk as one of fleet.yaml; pure |
//! | `fleet` | fleet.yaml: settings, defaults, origins, every mistake with its line; pure |
//! | `aws` | the only code that calls AWS |
//! | `story` | what happened, as one story with one cause; pure |
//! | `deployment` | what is recorded of deployments, what follows from it, and what comes next; pure |
//! | `release` | releases: packed, named, described |
//! | `files` | the files of an application: the only code that reads them |
//! | `place`, `digest`, `exit`, `failure` | the words that all of these share |
//!
//! A file imports only from its own room, or from those to the left of it: words ← `files` ← `release` ← `deployment` ←
//! `story` ← `aws` ← `fleet` ← `beanstalk` ← `stack` ← `conduct` ← `cli`. What is taken from the agent is in
//! `ingot::desk` and `ingot::bundled`.

mod aws;
mod beanstalk;
mod cli;
mod conduct;
mod deployment;
mod digest;
mod exit;
mod failure;
mod files;
mod fleet;
mod place;
mod release;
mod stack;
mod story;

fn main() -> std::process::ExitCode {
    cli::run().into()
}
