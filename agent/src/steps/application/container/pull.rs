//! An application's image: what its name resolves to on this machine, and how it is pulled.

use std::collections::BTreeMap;

use super::engine::Engine;
use super::image::{Image, machine};
use super::reference::Reference;
use super::registry::{self, Login};
use super::trouble::ContainerError;
use super::words::words;
use super::{Container, Pin};
use crate::gather::Gather as _;
use crate::host::environment::own_program;
use crate::step::Context;
use crate::steps::application::change::Change;
use crate::steps::application::decide::Found;
use crate::steps::application::fields::{Application, Resources};
use crate::steps::application::ground::Ground;
use crate::steps::application::procfile::WEB;
use crate::steps::application::trouble::ApplicationError;

/// What runs for an application whose release is an image.
pub(in crate::steps::application) struct Contained {
    pub(in crate::steps::application) container: Container,
    pub(in crate::steps::application) version: String,
    /// The command of each process, for display.
    pub(in crate::steps::application) processes: BTreeMap<String, String>,
}

impl Application {
    /// The image that the document names, if any.
    pub(in crate::steps::application) fn reference(&self, cx: &Context<'_>) -> Result<Option<Reference>, ApplicationError> {
        let Some(image) = &self.image else { return Ok(None) };
        let name = cx.render(image).map_err(|source| ApplicationError::Render { what: "image".into(), source })?;
        let parsed = Reference::parse(name.expose());
        parsed.map(Some).map_err(|why| ContainerError::Name { name: name.expose().to_owned(), why }.into())
    }

    /// A pull of the image, unless its name is already resolved and the image is here.
    pub(in crate::steps::application) async fn missing_image(
        &self,
        found: &Found,
        ground: &Ground<'_>,
        cx: &Context<'_>,
    ) -> Result<Option<Change>, ApplicationError> {
        let Some(reference) = self.reference(cx)? else { return Ok(None) };
        let (image, pin) = (reference.to_string(), ground.memory.pin(&reference.to_string()));
        // An interrupted pull has left a password behind; pulling again removes it.
        if registry::is_left(cx).await? {
            return Ok(Some(Change::Pull { image, is_asleep: false }));
        }
        let is_here = match &pin {
            Some(pin) if found.runs_image(&pin.image) => Some(true),
            Some(pin) => pin.engine.has(&pin.image, cx).await?,
            None => Some(false),
        };
        Ok((is_here != Some(true)).then_some(Change::Pull { image, is_asleep: is_here.is_none() }))
    }

    /// Pulls an image, and records what its name resolves to. An image that is named by digest and already here is not
    /// pulled.
    pub(in crate::steps::application) async fn pull(&self, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let Some(reference) = self.reference(cx)? else { return Ok(()) };
        registry::forget(cx).await?;
        let (name, engine) = (reference.to_string(), Engine::find(cx.host()).await?);
        let before = engine.image(&name, cx).await?;
        // Its daemon was not running before, and turns out to have the image: a tag is not resolved again.
        if let Some(pin) = ground.memory.pin(&name)
            && pin.engine.has(&pin.image, cx).await? == Some(true)
        {
            return Ok(());
        }
        let is_enough = (reference.is_fixed() || reference.is_local()) && before.is_some();
        if !is_enough {
            fetch(engine, &reference, cx).await?;
        }
        let image = runnable(engine, &name, cx).await?;
        let is_known = ground.memory.pins().iter().any(|(_, pin)| pin.image == image.id && pin.is_ours);
        let was_here = before.is_some_and(|before| before.id == image.id) && !is_known;
        let pin = pinned(engine, image, &reference.name(), !was_here);
        ground.memory.set_pin(&name, &pin).await.map_err(ApplicationError::Host)
    }

