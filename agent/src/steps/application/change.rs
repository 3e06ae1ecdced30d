//! What can differ between an application and what it should be.

use std::fmt;

use super::front::Facing;
use super::generation::Placed;
use super::ground::Ground;
use super::hooks::Moment;
use super::proxy::UNIT;
use super::recipe::{Recipe, shown};
use super::remark::Remark;
use super::slot::Slot;

/// One difference between an application and what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The release cannot run: what serves goes on serving.
    Refuse {
        version: String,
        remarks: Vec<Remark>,
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
    /// Drains and stops an application that the document no longer has.
    Depart {
        application: String,
        units: Vec<String>,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse { version, .. } => write!(f, "reject {version}: it cannot run"),
            Self::Build { placed, recipe } => {
                let commands: Vec<String> = recipe.commands().map(|argv| shown(argv)).collect();
                write!(f, "build {}", placed.generation.release.display())?;
                if commands.is_empty() { Ok(()) } else { write!(f, ": {}", commands.join("; ")) }
            }
            Self::Hooks { placed, moment, hooks, .. } => write!(f, "run the {} hooks of {placed}: {}", moment.name(), hooks.join(", ")),
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
            Self::Settle { placed, .. } => write!(f, "check that {placed} stays up"),
            Self::Retire { placed, .. } => write!(f, "drain and stop {}", units(placed, placed.processes())),
            Self::Depart { application, units } if units.is_empty() => write!(f, "forget {application}, which the document no longer has"),
            Self::Depart { application, units } => {
                write!(f, "drain and stop {} of {application}, which the document no longer has", units.join(", "))
            }
        }
    }
}

impl Change {
    /// The slot that is freed if this fails, for what is in the other to go on serving.
    pub(super) fn fails_in(&self, ground: &Ground<'_>) -> Option<Slot> {
        match self {
            Self::Prepare { slot, .. } | Self::Launch { slot, .. } | Self::Prove { slot, .. } => Some(*slot),
            Self::Settle { slot, .. } | Self::Switch { slot, .. } | Self::Hooks { slot, .. } => Some(*slot),
            // What is stopped is what was before.
            Self::Stop { slot, .. } => Some(slot.other()),
            Self::Configure { .. } | Self::Serve { .. } | Self::Withdraw { .. } => ground.candidate(),
            Self::Refuse { .. } | Self::Build { .. } => Some(ground.serving().map_or(Slot::A, |(slot, _)| slot.other())),
            Self::Retire { .. } | Self::Depart { .. } => None,
        }
    }
}

fn units<'p>(placed: &Placed, processes: impl IntoIterator<Item = &'p str>) -> String {
    processes.into_iter().map(|process| placed.unit(process)).collect::<Vec<_>>().join(", ")
}
