//! The secrets that a document reads although `secrets:` of fleet.yaml does not list them.

use ingot::desk::{Mistake, ReadSecret};

use crate::fleet::Environment;

/// A warning for each of these secrets. It is not a mistake, because the secret's own policy may let the role read it.
pub(super) fn unlisted(read: &[ReadSecret], environment: &Environment) -> Vec<Mistake> {
    let unlisted = read.iter().filter(|secret| !environment.settings.allows_secret(&secret.name));
    let warning = |ReadSecret { key, name }: &ReadSecret| {
        let message = format!("secrets.{key} of the document reads `{name}`, which `secrets` of {} does not list", environment.key.name);
        Mistake::at(environment.place("secrets"), message, format!("add `{name}` to `secrets`, so that instances may read it"))
    };
    unlisted.map(warning).collect()
}
