//! `ingot drain`: watches for the end of the machine. The drain itself is in [`drain`](crate::drain).

use tokio::signal::unix::{SignalKind, signal};

use crate::boot::Ground;
use crate::cli::logging;
use crate::cli::output::talk;
use crate::cli::root::Root;
use crate::drain::{now, settings, watch};
use crate::exit::Exit;
use crate::failure::Explanation;
use crate::host::environment::{self, Environment};

/// Watch for the end of this machine, and finish its work in order
///
/// `ingot-drain.service` runs it with the settings that the boot has written from `drains:` of the document. With
/// --now, it does at once what it would do then.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Drain this machine now
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    root: Root,
}

pub(crate) async fn run(args: Args, environment: &Environment) -> Exit {
    if args.now || args.root.root.is_some() || !logging::to_journal() {
        logging::all_to_stderr();
    }
    let ground = Ground::this_machine(args.root.root, environment.aws.clone());
    let settings = match settings(&ground).await {
        Ok(settings) => settings,
        Err(error) => {
            talk(&Explanation::of(&error).to_string());
            return Exit::Usage;
        }
    };
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        talk("cannot watch: signals are not delivered to this process");
        return Exit::Failed;
    };
    let mut asked = async || {
        tokio::select! {
            biased;
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let drained = if args.now {
        now(&settings, &ground, asked()).await
    } else {
        environment::ready();
        watch(&settings, &ground, asked).await
    };
    match drained {
        Ok(()) => Exit::Done,
        Err(why) => {
            talk(&format!("this machine was not drained: {why}"));
            if why.unreachable { Exit::Unreachable } else { Exit::Failed }
        }
    }
}
