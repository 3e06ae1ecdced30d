//! `ingot watch-application`: checks an application once, for ingot-watch@.timer. If the application has been down for
//! too long, every check asks Auto Scaling to replace the instance, until it does.

use std::time::Duration;

use crate::boot::Ground;
use crate::cli::output::talk;
use crate::cli::root::Root;
use crate::exit::Exit;
use crate::failure::Explanation;
use crate::host::environment::Environment;
use crate::host::identity;
use crate::host::state::Record;
use crate::steps::application::watch::look;

/// The time limit of one check, including the calls to Auto Scaling and IMDS. The next check follows soon.
const WITHIN: Duration = Duration::from_secs(30);

/// Check an application, and ask Auto Scaling to replace the instance if it stays down
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    root: Root,
    /// Name of the application
    application: String,
}

pub(crate) async fn run(args: Args, environment: &Environment) -> Exit {
    let ground = Ground::this_machine(args.root.root, environment.aws.clone());
    match looked(&args.application, &ground).await {
        Ok(()) => Exit::Done,
        Err(error) => {
            talk(&error.to_string());
            Exit::Failed
        }
    }
}

async fn looked(application: &str, ground: &Ground) -> Result<(), Explanation> {
    // A deployment may take the application down for a while, and reports its own result.
    if !ground.lock.is_free().await {
        return Ok(());
    }
    let host = &ground.host;
    let asked = async {
        // The instance id names the record. It is read from the machine if possible: a check of a
        // running application needs no network.
        let id = match identity::dmi(&*host.files).await {
            Some(id) => id,
            None => ground.cloud.connect().await?.metadata().identity().await.map_err(|error| Explanation::of(&error))?.instance_id,
        };
        let record = Record::glance(host.files.clone(), &id, application).await.map_err(|error| Explanation::of(&error))?;
        let looked = look(application, &record, host, &ground.net).await.map_err(|error| Explanation::of(&error))?;
        let Some(down) = looked else { return Ok(()) };
        let cloud = ground.cloud.connect().await?;
        let instance = cloud.metadata().identity().await.map_err(|error| Explanation::of(&error))?.instance_id;
        cloud.aws().groups.set_unhealthy(&instance).await.map_err(|error| Explanation::of(&error))?;
        talk(&format!("applications.{application} has been down for {down:?}: reported {instance} as unhealthy to Auto Scaling"));
        Ok(())
    };
    tokio::select! {
        biased;
        asked = asked => asked,
        () = host.clock.sleep(WITHIN) => Err(Explanation::new(format!("the check of applications.{application} took longer than {WITHIN:?}"), None)),
    }
}
