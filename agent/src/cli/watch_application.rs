//! `ingot watch-application`: one look at an application, for ingot-watch@.timer. Where it has been down for too long, Auto
//! Scaling is asked to replace the instance, at every look until that has happened.

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

/// A look, with what Auto Scaling and IMDS take, may take no longer: the next one comes soon.
const WITHIN: Duration = Duration::from_secs(30);

/// Look at an application, and ask Auto Scaling to replace the instance where it stays down
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
    // A deployment may have it down for a while, and says itself how that ends.
    if !ground.lock.is_free().await {
        return Ok(());
    }
    let host = &ground.host;
    let asked = async {
        // As the records of this instance are called. Whoever is up needs no answer of AWS.
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
        () = host.clock.sleep(WITHIN) => Err(Explanation::new(format!("a look at applications.{application} took longer than {WITHIN:?}"), None)),
    }
}
