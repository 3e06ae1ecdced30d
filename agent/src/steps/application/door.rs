//! Where an application is reached by HTTP on this machine, for consumers such as a worker.

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

/// The field of an application's outputs that only workers see.
pub(super) const FIELD: &str = "door";

/// Where an application is reached by HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Door {
    /// The port that works whichever release serves: the proxy's if releases overlap.
    pub(crate) port: u16,
    /// The ports of its two slots, and the link whose target's name is the slot that serves.
    pub(crate) slots: Option<(PathBuf, [u16; 2])>,
    /// The path of the readiness check.
    pub(crate) ready: Option<String>,
    /// Whether a container engine accepts connections on the port, even while nothing listens inside the container.
    pub(crate) published: bool,
}

/// Reads the door from an application's outputs. In a dry run possibly only its port is known.
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
    /// The value that [`door`] reads, for a generation that is reached at `port`.
    pub(super) fn door(&self, generation: &Generation, port: u16, cx: &Context<'_>) -> Result<Value, TemplateError> {
        let overlaps = self.overlap().covers(WEB);
        let speaks_http = generation.php.is_none();
        // php-fpm itself has the port and does not speak HTTP; nginx does.
        let port = if speaks_http || overlaps { Some(port) } else { self.proxy.plain_port() };
        let ready = self.ready.http.as_ref().filter(|path| !is_secret(path)).map(|path| cx.render(path)).transpose()?;
        let published = generation.container.is_some() || generation.composition.is_some();
        let ready = ready.map(|path| path.expose().to_owned());
        Ok(json!({ "port": port, "overlaps": overlaps && speaks_http, "ready": ready, "published": published }))
    }
}
