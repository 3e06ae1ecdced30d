//! `secrets:` and `on_rotation:` — which secrets instances may read, and what happens when one is rotated.

use std::collections::BTreeMap;

use ingot::desk::Objection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::site::Site;
use crate::fleet::words::has_form;

/// What happens after a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum OnRotation {
    /// Instances boot again, batch by batch.
    Boot,
    /// The environment is deployed again.
    Deploy,
    /// Only instances that boot later read the new secret.
    Nothing,
}

pub(super) fn check(secrets: &[String], on_rotation: &BTreeMap<String, OnRotation>, site: &mut Site<'_>) {
    for (at, pattern) in secrets.iter().enumerate() {
        if let Err(objection) = well_formed(pattern) {
            site.object(&format!("secrets.{at}"), objection);
        }
    }
    if site.is_broken("secrets") {
        return;
    }
    for name in on_rotation.keys().filter(|name| !secrets.iter().any(|pattern| covers(pattern, name))) {
        let message = format!("`{name}` is not among `secrets`, so no instance may read it");
        site.wrong_key(&format!("on_rotation.{name}"), message, format!("add `{name}` to `secrets`, or correct the name"));
    }
}

/// Returns whether instances may read a secret, a parameter, or a tree of parameters, which is a path with a slash
/// appended.
pub(super) fn allow(secrets: &[String], name: &str) -> bool {
    secrets.iter().any(|pattern| covers(pattern, name) || covers(pattern, &format!("{name}/")))
}

/// Checks that a pattern names secrets, but not every secret of the account.
fn well_formed(pattern: &str) -> Result<(), Objection> {
    let wrong = |message: String, hint: &str| Err(Objection::new(message, hint));
    if pattern.starts_with("arn:") {
        return wrong(
            "secrets are listed by name, in the account and the region of the environment".into(),
            "write the name instead of the ARN",
        );
    }
    if matches!(pattern, "*" | "/*" | "") {
        return wrong(
            format!("`{pattern}` lets instances read every secret of the account"),
            "write a name or a prefix, such as prod/shop/*",
        );
    }
    if pattern.trim_end_matches('*').contains('*') || pattern.ends_with("**") {
        return wrong(format!("`{pattern}` has a `*` before its end"), "write one `*`, as the last character");
    }
    let characters = if pattern.starts_with('/') { "[A-Za-z0-9/_.-]+\\*?" } else { "[A-Za-z0-9/_+=.@!-]+\\*?" };
    if !has_form(pattern, characters) {
        let hint = "write only letters, digits and / _ . -; names in Secrets Manager may also contain + = @";
        return wrong(format!("`{pattern}` is not the name of a secret or a parameter"), hint);
    }
    Ok(())
}

fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}
