//! The environment of an application's processes, as the file that systemd reads it from.

use zeroize::Zeroizing;

use super::fields::Application;
use super::generation::{Generation, Placed};
use super::trouble::ApplicationError;
use crate::step::Context;
use crate::template::{Template, environment_value};
use crate::text::{SecretText, Text};

/// Whether what a text is made of is a secret.
pub(super) fn is_secret(text: &Text) -> bool {
    !text.is_plain()
        && Template::parse(text.raw()).is_ok_and(|template| template.references().iter().any(|reference| reference.is_secret()))
}

impl Application {
    /// The file of a generation: one variable a line, in the quotes that systemd undoes. Those of its platform and of its
    /// `.ebextensions` are among the ones that are remembered.
    pub(super) fn environment_file(&self, placed: &Placed, cx: &Context<'_>) -> Result<Zeroizing<Vec<u8>>, ApplicationError> {
        let mut file = remembered(placed)?;
        for (name, value) in self.secret_variables(&placed.generation, cx)? {
            append(&mut file, &name, value.expose())?;
        }
        Ok(file)
    }

    /// The variables of a generation that are secrets. One that the document no longer has cannot be known.
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

/// The same without secrets: what is remembered of a generation.
pub(super) fn remembered(placed: &Placed) -> Result<Zeroizing<Vec<u8>>, ApplicationError> {
    let mut file = Zeroizing::new(format!("PORT={}\n", placed.port).into_bytes());
    placed.generation.environment.iter().try_for_each(|(name, value)| append(&mut file, name, value))?;
    Ok(file)
}

fn append(file: &mut Zeroizing<Vec<u8>>, name: &str, value: &str) -> Result<(), ApplicationError> {
    let value = environment_value(value).map_err(|why| ApplicationError::Variable { name: name.to_owned(), why })?;
    // Grown by hand: what a vector leaves behind when it grows by itself is not wiped.
    let mut grown = Zeroizing::new(Vec::with_capacity(file.len() + name.len() + value.expose().len() + 2));
    grown.extend_from_slice(file);
    grown.extend_from_slice(name.as_bytes());
    grown.push(b'=');
    grown.extend_from_slice(value.expose().as_bytes());
    grown.push(b'\n');
    *file = grown;
    Ok(())
}