    /// What runs from the image that the document names.
    pub(in crate::steps::application) fn contained(
        &self,
        ground: &Ground<'_>,
        cx: &Context<'_>,
    ) -> Result<Option<Contained>, ApplicationError> {
        let Some(reference) = self.reference(cx)? else { return Ok(None) };
        let name = reference.to_string();
        // Fails if the image has not been pulled yet.
        let pin = ground.memory.pin(&name).ok_or_else(|| ContainerError::NotHere { image: name.clone() })?;
        let mut programs = BTreeMap::new();
        let literal = |word: &String| word.replace('$', "$$");
        let entrypoint: Vec<String> = pin.entrypoint.iter().map(literal).collect();
        for (process, command) in &self.run {
            let line = cx.render(command).map_err(|source| ApplicationError::Render { what: format!("run.{process}"), source })?;
            let command = words(line.expose()).map_err(|why| ContainerError::Command { process: process.clone(), why })?;
            programs.insert(process.clone(), entrypoint.iter().cloned().chain(command).collect::<Vec<_>>());
        }
        if self.run.is_empty() {
            programs.insert(WEB.to_owned(), entrypoint.into_iter().chain(pin.command.iter().map(literal)).collect());
        }
        if programs.values().any(Vec::is_empty) {
            return Err(ContainerError::Idle { image: name }.into());
        }
        let processes = programs.iter().map(|(process, words)| (process.clone(), words.join(" "))).gather();
        let container = Container {
            engine: pin.engine,
            image: pin.image,
            port: pin.port,
            options: self.options(pin.engine)?,
            programs,
            entrypoint: None,
            command: None,
            ingot: own_program(),
        };
        Ok(Some(Contained { container, version: reference.version(), processes }))
    }

    /// The fields of the application that become options of the engine.
    pub(super) fn options(&self, engine: Engine) -> Result<Vec<String>, ContainerError> {
        let mut options = Vec::new();
        if let Some(files) = self.resources.files {
            options.extend(["--ulimit".to_owned(), format!("nofile={files}:{files}")]);
        }
        if let Some(tasks) = self.resources.tasks {
            options.extend(["--pids-limit".to_owned(), tasks.to_string()]);
        }
        if let Some(user) = &self.user {
            options.extend(["--user".to_owned(), user.clone()]);
        }
        if engine == Engine::Docker {
            if !self.aws {
                return Err(ContainerError::Unkept("`aws: false`"));
            }
            options.extend(for_docker(&self.resources)?);
        }
        Ok(options)
    }
}

/// docker's containers are not in the unit's control group, so docker has to enforce the limits itself.
fn for_docker(resources: &Resources) -> Result<Vec<String>, ContainerError> {
    let mut options = Vec::new();
    if let Some(memory) = &resources.memory {
        if memory.ends_with('%') {
            return Err(ContainerError::Unkept("`resources.memory` in percent"));
        }
        options.extend(["--memory".to_owned(), memory.to_lowercase()]);
    }
    if let Some(cpu) = resources.cpu.as_ref().and_then(|cpu| cpu.strip_suffix('%')?.parse::<u32>().ok()) {
        options.extend(["--cpus".to_owned(), format!("{}.{:02}", cpu / 100, cpu % 100)]);
    }
    Ok(options)
}

/// Pulls an image, logged in to its registry only while the pull runs.
pub(super) async fn fetch(engine: Engine, reference: &Reference, cx: &Context<'_>) -> Result<(), ContainerError> {
    let name = reference.to_string();
    let login = Login::to(std::slice::from_ref(&reference.registry), cx).await?;
    let mut arguments = login.arguments(engine, "pull");
    arguments.extend(["--quiet".to_owned(), name.clone()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    cx.waiting(format!("for {name} to be pulled"));
    let pulled = engine.work(&arguments, "/".as_ref(), &format!("pull {name}"), cx).await;
    login.end(cx).await?;
    pulled
}

/// What a local image declares about itself; an error if it is for another architecture.
pub(super) async fn runnable(engine: Engine, name: &str, cx: &Context<'_>) -> Result<Image, ContainerError> {
    let found = engine.image(name, cx).await?;
    let image = found.ok_or_else(|| ContainerError::NotHere { image: name.to_owned() })?;
    match image.runs_on(machine()) {
        true => Ok(image),
        false => Err(ContainerError::Architecture { image: name.to_owned(), is: image.architecture, machine: machine() }),
    }
}

pub(super) fn pinned(engine: Engine, image: Image, repository: &str, is_ours: bool) -> Pin {
    let pinned = image.pinned(repository);
    let Image { id, entrypoint, command, port, .. } = image;
    Pin { engine, image: id, pinned, port, entrypoint, command, is_ours, release: None }
}
