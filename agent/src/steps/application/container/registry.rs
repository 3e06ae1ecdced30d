//! Logs in to a registry for one pull, by a file below /run that is removed afterwards.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::engine::Engine;
use super::trouble::ContainerError;
use crate::aws::ecr::Registry;
use crate::host::{Attributes, Host};
use crate::step::Context;
use crate::steps::install::staged;
use crate::text::SecretText;

/// The passwords for the registries that an application is pulled from.
pub(super) struct Login {
    directory: PathBuf,
    is_there: bool,
}

impl Login {
    /// Logs in to the ECR registries among these. Others are used without a password, or with the machine's own
    /// credentials.
    pub(super) async fn to(registries: &[String], cx: &Context<'_>) -> Result<Self, ContainerError> {
        let mut entries = Vec::new();
        for registry in registries.iter().filter_map(|host| Registry::parse(host)) {
            cx.asking(format!("for a password of {}", registry.host));
            let token = cx.world.aws.registries.token(&registry).await;
            let token = token.map_err(|source| ContainerError::Login { registry: registry.host.clone(), source: Box::new(source) })?;
            entries.push((registry.host, token));
        }
        let login = Self { directory: directory(cx.key()), is_there: !entries.is_empty() };
        if login.is_there {
            let mut content = Zeroizing::new(String::with_capacity(64 << 10));
            content.push_str("{\"auths\":{");
            for (at, (host, token)) in entries.iter().enumerate() {
                content.push_str(if at > 0 { "," } else { "" });
                content.push_str(&format!("\"{host}\":{{\"auth\":\""));
                content.push_str(token.expose());
                content.push_str("\"}");
            }
            content.push_str("}}");
            write(&login.file(), content.as_bytes(), cx.host()).await.map_err(ContainerError::Host)?;
        }
        Ok(login)
    }

    fn file(&self) -> PathBuf {
        self.directory.join("config.json")
    }

    /// The arguments of a pull, up to the image.
    pub(super) fn arguments(&self, engine: Engine, verb: &str) -> Vec<String> {
        let (file, directory) = (self.file().display().to_string(), self.directory.display().to_string());
        let words: Vec<&str> = match (self.is_there, engine) {
            (false, _) => vec![verb],
            (true, Engine::Podman) => vec![verb, "--authfile", &file],
            (true, Engine::Docker) => vec!["--config", &directory, verb],
        };
        words.into_iter().map(str::to_owned).collect()
    }

    /// The same as environment variables, for programs without such options.
    pub(super) fn variables(&self) -> Vec<(String, SecretText)> {
        let variables = [("REGISTRY_AUTH_FILE", self.file()), ("DOCKER_CONFIG", self.directory.clone())];
        let variables = variables.map(|(name, path)| (name.to_owned(), path.display().to_string().into()));
        variables.into_iter().filter(|_| self.is_there).collect()
    }

    /// Removes the passwords.
    pub(super) async fn end(&self, cx: &Context<'_>) -> Result<(), ContainerError> {
        forget(cx).await
    }
}

/// Whether an interrupted pull has left passwords behind.
pub(super) async fn is_left(cx: &Context<'_>) -> Result<bool, ContainerError> {
    let file = directory(cx.key()).join("config.json");
    for path in [staged(&file), file] {
        if cx.host().files.stat(&path).await.map_err(ContainerError::Host)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes passwords that an interrupted pull has left behind.
pub(super) async fn forget(cx: &Context<'_>) -> Result<(), ContainerError> {
    let files = &cx.host().files;
    let file = directory(cx.key()).join("config.json");
    for path in [staged(&file), file] {
        if files.stat(&path).await.map_err(ContainerError::Host)?.is_some() {
            files.remove(&path).await.map_err(ContainerError::Host)?;
        }
    }
    Ok(())
}

fn directory(application: &str) -> PathBuf {
    format!("/run/ingot/registries/{application}").into()
}

async fn write(path: &Path, content: &[u8], host: &Host) -> Result<(), crate::host::HostError> {
    if let Some(parent) = path.parent() {
        host.files.create_directory(parent, 0o700).await?;
    }
    let (uid, gid) = host.users.own();
    host.files.stage(&staged(path), content, Attributes { mode: 0o600, uid, gid }).await?;
    host.files.install(&staged(path), path).await
}
