//! Option settings, each by namespace and name, from sources of different rank.

use std::collections::BTreeMap;

use ingot::desk::Place;

/// One option and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    pub(crate) namespace: String,
    /// What it is of, where a namespace has several: the name of a scheduled action.
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) place: Place,
}

/// All of them. The value that was added last counts.
#[derive(Debug, Default)]
pub(crate) struct Options(BTreeMap<(String, String, String), Setting>);

impl Options {
    pub(crate) fn add(&mut self, setting: Setting) {
        let key = (setting.namespace.clone(), setting.resource.clone(), setting.name.clone());
        self.0.insert(key, setting);
    }

    /// Takes one out. Names are as AWS spells them. One without a value is as good as none.
    pub(super) fn take(&mut self, namespace: &str, name: &str) -> Option<Setting> {
        let key = self.0.iter().find(|(_, one)| one.namespace == namespace && one.name == name).map(|(key, _)| key.clone())?;
        self.0.remove(&key).filter(|setting| !setting.value.trim().is_empty())
    }

    /// Takes out all of a namespace, in the order of resources and names.
    pub(super) fn take_all(&mut self, namespace: &str) -> Vec<Setting> {
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|((of, _, _), _)| of == namespace);
        self.0 = left;
        let taken: BTreeMap<_, _> = taken;
        taken.into_values().filter(|setting| !setting.value.trim().is_empty()).collect()
    }

    /// Whether any setting is of such a namespace.
    pub(super) fn has(&self, namespace: &str) -> bool {
        self.0.values().any(|setting| setting.namespace == namespace && !setting.value.trim().is_empty())
    }

    /// Whether this one is set.
    pub(super) fn has_option(&self, namespace: &str, name: &str) -> bool {
        self.0.values().any(|one| one.namespace == namespace && one.name == name && !one.value.trim().is_empty())
    }

    /// What is left.
    pub(super) fn into_rest(self) -> impl Iterator<Item = Setting> {
        self.0.into_values().filter(|setting| !setting.value.trim().is_empty())
    }
}
