//! What answers probes on a machine in memory.

use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Listeners {
    pub(super) units: BTreeMap<String, String>,
    pub(super) answers: BTreeMap<String, u16>,
}

impl Listeners {
    pub(super) fn bind(&mut self, at: &str, unit: &str) {
        self.units.insert(at.to_owned(), unit.to_owned());
    }

    pub(super) fn answer(&mut self, url: &str, status: u16) {
        self.answers.insert(url.to_owned(), status);
    }
}
