//! The log lines of a drain: each is written once, and again only after a different one.

/// The last line.
#[derive(Debug, Default)]
pub(super) struct Told(String);

impl Told {
    /// Logs what the drain waits for.
    pub(super) fn waiting(&mut self, what: &str) {
        if self.is_new(what) {
            log::info!("waiting for {what}");
        }
    }

    /// Logs what does not work.
    pub(super) fn warn(&mut self, what: String) {
        if self.is_new(&what) {
            log::warn!("{what}");
        }
    }

    /// Forgets the last line, so that it is logged again when it recurs. Returns whether there was one.
    pub(super) fn forget(&mut self) -> bool {
        !std::mem::take(&mut self.0).is_empty()
    }

    fn is_new(&mut self, what: &str) -> bool {
        let is_new = self.0 != what;
        if is_new {
            what.clone_into(&mut self.0);
        }
        is_new
    }
}
