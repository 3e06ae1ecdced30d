//! The credentials of a database: a secret that is a JSON object with `username`, `password` and maybe `dbname`, as RDS
//! itself keeps them.

use serde_json::Value;

use super::fields::Database;
use super::trouble::{DatabaseError, Unsuitable};
use crate::address::Address;
use crate::net::databases::Login;
use crate::step::Context;
use crate::text::SecretText;

impl Database {
    /// Whom to log in as. `None` if the document does not say, or in a rehearsal that does not know the secret.
    pub(super) fn login(&self, cx: &Context<'_>) -> Result<Option<Login>, DatabaseError> {
        let Some(address) = &self.credentials else { return Ok(None) };
        let wrong = |why: &str| Unsuitable::Secret { secret: address.clone(), why: why.to_owned() };
        let Some(secret) = cx.world.known.output(address) else { return Err(wrong("is not there").into()) };
        if cx.is_made_up(address) || secret.get(&[]).is_none_or(Value::is_null) {
            return Ok(None);
        }
        if !secret.get(&[]).is_some_and(Value::is_object) {
            return Err(wrong("is not a JSON object").into());
        }
        let field = |name: &str| match secret.get(&[name.to_owned()]) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(SecretText::from(text.as_str()))),
            Some(_) => Err(wrong(&format!("has something else than text for `{name}`"))),
        };
        let needed = |name: &str| field(name)?.ok_or_else(|| wrong(&format!("has no `{name}`")));
        Ok(Some(Login { user: needed("username")?, password: needed("password")?, database: field("dbname")? }))
    }

    /// The secret with the credentials, of a document that has one.
    pub(super) fn secret(&self) -> Option<&Address> {
        self.credentials.as_ref()
    }
}
