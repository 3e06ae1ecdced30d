//! ingot boots EC2 instances: it turns a baked image into a running, health-checked server.
//!
//! A map of the code, in the order in which a boot uses it:
//!
//! | where | what |
//! |---|---|
//! | `cli` | the command line: one file for each subcommand, arguments and printing |
//! | `boot` | the conductor of one boot: lock, layers, plan, steps, report, signals |
//! | `rehearse` | the dry run: the same with given facts or placeholders, files rendered, differences |
//! | `drain` | the end of the machine: its work is finished, and the lifecycle hook that waits for it is completed |
//! | `worker` | what continues after the boot: messages from a queue, posted to an application |
//! | `seal` | whether an image contains secrets or anything of the machine it was made on |
//! | `document` | what the user wrote: user data decoded, layers merged, every mistake with its line |
//! | `plan` | the order of the steps: references checked, cycles found; pure |
//! | `execute` | runs each step as soon as what it needs is done, with retries |
//! | `report` | what happened: on disk, on the terminal, in the journal |
//! | `steps` | one file for each kind of step: its fields, its decisions, its actions, its tests |
//! | `step` | what all kinds of step share: the trait, what a step sees of the world, what it claims |
//! | `template` | Handlebars, strict, with helpers that quote for a format |
//! | `facts` | the facts of this instance |
//! | `fake` | a machine and an AWS in memory, for rehearsals and tests |
//! | `aws` | AWS and the instance metadata service |
//! | `image` | the content of a root directory, and how it is made fit to be an image |
//! | `net` | other network peers of this machine: probes, databases, name servers |
//! | `host` | this machine: files, programs, units, disks, mounts, time |
//! | `address`, `text`, `digest`, `failure`, `redaction`, `exit`, `backoff` | the words that all of these share |
//!
//! Only `host`, `net`, `image` and `aws` touch the world. A file imports from its own room, or from those to the left
//! of it: words ← `host` ← `net` ← `image` ← `aws` ← `fake` ← `template facts` ← `step` ← `steps` ← `document` ← `plan`
//! ← `report` ← `execute` ← `boot rehearse seal worker drain` ← `cli`. `laws` tests all of them with every example,
//! `measured` exposes the pure parts to the benchmarks, and `desk` and `bundled` are the parts that `ingot-fleet` uses.
//!
//! On a system other than Linux, what needs Linux is replaced by files in `elsewhere/` of `host` and `image`.
#![cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, unused_imports, reason = "what only a boot needs is compiled on every system, to have few places that differ")
)]

mod address;
mod aws;
mod backoff;
mod boot;
#[doc(hidden)]
pub mod bundled;
mod cli;
#[doc(hidden)]
pub mod desk;
mod digest;
mod document;
mod drain;
mod execute;
mod exit;
mod facts;
mod failure;
mod fake;
mod gather;
mod host;
mod image;
mod json;
#[cfg(test)]
mod laws;
#[doc(hidden)]
pub mod measured;
mod net;
mod number;
mod packed;
mod paint;
mod plan;
mod redaction;
mod rehearse;
mod report;
mod seal;
mod sorting;
mod step;
mod steps;
mod template;
mod text;
mod worker;

/// Runs ingot with the arguments of this process.
pub fn main() -> std::process::ExitCode {
    cli::run().into()
}
