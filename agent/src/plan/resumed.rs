//! What an application waits for after a reboot before the release that served last serves again. It does not wait for
//! the next release.

use super::Plan;
use super::unit::needed_by;

impl Plan {
    /// The units that a unit needs, except bundles and units that need these. For a unit that waits for the rest, this
    /// also includes files and mounts that need nothing but files, mounts and secrets: they may be missing since the
    /// reboot, as network file systems are. Mounts of volumes have already been restored.
    pub(crate) fn needed_to_resume(&self, unit: usize) -> Vec<usize> {
        let is_of = |at: usize, known: &dyn Fn(&str) -> bool| {
            let needed = needed_by(&[at], &self.units);
            needed.iter().flat_map(|at| &self.units[at].members).all(|member| known(self.nodes[*member].address.kind()))
        };
        let own = &self.units[unit];
        let needs = own.needs.iter().map(|need| need.unit).filter(|at| is_of(*at, &|kind| kind != "bundles"));
        let kind = |at: usize| self.nodes[self.units[at].members[0]].address.kind();
        let rest = (0..self.units.len()).filter(|at| own.waits_for_rest() && matches!(kind(*at), "files" | "mounts"));
        let rest = rest.filter(|at| is_of(*at, &|kind| matches!(kind, "files" | "mounts" | "secrets")));
        needs.chain(rest).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::document::BootDocument;
    use crate::document::source::Layers;

    fn needed(steps: &str) -> Vec<String> {
        let mut layers = Layers::default();
        layers.add_named("test", format!("#ingot\nversion: 1\n{steps}").as_bytes());
        let plan = Plan::compile(BootDocument::of(layers), &BTreeMap::new()).unwrap();
        let unit = plan.units.iter().position(|unit| plan.nodes[unit.members[0]].address.kind() == "applications").unwrap();
        let mut names: Vec<String> =
            plan.needed_to_resume(unit).into_iter().map(|at| plan.nodes[plan.units[at].members[0]].address.to_string()).collect();
        names.dedup();
        names
    }

    #[test]
    fn the_next_release_is_not_among_it() {
        let steps = "secrets: { db: { parameter: /db } }
bundles: { app: { s3: s3://shop/a.tar, into: /opt/a } }
commands: { migrate: { run: [/bin/migrate], after: [bundles.app] }, slow: { run: [/bin/slow] } }
files: { /run/key: { mode: '0600', content: '{{secrets.db}}' }, /etc/a: { content: '{{bundles.app.version}}' } }
volumes: { data: { from: { snapshot: snap-0a1b2c3d4e5f60718 }, filesystem: xfs } }
mounts: { /srv/data: { device: '{{volumes.data.device}}' }, /srv/shared: { device: 'files:/', type: nfs4 } }
";
        let shop = |more: &str| {
            format!("{steps}applications: {{ shop: {{ bundle: bundles.app, environment: {{ DB: '{{{{secrets.db}}}}' }} {more} }} }}\n")
        };
        assert_eq!(needed(&shop("")), ["secrets.db", "files./run/key", "mounts./srv/shared"]);
        assert_eq!(needed(&shop(", after: [commands.migrate, commands.slow]")), ["commands.slow", "secrets.db"]);
    }
}
