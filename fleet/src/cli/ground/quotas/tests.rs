use super::*;
use crate::deployment::record::Capacity;
use crate::deployment::record::tests::goal;
use crate::fleet;

fn environment(settings: &str) -> Environment {
    let text = format!(
        "version: 1\napplication: shop\nreleases: s3://acme/\nenvironments:\n  prod:\n    tier: web\n    image: ami-1\n    \
         network: {{ vpc: vpc-1, subnets: [subnet-1, subnet-2] }}\n    document: web.yaml\n{settings}"
    );
    fleet::read("fleet.yaml", &text).fleet.environments.remove(0)
}

fn by(policy: Policy, desired: u32, max: u32) -> Goal {
    Goal { policy, capacity: Capacity { min: 1, desired, max }, ..goal("v2") }
}

fn demand(settings: &str, goal: &Goal, is_new: bool) -> Demand {
    Demand::of(&environment(settings), goal, is_new)
}

const PLAIN: &str = "    instances: { types: [m7i.xlarge], max: 20 }\n";

#[test]
fn a_policy_needs_what_it_launches_before_it_ends_any() {
    let more = |policy, desired, max| demand(PLAIN, &by(policy, desired, max), false).more;
    assert_eq!([more(Policy::Rolling, 8, 20), more(Policy::AllAtOnce, 8, 20), more(Policy::Immutable, 8, 20)], [0, 0, 8]);
    // 25% of them, and no more than there is room for.
    assert_eq!(
        [more(Policy::RollingWithBatch, 8, 20), more(Policy::RollingWithBatch, 8, 9), more(Policy::RollingWithBatch, 8, 8)],
        [2, 1, 0]
    );
    let new = demand(PLAIN, &by(Policy::Rolling, 0, 20), true);
    assert_eq!((new.desired, new.more), (1, 1), "the template creates at least one");
}

#[test]
fn a_share_is_counted_at_the_least() {
    let mixed = demand("    instances: { types: [m7i.xlarge], max: 20, spot: 50% }\n", &by(Policy::Immutable, 3, 20), false);
    assert_eq!([mixed.share(3, Market::OnDemand), mixed.share(3, Market::Spot), mixed.share(1, Market::Spot)], [1, 1, 0]);
    assert_eq!(mixed.peak(Market::Spot, 8, 4), 12);
}

#[test]
fn larger_instances_need_more_although_none_is_launched_first() {
    let rolling = demand(PLAIN, &by(Policy::Rolling, 4, 20), false);
    assert_eq!([rolling.peak(Market::OnDemand, 8, 4), rolling.peak(Market::OnDemand, 32, 4)], [16, 32]);
}

/// The message about a deployment of four instances of four vCPUs each, where others use 40 and it uses 16.
fn said(policy: Policy, is_new: bool, quota: u64) -> Option<String> {
    let environment = environment(PLAIN);
    let demand = Demand::of(&environment, &by(policy, 4, 20), is_new);
    let one = One { name: "m7i.xlarge", vcpus: 4, application: "shop", environment: &environment };
    let counted = Counted { own: if is_new { 0 } else { 16 }, others: 40 };
    let quota = Quota { code: "L-1216C47A".into(), name: "Running On-Demand Standard instances".into(), value: quota };
    let peak = demand.peak(Market::OnDemand, counted.own, one.vcpus);
    let failure = one.judge(&demand, &quota, counted, peak, "eu-central-1")?;
    assert_eq!(failure.exit, Exit::Document);
    Some(failure.to_string())
}

#[test]
fn what_does_not_fit_is_told_with_what_needs_less() {
    insta::assert_snapshot!(said(Policy::Immutable, false, 71).unwrap(), @r#"
    prod does not fit into the account's quota of vCPUs: the quota "Running On-Demand Standard instances" is 71 vCPUs in eu-central-1; 40 are used by others, 16 by prod now, and prod needs 32 at once, as m7i.xlarge of 4 each
      hint: deploy with `--policy rolling`, which does not launch additional instances, or raise the quota L-1216C47A in Service Quotas
    "#);
    assert_eq!(said(Policy::Immutable, false, 72), None);
    let batch = said(Policy::RollingWithBatch, false, 59).unwrap();
    assert!(batch.contains("lower `deployment.batch` in fleet.yaml, or deploy with `--policy rolling`"), "{batch}");
    assert_eq!(said(Policy::RollingWithBatch, false, 60), None);
    let new = said(Policy::Rolling, true, 50).unwrap();
    assert!(new.contains("40 are used by others, and prod needs 16 at once") && new.contains("lower `instances.min`"), "{new}");
}

#[test]
fn only_what_the_quota_counts_is_counted() {
    let environment = environment(PLAIN);
    let one = One { name: "m7i.xlarge", vcpus: 4, application: "shop", environment: &environment };
    let runs = |name: &str, market, environment: Option<&str>| Running {
        name: name.into(),
        vcpus: (name != "m7i.xlarge").then_some(2),
        market,
        application: environment.map(|_| "shop".into()),
        environment: environment.map(str::to_owned),
    };
    let running = [
        runs("m7i.xlarge", Market::OnDemand, Some("prod")),
        runs("c6g.large", Market::OnDemand, Some("jobs")),
        runs("t3.small", Market::OnDemand, None),
        runs("g5.xlarge", Market::OnDemand, None),
        runs("m7i.xlarge", Market::Spot, Some("prod")),
    ];
    let sizes = BTreeMap::from([("m7i.xlarge".to_owned(), 4)]);
    assert_eq!(one.count(&running, ("L-1216C47A", Market::OnDemand), &sizes), Counted { own: 4, others: 4 });
    assert_eq!(one.count(&running, ("L-34B43A08", Market::Spot), &sizes), Counted { own: 4, others: 0 });
}

#[test]
fn targets_are_counted_with_those_that_are_launched_first() {
    let quota = Quota { code: "L-A0D0B863".into(), name: "Targets per Target Group per Region".into(), value: 1000 };
    let environment = environment(PLAIN);
    let said = |policy, most| {
        let demand = Demand::of(&environment, &by(policy, 600, 2000), false);
        assert_eq!(u64::from(demand.runs + demand.more), most, "{policy:?}");
        too_many_targets(&environment, &demand, &quota, most, "eu-central-1").map(|failure| failure.to_string())
    };
    assert_eq!((said(Policy::Rolling, 600), said(Policy::RollingWithBatch, 750)), (None, None));
    insta::assert_snapshot!(said(Policy::Immutable, 1200).unwrap(), @r#"
    prod needs more targets than a load balancer may have: the quota "Targets per Target Group per Region" is 1000 in eu-central-1, and 1200 instances serve at once
      hint: deploy with `--policy rolling`, which does not launch additional instances, or raise the quota L-A0D0B863 in Service Quotas
    "#);
}

#[test]
fn what_a_creation_has_made_is_not_counted_again() {
    let in_status = |status: &str| Standing { status: status.to_owned(), ..Standing::default() };
    assert!(is_new(None));
    assert!(is_new(Some(&in_status("ROLLBACK_COMPLETE"))));
    assert!(!is_new(Some(&in_status("CREATE_IN_PROGRESS"))));
    let outputs = [("Group".to_owned(), "shop-prod-Group".to_owned())].into();
    assert!(!is_new(Some(&Standing { outputs, ..in_status("UPDATE_COMPLETE") })));
}
