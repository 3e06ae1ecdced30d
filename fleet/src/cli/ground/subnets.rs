//! Whether subnets suit a group and a load balancer.

use std::collections::BTreeSet;

use crate::aws::ec2::Subnet;
use crate::exit::Exit;
use crate::failure::Failure;

/// Subnets as fleet.yaml names them.
pub(crate) struct Listed<'a> {
    /// The setting.
    pub(crate) field: &'a str,
    /// Their IDs.
    pub(crate) named: Vec<&'a str>,
    pub(crate) of_balancer: bool,
}

/// Why subnets cannot be used: those of each list have to be in two zones, and a load balancer takes one of each zone,
/// see <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_SetSubnets.html>.
pub(crate) fn unsuited(name: &str, lists: &[Listed<'_>], found: &[Subnet]) -> Option<Failure> {
    lists.iter().find_map(|list| {
        let own = || found.iter().filter(|subnet| list.named.contains(&subnet.id.as_str()));
        all_in_one_zone(name, list, own()).or_else(|| list.of_balancer.then(|| twice_in_a_zone(name, list, own()))?)
    })
}

fn all_in_one_zone<'a>(name: &str, list: &Listed<'_>, own: impl Iterator<Item = &'a Subnet>) -> Option<Failure> {
    let zones: BTreeSet<&str> = own.map(|subnet| subnet.zone.as_str()).collect();
    let zone = zones.first().filter(|_| zones.len() == 1)?;
    let field = list.field;
    let message = format!("all subnets in `{field}` of {name} are in {zone}, expected at least two zones");
    Some(Failure::new(Exit::Document, message).hint(format!("add a subnet in another zone to `{field}` in fleet.yaml")))
}

fn twice_in_a_zone<'a>(name: &str, list: &Listed<'_>, own: impl Iterator<Item = &'a Subnet>) -> Option<Failure> {
    let own: Vec<&Subnet> = own.collect();
    let (at, second) = own.iter().enumerate().find(|(at, one)| own[..*at].iter().any(|other| other.zone == one.zone))?;
    let first = own[..at].iter().find(|one| one.zone == second.zone)?;
    let (field, zone) = (list.field, &second.zone);
    let message = format!(
        "{} and {} in `{field}` of {name} are both in {zone}, but a load balancer takes only one subnet of each zone",
        first.id, second.id
    );
    let hint = match field {
        "network.subnets" => "list one subnet of each zone in `network.load_balancer_subnets` in fleet.yaml".to_owned(),
        _ => format!("remove one of them from `{field}` in fleet.yaml"),
    };
    Some(Failure::new(Exit::Document, message).hint(hint))
}
