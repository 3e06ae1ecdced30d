//! The environment of an application's processes, as a file for systemd.

use std::collections::BTreeMap;
use std::path::Path;

use zeroize::Zeroizing;

use super::decide::Found;
use super::fields::Application;
use super::generation::{Generation, Placed};
use super::judge::Examined;
use super::slot::Slot;
use super::trouble::ApplicationError;
use crate::gather::Gather as _;
use crate::host::SEARCH_PATH;
use crate::step::Context;
use crate::template::{Template, dotenv_value, environment_value};
use crate::text::{SecretText, Text};

/// Maximum size of an environment file in bytes: as much as the variables of one program may take.
const ENVIRONMENT_LIMIT: u64 = 4 << 20;

/// Whether a text contains a reference to a secret.
pub(super) fn is_secret(text: &Text) -> bool {
    !text.is_plain()
        && Template::parse(text.raw()).is_ok_and(|template| template.references().iter().any(|reference| reference.is_secret()))
}

impl Application {
    /// The environment file of a generation: one variable per line, quoted for systemd. The variables of its platform
    /// and of its `.ebextensions` are part of the recorded ones.
    pub(super) fn environment_file(&self, placed: &Placed, cx: &Context<'_>) -> Result<Zeroizing<Vec<u8>>, ApplicationError> {
        let mut file = remembered(placed)?;
        for (name, value) in self.secret_variables(&placed.generation, cx)? {
            append(&mut file, &name, value.expose(), placed)?;
        }
        Ok(file)
    }

    /// Finds the slots whose processes run with outdated secrets. A missing file says nothing, since then the processes
    /// are gone too.
    pub(super) async fn find_stale(&self, found: &mut Found, cx: &Context<'_>) -> Result<(), ApplicationError> {
        for slot in Slot::BOTH {
            let Some((placed, _)) = &found.slots[slot as usize] else { continue };
            let path = placed.environment_file();
            let written = cx.host().files.read(&path, ENVIRONMENT_LIMIT).await.map_err(ApplicationError::Host)?;
            if let Some(written) = written
                && *written != *self.environment_file(placed, cx)?
            {
                found.stale.insert(slot);
            }
        }
        Ok(())
    }

    /// The non-secret variables of a release: from its platform, from its `.ebextensions`, and from the document.
    pub(super) fn plain_variables(
        &self,
        examined: &Examined,
        release: &Path,
        cx: &Context<'_>,
    ) -> Result<BTreeMap<String, String>, ApplicationError> {
        let mut environment: BTreeMap<String, String> = examined.environment.iter().cloned().gather();
        if !examined.path.is_empty() {
            let own = examined.path.iter().map(|path| format!("{}/{path}:", release.display()));
            environment.insert("PATH".to_owned(), own.chain([SEARCH_PATH.to_owned()]).collect());
        }
        // The port depends on the slot.
        environment.remove("PORT");
        for (name, text) in &self.environment {
            if is_secret(text) {
                environment.remove(name);
                continue;
            }
            let value = cx.render(text).map_err(|source| ApplicationError::Render { what: format!("environment.{name}"), source })?;
            environment.insert(name.clone(), value.expose().to_owned());
        }
        Ok(environment)
    }

    /// The secret variables of a generation. The value of one that was removed from the document cannot be known.
    pub(super) fn secret_variables(&self, of: &Generation, cx: &Context<'_>) -> Result<Vec<(String, SecretText)>, ApplicationError> {
        let known = of.secrets.iter().filter_map(|name| Some((name, self.environment.get(name)?)));
        known
            .map(|(name, text)| {
                let value = cx.render(text).map_err(|source| ApplicationError::Render { what: format!("environment.{name}"), source })?;
                Ok((name.clone(), value))
            })
            .collect()
    }
}

/// The file without its secrets: the part that is recorded for a generation.
pub(super) fn remembered(placed: &Placed) -> Result<Zeroizing<Vec<u8>>, ApplicationError> {
    let mut file = Zeroizing::new(format!("PORT={}\n", placed.port).into_bytes());
    placed.generation.environment.iter().try_for_each(|(name, value)| append(&mut file, name, value, placed))?;
    Ok(file)
}

fn append(file: &mut Zeroizing<Vec<u8>>, name: &str, value: &str, placed: &Placed) -> Result<(), ApplicationError> {
    // Compose and podman also read this file, and use a different quoting than systemd.
    let form = if placed.has_services() { dotenv_value } else { environment_value };
    let value = form(value).map_err(|why| ApplicationError::Variable { name: name.to_owned(), why })?;
    // The buffer is grown by hand, because a vector that grows by itself leaves copies that are not wiped.
    let mut grown = Zeroizing::new(Vec::with_capacity(file.len() + name.len() + value.expose().len() + 2));
    grown.extend_from_slice(file);
    grown.extend_from_slice(name.as_bytes());
    grown.push(b'=');
    grown.extend_from_slice(value.expose().as_bytes());
    grown.push(b'\n');
    *file = grown;
    Ok(())
}
