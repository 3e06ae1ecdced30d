//! Where an application is reached by HTTP on this machine, for what feeds it, such as a worker.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::environment::is_secret;
use super::fields::Application;
use super::generation::Generation;
use super::procfile::WEB;
use super::proxy::Place;
use super::slot::Slot;
use crate::step::Context;
use crate::template::{Scope, TemplateError};

/// The field of what an application offers that others than workers do not see.
pub(super) const FIELD: &str = "door";

/// Where an application is reached by HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Door {
    /// Where it is reached whichever release serves: by way of the proxy if releases overlap.
    pub(crate) port: u16,
    /// Where its two slots listen themselves, and the link that ends in the name of the one that serves.
    pub(crate) slots: Option<(PathBuf, [u16; 2])>,
    /// The path that proves that it is ready.
    pub(crate) ready: Option<String>,
    /// Whether a container engine accepts connections in its place, also while no one listens inside.
    pub(crate) published: bool,
}

/// The door in what an application offers. In a rehearsal maybe no more than its port is known.
pub(crate) fn door(application: &str, offers: &Scope) -> Option<Door> {
    let field = |path: &[&str]| offers.get(&path.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>());
    let port = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
    let own = field(&["port"]).and_then(port)?;
    let overlaps = field(&[FIELD, "overlaps"]).and_then(Value::as_bool).unwrap_or(false);
    Some(Door {
        port: match field(&[FIELD, "port"]) {
            Some(found) => port(found)?,
            None => own,
        },
        slots: overlaps.then(|| (Place::Current(application).path(), Slot::BOTH.map(|slot| slot.port(own, true)))),
        ready: field(&[FIELD, "ready"]).and_then(Value::as_str).map(str::to_owned),
        published: field(&[FIELD, "published"]).and_then(Value::as_bool).unwrap_or(false),
    })
}

impl Application {
    /// What [`door`] reads, of a generation that is reached at `port`.
    pub(super) fn door(&self, generation: &Generation, port: u16, cx: &Context<'_>) -> Result<Value, TemplateError> {
        let overlaps = self.overlap().covers(WEB);
        let speaks_http = generation.php.is_none();
        // php-fpm has the port itself, and speaks HTTP to no one: nginx does.
        let port = if speaks_http || overlaps { Some(port) } else { self.proxy.plain_port() };
        let ready = self.ready.http.as_ref().filter(|path| !is_secret(path)).map(|path| cx.render(path)).transpose()?;
        let published = generation.container.is_some() || generation.composition.is_some();
        let ready = ready.map(|path| path.expose().to_owned());
        Ok(json!({ "port": port, "overlaps": overlaps && speaks_http, "ready": ready, "published": published }))
    }
}
