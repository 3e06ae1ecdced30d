//! Option settings by namespace and name, from sources of different precedence.

use std::collections::BTreeMap;

use ingot::desk::Place;

/// One option and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    pub(crate) namespace: String,
    /// The resource it belongs to, where a namespace has several: the name of a scheduled action.
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) place: Place,
}

/// A set of options. The value added last wins.
#[derive(Debug, Default)]
pub(crate) struct Options(BTreeMap<(String, String, String), Setting>);

impl Options {
    pub(crate) fn add(&mut self, setting: Setting) {
        let key = (setting.namespace.clone(), setting.resource.clone(), setting.name.clone());
        self.0.insert(key, setting);
    }

    /// Removes and returns an option. Names are spelled as by AWS. An empty value counts as unset.
    pub(super) fn take(&mut self, namespace: &str, name: &str) -> Option<Setting> {
        let key = self.0.iter().find(|(_, one)| one.namespace == namespace && one.name == name).map(|(key, _)| key.clone())?;
        self.0.remove(&key).filter(|setting| !setting.value.trim().is_empty())
    }

    /// Removes and returns all options of a namespace, ordered by resource and name.
    pub(super) fn take_all(&mut self, namespace: &str) -> Vec<Setting> {
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|((of, _, _), _)| of == namespace);
        self.0 = left;
        let taken: BTreeMap<_, _> = taken;
        taken.into_values().filter(|setting| !setting.value.trim().is_empty()).collect()
    }

    /// Returns whether any option of this namespace is set.
    pub(super) fn has(&self, namespace: &str) -> bool {
        self.0.values().any(|setting| setting.namespace == namespace && !setting.value.trim().is_empty())
    }

    /// Returns whether this option is set.
    pub(super) fn has_option(&self, namespace: &str, name: &str) -> bool {
        self.0.values().any(|one| one.namespace == namespace && one.name == name && !one.value.trim().is_empty())
    }

    /// Returns the remaining options.
    pub(super) fn into_rest(self) -> impl Iterator<Item = Setting> {
        self.0.into_values().filter(|setting| !setting.value.trim().is_empty())
    }
}
