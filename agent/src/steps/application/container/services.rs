//! The images of the services of a compose file, pulled and built once with the release.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::ask::work;
use super::compose::{Composed, OVERRIDE, program};
use super::own::image_of;
use super::pull::pinned;
use super::registry::Login;
use super::trouble::{ContainerError, Refusal};
use super::{Composition, Pin};
use crate::host::{Attributes, End};
use crate::step::Context;
use crate::steps::application::fields::Application;
use crate::steps::application::generation::Placed;
use crate::steps::application::ground;
use crate::steps::application::trouble::ApplicationError;
use crate::steps::install::staged;
use crate::text::SecretText;

impl Application {
    /// Pulls and builds the images of the services, with the environment in which they will run.
    pub(super) async fn make_services(&self, services: &Services<'_>, placed: &Placed, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let Services { file, registries, images, built } = *services;
        let release = &placed.generation.release;
        let composition = Composition { program: program(cx.host()).await?, file: file.to_owned(), names_images: !built.is_empty() };
        let mut variables = self.variables(&placed.generation, cx)?;
        variables.push(("PORT".to_owned(), placed.port.to_string().as_str().into()));
        let record = cx.world.record.application(cx.key()).await.map_err(ApplicationError::Host)?;
        let ground = ground(&record, cx);
        let prepared = async {
            if composition.names_images {
                named(release, &overriding(cx.key(), release, built), cx).await?;
            }
            // The file that `env_file:` names has to exist, whatever it contains.
            ground.write_variables(placed, &self.environment_file(placed, cx)?).await.map_err(ApplicationError::Host)
        };
        prepared.await?;
        let engine = composition.engine();
        let mut absent = Vec::new();
        for image in images.iter().filter(|image| !image.contains('$')) {
            if engine.has(image, cx).await? == Some(false) {
                absent.push(image.as_str());
            }
        }
        let of = Composed { application: cx.key(), port: placed.port, grace: Duration::ZERO };
        let made = composition.make(&of, registries, &variables, release, cx).await;
        cx.host().files.remove(&placed.environment_file()).await.map_err(ApplicationError::Host)?;
        made?;
        // Images that were not here before are removed once nothing needs them.
        let of_built = built.iter().map(|service| image_of(cx.key(), release, Some(service)));
        for name in absent.into_iter().map(str::to_owned).chain(of_built) {
            if let Some(image) = engine.image(&name, cx).await? {
                let pin = Pin { release: Some(release.to_owned()), ..pinned(engine, image, "", true) };
                ground.memory.set_pin(&name, &pin).await.map_err(ApplicationError::Host)?;
            }
        }
        Ok(())
    }
}

/// What a compose file says about its images.
#[derive(Clone, Copy)]
pub(super) struct Services<'a> {
    pub(super) file: &'a str,
    pub(super) registries: &'a [String],
    pub(super) images: &'a [String],
    pub(super) built: &'a [String],
}

/// An additional compose file, which names each built image after its release. By default, compose names it after the
/// project, which is a slot, so a release in a reused slot would find the image of another release.
fn overriding(application: &str, release: &Path, built: &[String]) -> String {
    let services = built.iter().map(|service| (service.clone(), json!({ "image": image_of(application, release, Some(service)) })));
    json!({ "services": serde_json::Map::from_iter(services) }).to_string()
}

async fn named(release: &Path, text: &str, cx: &Context<'_>) -> Result<(), ApplicationError> {
    let (files, path) = (&cx.host().files, release.join(OVERRIDE));
    let (uid, gid) = cx.host().users.own();
    let written = async {
        files.create_directory(path.parent().unwrap_or(release), 0o755).await?;
        files.stage(&staged(&path), text.as_bytes(), Attributes { mode: 0o644, uid, gid }).await?;
        files.install(&staged(&path), &path).await
    };
    written.await.map_err(ApplicationError::Host)
}

impl Composition {
    async fn make(
        &self,
        of: &Composed<'_>,
        registries: &[String],
        variables: &[(String, SecretText)],
        release: &Path,
        cx: &Context<'_>,
    ) -> Result<(), ContainerError> {
        let login = Login::to(registries, cx).await?;
        let variables: Vec<_> = variables.iter().cloned().chain(login.variables()).collect();
        let mut done = Ok(());
        for verb in ["pull", "build"] {
            cx.waiting(format!("to {verb} the images of {}", self.file));
            done = self.work(verb, of, &variables, release, cx).await;
            // One of the programs tries to pull images that it should build, and fails; the build shows whether
            // anything is really missing.
            if matches!(&done, Err(ContainerError::Compose { refusal: Refusal::Denied(_) | Refusal::DiskFull, .. })) {
                break;
            }
        }
        login.end(cx).await?;
        done
    }

    async fn work(
        &self,
        verb: &str,
        of: &Composed<'_>,
        variables: &[(String, SecretText)],
        release: &Path,
        cx: &Context<'_>,
    ) -> Result<(), ContainerError> {
        let mut argv = self.argv(of);
        argv.push(verb.to_owned());
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        match work(&argv, variables, release, cx).await? {
            (End::Exited(0), ..) => Ok(()),
            (_, said, refusal) => {
                let what = format!("{verb} the images of {}", self.file);
                Err(ContainerError::Compose { program: self.program.join(" "), what, refusal, said: Box::new(said) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_is_built_belongs_to_its_release() {
        let of = |release: &str| overriding("Shop", Path::new(release), &["web".to_owned()]);
        assert_eq!(of("/opt/shop/releases/1"), r#"{"services":{"web":{"image":"localhost/ingot/shop:r1-web"}}}"#);
        assert_ne!(of("/opt/shop/releases/1"), of("/opt/shop/releases/2"));
    }
}
