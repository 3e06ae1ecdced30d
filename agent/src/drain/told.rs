//! What a drain tells of itself: each thing once, and again when something else was told in between.

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Told(String);

impl Told {
    /// What is waited for.
    pub(super) fn waiting(&mut self, what: &str) {
        if self.is_new(what) {
            log::info!("waiting for {what}");
        }
    }

    /// What does not work.
    pub(super) fn warn(&mut self, what: String) {
        if self.is_new(&what) {
            log::warn!("{what}");
        }
    }

    /// Whatever was told is told again when it comes again.
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
