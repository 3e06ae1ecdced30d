//! What can differ between an application and what it should be.

use std::fmt;
use std::path::PathBuf;

use super::extension::Extension;
use super::facing::Facing;
use super::generation::{Generation, Placed};
use super::hooks::Moment;
use super::part::Part;
use super::proxy::UNIT;
use super::recipe::{Recipe, shown};
use super::remark::Remark;
use super::slot::Slot;
use super::watched::Watched;

/// One difference between an application and what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The release cannot run: what serves keeps serving.
    Refuse {
        version: String,
        remarks: Vec<Remark>,
    },
    /// Has the release that served last serve while the next one is made ready: since a reboot it does not run, or its proxy has
    /// no certificate.
    Resume {
        slot: Slot,
        placed: Placed,
    },
    /// Puts something where scripts for Elastic Beanstalk look for it.
    Provide {
        part: Part,
        generation: Box<Generation>,
        port: u16,
    },
    /// Carries out what `.ebextensions` say.
    Extend {
        placed: Placed,
        extension: Extension,
    },
    /// Brings an image here: what it runs is known only then.
    Pull {
        image: String,
        /// The daemon does not run that knows whether it is here.
        is_asleep: bool,
    },
    /// Makes the release ready to run, in its own directory.
    Build {
        placed: Placed,
        recipe: Recipe,
    },
    /// Runs hooks of the release, in their order.
    Hooks {
        slot: Slot,
        placed: Placed,
        moment: Moment,
        hooks: Vec<String>,
    },
    /// Writes down what is about to run, and the environment of its processes.
    Prepare {
        slot: Slot,
        placed: Placed,
    },
    /// Stops processes of the generation before, so that their successors can start.
    Stop {
        slot: Slot,
        placed: Placed,
        processes: Vec<String>,
    },
    Launch {
        slot: Slot,
        placed: Placed,
        process: String,
    },
    /// Waits until the new `web` serves.
    Prove {
        slot: Slot,
        placed: Placed,
    },
    /// Has nginx read the configuration of the proxy as it would be, before anything is touched.
    Check {
        site: Facing,
    },
    /// Writes the configuration of the proxy, in place of that of applications that are leaving.
    Configure {
        site: Facing,
        ports: Vec<u16>,
        leaving: Vec<String>,
    },
    /// Starts the proxy, or has it read its configuration.
    Serve {
        slot: Slot,
        reload: bool,
    },
    /// Has the proxy serve an application no more.
    Withdraw {
        application: String,
        slot: Slot,
    },
    /// Leads requests to a slot, from one moment to the next.
    Switch {
        slot: Slot,
        placed: Placed,
        from: Option<String>,
    },
    /// Has the bundle's `current` lead to the release that serves.
    Point {
        slot: Slot,
        placed: Placed,
        link: PathBuf,
    },
    /// Looks whether all processes stay up: after this, the generation before is stopped.
    Settle {
        slot: Slot,
        placed: Placed,
    },
    /// Waits for the requests in a slot to end, stops what is there, and frees it.
    Retire {
        slot: Slot,
        placed: Placed,
    },
    /// Has it looked at from now on.
    Watch {
        unit: String,
        watched: Watched,
    },
    Unwatch {
        unit: String,
    },
    /// Drains and stops an application that the document no longer has.
    Depart {
        application: String,
        units: Vec<String>,
    },
}

impl Change {
    /// Whether it ends the log of a process that is gone.
    pub(super) fn is_farewell(&self) -> bool {
        matches!(self, Self::Provide { part: Part::NoLog(..), .. })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse { version, .. } => write!(f, "reject {version}: it cannot run"),
            Self::Resume { placed, .. } => write!(f, "have {} serve until its successor does", units(placed, placed.processes())),
            Self::Pull { image, is_asleep: false } => write!(f, "pull {image}"),
            Self::Pull { image, is_asleep: true } => write!(f, "start docker.service, and pull {image} unless it is here"),
            Self::Build { placed, recipe } => {
                let commands: Vec<String> = recipe.commands().map(|argv| shown(argv)).collect();
                write!(f, "build {}", placed.generation.release.display())?;
                if commands.is_empty() { Ok(()) } else { write!(f, ": {}", commands.join("; ")) }
            }
            Self::Provide { part, .. } => part.fmt(f),
            Self::Extend { placed, extension } => {
                write!(f, "carry out {extension:#} of {}: {extension}", placed.generation.release.display())
            }
            Self::Hooks { placed, moment, hooks, .. } => write!(f, "run the {} hooks of {placed}: {}", moment.name(), hooks.join(", ")),
            Self::Check { .. } => f.write_str("have nginx check what the release adds to its configuration"),
            Self::Configure { ports, leaving, .. } => {
                let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                write!(f, "configure the proxy on port {}", ports.join(", "))?;
                if leaving.is_empty() { Ok(()) } else { write!(f, " in place of {}", leaving.join(", ")) }
            }
            Self::Serve { reload: false, .. } => write!(f, "start {UNIT}"),
            Self::Serve { reload: true, .. } => write!(f, "reload {UNIT}"),
            Self::Withdraw { application, .. } => write!(f, "remove {application} from {UNIT}"),
            Self::Prepare { placed, .. } => write!(f, "write the environment of {placed}"),
            Self::Stop { placed, processes, .. } => write!(f, "stop {}", units(placed, processes.iter().map(String::as_str))),
            Self::Launch { placed, process, .. } => {
                let command = placed.generation.processes.get(process).map_or("", String::as_str);
                write!(f, "start {}: {command}", placed.unit(process))
            }
            Self::Prove { placed, .. } => write!(f, "wait until {placed} serves on port {}", placed.port),
            Self::Switch { placed, from: None, .. } => write!(f, "switch requests to {placed}"),
            Self::Switch { placed, from: Some(from), .. } => write!(f, "switch requests to {placed} instead of {from}"),
            Self::Point { placed, link, .. } => {
                let name = placed.generation.release.file_name().unwrap_or_default().display();
                write!(f, "switch {} to releases/{name}", link.display())
            }
            Self::Settle { placed, .. } => write!(f, "check that {placed} stays up"),
            Self::Retire { placed, .. } => write!(f, "drain and stop {}", units(placed, placed.processes())),
            Self::Watch { unit, watched } => {
                write!(f, "start {unit}, which has Auto Scaling replace this instance when web is down for {:?}", watched.after())
            }
            Self::Unwatch { unit } => write!(f, "stop {unit}"),
            Self::Depart { application, units } if units.is_empty() => write!(f, "forget {application}, which the document no longer has"),
            Self::Depart { application, units } => {
                write!(f, "drain and stop {} of {application}, which the document no longer has", units.join(", "))
            }
        }
    }
}

fn units<'p>(placed: &Placed, processes: impl IntoIterator<Item = &'p str>) -> String {
    processes.into_iter().map(|process| placed.unit(process)).collect::<Vec<_>>().join(", ")
}
