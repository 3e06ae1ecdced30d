//! ingot takes an EC2 instance from golden image to serving.
//!
//! A map of this house, in the order in which a boot walks through it:
//!
//! | where | what |
//! |---|---|
//! | `cli` | the command line: one file for each subcommand, arguments and printing |
//! | `boot` | the conductor of one boot: lock, layers, plan, steps, report, signals |
//! | `rehearse` | the same on a desk: facts given or standing in, files rendered, differences |
//! | `drain` | the end of the machine: its work is finished, and whoever waits for that is told |
//! | `worker` | what goes on after the boot: messages of a queue, posted to an application |
//! | `seal` | whether an image holds a secret or anything of the machine it was made on |
//! | `document` | what the user wrote: user data unwrapped, layers merged, every mistake with its line |
//! | `plan` | what runs after what: references checked, cycles found; pure |
//! | `execute` | every step the moment what it needs is done, with retries |
//! | `report` | what happened: on disk, on the terminal, in the journal |
//! | `steps` | one file for each kind of step: its fields, its judgment, its action, its tests |
//! | `step` | what every kind of step is made of: the trait, what it sees of the world, what it claims |
//! | `template` | Handlebars, strict, with helpers that quote for a format |
//! | `facts` | what is known of this instance without asking for it |
//! | `fake` | a machine and an AWS in memory, for rehearsals and tests |
//! | `aws` | AWS and the instance metadata service |
//! | `image` | what a root directory holds, and how it is made fit to be an image |
//! | `net` | what this machine talks to besides: probes, databases, name servers |
//! | `host` | this machine: files, programs, units, disks, mounts, time |
//! | `address`, `text`, `digest`, `failure`, `redaction`, `exit`, `backoff` | the words that all of these share |
//!
//! Only `host`, `net`, `image` and `aws` touch the world. A file imports from its own room, or from those to the left of it:
//! words ← `host` ← `net` ← `image` ← `aws` ← `fake` ← `template facts` ← `step` ← `steps` ← `document` ← `plan` ← `report` ←
//! `execute` ← `boot rehearse seal worker drain` ← `cli`. `laws` tries all of it on every example, `measured` shows the pure
//! parts to the benchmarks, and `desk` and `bundled` are what `ingot-fleet` uses of all this.
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
