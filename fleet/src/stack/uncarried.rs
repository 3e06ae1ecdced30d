//! Settings that the templates of this version do not support.

use crate::fleet::{Environment, Policy};

/// A note for each of these settings that an environment has.
pub(super) fn notes(environment: &Environment) -> Vec<String> {
    let settings = &environment.settings;
    let balancer = &settings.load_balancer;
    let said = [
        ("load_balancer.redirect_http: false", balancer.redirect_http == Some(false) && balancer.certificate.is_some()),
        ("queue.url", settings.queue.url.is_some()),
        ("on_rotation", !settings.on_rotation.is_empty()),
        ("deployment.policy: traffic_splitting", settings.deployment.policy() == Policy::TrafficSplitting),
    ];
    let name = &environment.key.name;
    let said = said.into_iter().filter(|(_, is_said)| *is_said);
    said.map(|(setting, _)| format!("{name}: `{setting}` has no effect yet: the templates of this version do not support it")).collect()
}
