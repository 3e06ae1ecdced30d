//! The differences between an application and its wanted state.

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

/// One difference between an application and its wanted state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The release cannot run; the previous one keeps serving.
    Refuse {
        version: String,
        remarks: Vec<Remark>,
    },
    /// Lets the release that served last serve again while the next one is prepared, because since a reboot it does not
    /// run or its proxy has no certificate.
    Resume {
        slot: Slot,
        placed: Placed,
    },
    /// Provides a file, link or unit that scripts for Elastic Beanstalk expect.
    Provide {
        part: Part,
        generation: Box<Generation>,
        port: u16,
    },
    /// Applies what `.ebextensions` ask for.
    Extend {
        placed: Placed,
        extension: Extension,
    },
    /// Pulls an image; what the image runs is only known afterwards.
    Pull {
        image: String,
        /// Whether the daemon that would know if the image is here is not running.
        is_asleep: bool,
    },
    /// Makes the release ready to run, in its own directory.
    Build {
        placed: Placed,
        recipe: Recipe,
    },
    /// Runs hooks of the release, in order.
    Hooks {
        slot: Slot,
        placed: Placed,
        moment: Moment,
        hooks: Vec<String>,
    },
    /// Records the generation that is about to run, and writes the environment of its processes.
    Prepare {
        slot: Slot,
        placed: Placed,
    },
    /// Stops processes of the previous generation so that their successors can start.
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
    /// Lets nginx check the new proxy configuration before anything is touched.
    Check {
        site: Facing,
    },
    /// Writes the proxy configuration, replacing that of applications that are leaving.
    Configure {
        site: Facing,
        ports: Vec<u16>,
        leaving: Vec<String>,
    },
    /// Starts the proxy, or makes it reload its configuration.
    Serve {
        slot: Slot,
        reload: bool,
    },
    /// Makes the proxy stop serving an application.
    Withdraw {
        application: String,
        slot: Slot,
    },
    /// Switches requests to a slot, atomically.
    Switch {
        slot: Slot,
        placed: Placed,
        from: Option<String>,
    },
    /// Points the bundle's `current` at the release that serves.
    Point {
        slot: Slot,
        placed: Placed,
        link: PathBuf,
    },
    /// Checks that all processes stay up; after this, the previous generation is stopped.
    Settle {
        slot: Slot,
        placed: Placed,
    },
    /// Waits for the requests in a slot to end, stops its processes, and frees the slot.
    Retire {
        slot: Slot,
        placed: Placed,
    },
    /// Starts the health watch of the application.
    Watch {
        unit: String,
        watched: Watched,
    },
    Unwatch {
        unit: String,
    },
    /// Drains and stops an application that is no longer in the document.
    Depart {
        application: String,
        units: Vec<String>,
    },
}

impl Change {
    /// Whether this change ends the log of a process that is gone.
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
