//! Releases that run in containers: built from their Dockerfile, by the image they name, or as compose services.
//!
//! Each image is made once, with the release, and has a name chosen by ingot from then on.

use std::collections::BTreeMap;
use std::path::Path;

use super::engine::Engine;
use super::own::{OURS, image_of};
use super::pull::{fetch, pinned, runnable};
use super::reference::Reference;
use super::registry::Login;
use super::services::Services;
use super::trouble::ContainerError;
use super::words::words;
use super::{Composition, Container, Pin, compose};
use crate::host::environment::own_program;
use crate::step::Context;
use crate::steps::application::fields::Application;
use crate::steps::application::generation::Placed;
use crate::steps::application::ground;
use crate::steps::application::platforms::Contents;
use crate::steps::application::procfile::WEB;
use crate::steps::application::trouble::ApplicationError;

/// What the processes of a release run in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::steps::application) struct Inside {
    pub(in crate::steps::application) container: Option<Container>,
    pub(in crate::steps::application) composition: Option<Composition>,
}

impl Application {
    /// What a release runs in, according to its files.
    pub(in crate::steps::application) async fn inside(
        &self,
        contents: Option<&Contents>,
        release: &Path,
        cx: &Context<'_>,
    ) -> Result<Inside, ApplicationError> {
        let split = |line: &Option<String>| {
            let words = line.as_ref().map(|line| words(line)).transpose();
            words.map_err(|why| ContainerError::Command { process: WEB.to_owned(), why })
        };
        match contents {
            None => Ok(Inside::default()),
            Some(Contents::Services { file, built, .. }) => {
                if !self.aws {
                    return Err(ContainerError::Composed("`aws: false`").into());
                }
                let program = compose::program(cx.host()).await?;
                let composition = Composition { program, file: file.clone(), names_images: !built.is_empty() };
                Ok(Inside { composition: Some(composition), container: None })
            }
            Some(Contents::Image { port, volumes, entrypoint, command, .. }) => {
                let engine = Engine::find(cx.host()).await?;
                let mut options = self.options(engine)?;
                options.extend(volumes.iter().flat_map(|volume| ["--volume".to_owned(), volume.clone()]));
                let container = Container {
                    engine,
                    image: image_of(cx.key(), release, None),
                    port: *port,
                    options,
                    programs: BTreeMap::new(),
                    entrypoint: split(entrypoint)?,
                    command: split(command)?,
                    ingot: own_program(),
                };
                Ok(Inside { container: Some(container), composition: None })
            }
        }
    }

    /// Makes what a release runs in: its image, or the images of its services.
    pub(in crate::steps::application) async fn make_inside(
        &self,
        contents: Option<&Contents>,
        placed: &Placed,
        cx: &Context<'_>,
    ) -> Result<(), ApplicationError> {
        let release = &placed.generation.release;
        let (Some(contents), name) = (contents, image_of(cx.key(), release, None)) else { return Ok(()) };
        match contents {
            Contents::Services { file, registries, images, built } => {
                return self.make_services(&Services { file, registries, images, built }, placed, cx).await;
            }
            Contents::Image { name: None, registries, .. } => {
                let engine = Engine::find(cx.host()).await?;
                let login = Login::to(registries, cx).await?;
                let mut arguments = login.arguments(engine, "build");
                arguments.extend(["--tag".to_owned(), name.clone(), ".".to_owned()]);
                cx.waiting(format!("for the image of {} to be built", release.display()));
                let built = engine.work(&words_of(&arguments), release, "build the Dockerfile", cx).await;
                login.end(cx).await?;
                built?;
            }
            Contents::Image { name: Some(from), .. } => {
                let reference = Reference::parse(from).map_err(|why| ContainerError::Name { name: from.clone(), why })?;
                let engine = Engine::find(cx.host()).await?;
                let pulled = reference.to_string();
                let was_here = engine.image(&pulled, cx).await?.is_some();
                if !reference.is_local() {
                    fetch(engine, &reference, cx).await?;
                }
                engine.work(&["tag", &pulled, &name], "/".as_ref(), &format!("tag {from}"), cx).await?;
                // Under its other name the image would never be removed.
                if !was_here {
                    engine.ask(&["image", "rm", &pulled], cx.host()).await.map_err(ApplicationError::Host)?;
                }
            }
        }
        let engine = Engine::find(cx.host()).await?;
        let pin = Pin { release: Some(release.to_owned()), ..pinned(engine, runnable(engine, &name, cx).await?, "", true) };
        if pin.is_idle() {
            return Err(ContainerError::Idle { image: name }.into());
        }
        let record = cx.world.record.application(cx.key()).await.map_err(ApplicationError::Host)?;
        ground(&record, cx).memory.set_pin(&name, &pin).await.map_err(ApplicationError::Host)
    }

    /// Whether the image made for a release is gone, for example after someone has cleaned up.
    pub(in crate::steps::application) async fn has_lost_image(
        &self,
        container: Option<&Container>,
        cx: &Context<'_>,
    ) -> Result<bool, ApplicationError> {
        let Some(container) = container.filter(|container| container.image.starts_with(OURS)) else { return Ok(false) };
        let record = cx.world.record.application(cx.key()).await.map_err(ApplicationError::Host)?;
        match ground(&record, cx).memory.pin(&container.image) {
            Some(pin) => Ok(pin.engine.has(&pin.image, cx).await? == Some(false)),
            None => Ok(true),
        }
    }
}

fn words_of(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}
