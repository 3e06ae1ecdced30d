//! What answers probes on a machine in memory, and the sockets that there are.

use std::collections::BTreeMap;

use crate::host::sockets::{Endpoint, Listener};

#[derive(Default)]
pub(super) struct Listeners {
    pub(super) units: BTreeMap<String, String>,
    pub(super) answers: BTreeMap<String, u16>,
    /// Sockets that accept connections, beside those that probes are answered by.
    pub(super) sockets: Vec<Listener>,
    pub(super) connections: BTreeMap<Endpoint, usize>,
}

impl Listeners {
    pub(super) fn bind(&mut self, at: &str, unit: &str) {
        self.units.insert(at.to_owned(), unit.to_owned());
    }

    pub(super) fn answer(&mut self, url: &str, status: u16) {
        self.answers.insert(url.to_owned(), status);
    }
}
