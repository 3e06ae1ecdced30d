//! Checks what must exist before an edge is created or updated: its subnets, its certificate, and, at its creation,
//! room in the account's quotas.
//!
//! The parts of a load balancer are not counted: an edge has at most two listeners, two target groups and six rules,
//! and the quotas are at least 50, 100 and 100.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html>

use super::desk::EdgeDesk;
use crate::aws::{counted, ec2};
use crate::cli::ground::applicant::Applicant;
use crate::cli::ground::certificate;
use crate::cli::ground::kind::{BALANCERS, Kind, SECURITY_GROUPS, STACKS, TARGET_GROUPS};
use crate::cli::ground::subnets::{Listed, unsuited};
use crate::deployment::course::Standing;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::stack::Account;

const LESS: &str = "delete one that nothing uses, remove the edge from `edges:` in fleet.yaml";

const OF_BALANCERS: Kind = Kind { plural: "load balancers", service: BALANCERS.0, code: BALANCERS.1, less: LESS };
const OF_TARGET_GROUPS: Kind = Kind { plural: "target groups", service: TARGET_GROUPS.0, code: TARGET_GROUPS.1, less: LESS };

/// What the stack of an edge creates. An update creates no more of these.
const MADE: [(&str, u64); 3] =
    [("AWS::ElasticLoadBalancingV2::LoadBalancer", 1), ("AWS::ElasticLoadBalancingV2::TargetGroup", 2), ("AWS::EC2::SecurityGroup", 1)];

/// Checks that an edge can be what fleet.yaml says. Without `standing`, it is created.
pub(super) async fn holds(desk: &EdgeDesk, standing: Option<&Standing>, account: &Account) -> Result<(), Failure> {
    let name = format!("the edge {}", desk.name());
    let applicant = Applicant { aws: &desk.aws, name: &name, kind: "edge" };
    let arn = desk.edge().settings.load_balancer.certificate.as_ref().map(|arn| arn.as_str());
    let (found, certificate, room) = tokio::join!(
        found(desk, applicant, standing),
        certificate::holds(applicant, arn, account),
        suffices(desk, applicant, standing.is_none())
    );
    found.and(certificate).and(room)
}

async fn found(desk: &EdgeDesk, applicant: Applicant<'_>, standing: Option<&Standing>) -> Result<(), Failure> {
    let settings = &desk.edge().settings;
    let (field, subnets) = settings.subnets();
    let names: Vec<&str> = subnets.iter().map(|subnet| subnet.as_str()).collect();
    let found = ec2::subnets(applicant.aws, &names).await?;
    // The VPC takes effect at creation only.
    let stays = standing.and_then(|standing| standing.parameter("Vpc"));
    let vpc = stays.or(settings.network.vpc.as_ref().map(|vpc| vpc.as_str())).unwrap_or_default();
    if let Some(other) = found.iter().find(|subnet| subnet.vpc != vpc) {
        let (id, its, name) = (&other.id, &other.vpc, applicant.name);
        return Err(match stays {
            Some(_) => Failure::new(Exit::Document, format!("{id} is a subnet of {its}, but {name} stays in {vpc}"))
                .hint(format!("list subnets of {vpc} in fleet.yaml, or create another edge in {its}")),
            None => Failure::new(Exit::Document, format!("{id} is a subnet of {its}, but `network.vpc` of {name} is {vpc}"))
                .hint("correct `network.vpc` or the subnets in fleet.yaml"),
        });
    }
    unsuited(applicant.name, &[Listed { field, named: names, of_balancer: true }], &found).map_or(Ok(()), Err)
}

async fn suffices(desk: &EdgeDesk, applicant: Applicant<'_>, is_new: bool) -> Result<(), Failure> {
    if !is_new {
        return Ok(());
    }
    let EdgeDesk { stacks, groups, .. } = desk;
    let [(_, of_balancers), (_, of_targets), (_, of_groups)] = MADE;
    let (stacks, balancers, targets, groups) = tokio::join!(
        STACKS.fits(applicant, 1, stacks.count()),
        OF_BALANCERS.fits(applicant, of_balancers, groups.balancers()),
        OF_TARGET_GROUPS.fits(applicant, of_targets, groups.target_groups()),
        SECURITY_GROUPS.fits(applicant, of_groups, counted::security_groups(&desk.aws)),
    );
    stacks.and(balancers).and(targets).and(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack;

    #[test]
    fn an_edge_needs_what_its_template_creates() {
        let read = crate::fleet::read(
            "fleet.yaml",
            "version: 1\napplication: shop\nreleases: s3://acme/\ndefaults:\n  network: { vpc: vpc-0a1b, subnets: [subnet-0a1b, \
             subnet-0c2d] }\nedges:\n  main: {}\nenvironments:\n  prod: { tier: web, image: ami-0123456789abcdef0, document: boot.yaml, \
             instances: { types: [m7g.large] } }\n",
        );
        assert_eq!(read.mistakes, []);
        let body = stack::edge("shop", &read.fleet.edges[0]).body;
        let made = |kind: &str| body.lines().filter(|line| line.trim() == format!("Type: {kind}")).count() as u64;
        for (kind, number) in MADE {
            assert_eq!(made(kind), number, "{kind}");
        }
        // No other resource of the template has a quota that is counted.
        assert_eq!(made("AWS::IAM::Role") + made("AWS::AutoScaling::AutoScalingGroup") + made("AWS::EC2::EIP"), 0);
        assert!(made("AWS::ElasticLoadBalancingV2::Listener") <= 50 && made("AWS::ElasticLoadBalancingV2::ListenerRule") <= 100);
    }
}
