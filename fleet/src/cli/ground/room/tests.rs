use super::*;
use crate::fleet;
use crate::stack::{self, Content};

/// The needs of an environment with these lines, and what its template creates.
async fn needs(lines: &str) -> (Needs, Vec<Content>) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("web.yaml"), "#ingot\nversion: 1\n").unwrap();
    let text = format!(
        "version: 1\napplication: shop\nreleases: s3://acme/\nenvironments:\n  prod:\n    image: ami-0123456789abcdef0\n    document: \
         web.yaml\n{lines}"
    );
    let read = fleet::read("fleet.yaml", &text);
    let environment = &read.fleet.environments[0];
    let (stack, findings) = stack::of(&read.fleet, environment, directory.path()).await;
    assert_eq!((read.mistakes.len(), findings.mistakes.len()), (0, 0), "{:?} {:?}", read.mistakes, findings.mistakes);
    (Needs::of(environment, None), stack.unwrap().contents)
}

const NETWORK: &str = "    network: { vpc: vpc-1a2b3c4d, subnets: [subnet-1a2b3c4d, subnet-2a2b3c4d] }\n";
const INSTANCES: &str = "    instances: { types: [m7i.large], min: 2, max: 4 }\n";
const DATA: &str = "    database: { class: db.t4g.micro, storage_gib: 100 }\n    cache: { node: cache.t4g.small, replicas: 2 }\n";

#[tokio::test(flavor = "current_thread")]
async fn an_environment_needs_what_its_template_creates() {
    let single = "    tier: web\n    mode: single_instance\n    network: { vpc: vpc-1a2b3c4d, subnets: [subnet-1a2b3c4d] }\n    instances: \
                  { types: [m7i.large] }\n";
    for (lines, security_groups) in [
        (format!("    tier: web\n{NETWORK}{INSTANCES}"), 2),
        (format!("    tier: web\n{NETWORK}{INSTANCES}{DATA}"), 4),
        (format!("    tier: web\n{NETWORK}{INSTANCES}    refresh: weekly\n"), 2),
        (format!("    tier: worker\n{NETWORK}{INSTANCES}    queue: {{ visibility: 5m }}\n"), 1),
        (single.to_owned(), 1),
        // Behind an edge, which has the load balancer and its security group.
        (format!("    tier: web\n{NETWORK}{INSTANCES}    load_balancer: {{ edge: main, slot: a }}\nedges:\n  main:\n{NETWORK}"), 1),
    ] {
        let (needs, contents) = needs(&lines).await;
        let made = |kind: &str| contents.iter().filter(|one| one.kind == kind).count() as u64;
        assert_eq!(needs.security_groups, made("AWS::EC2::SecurityGroup"), "{lines}");
        assert_eq!(needs.security_groups, security_groups, "{lines}");
        assert_eq!(needs.roles, made("AWS::IAM::Role"), "{lines}");
        assert_eq!(needs.databases, made("AWS::RDS::DBInstance"), "{lines}");
        assert_eq!(needs.databases, made("AWS::RDS::DBSubnetGroup"), "{lines}");
        assert_eq!(needs.cache_nodes > 0, made("AWS::ElastiCache::ReplicationGroup") > 0, "{lines}");
        assert_eq!(needs.stacks, 1, "{lines}");
    }
    let (with_data, _) = needs(&format!("    tier: web\n{NETWORK}{INSTANCES}{DATA}")).await;
    assert_eq!((with_data.storage_gib, with_data.cache_nodes, with_data.of_an_instance), (100, 3, 1));
}

fn environment(lines: &str) -> Environment {
    let groups = [1, 2, 3, 4, 5].map(|number| format!("sg-1a2b3c4{number}")).join(", ");
    let text = format!(
        "version: 1\napplication: shop\nreleases: s3://acme/\nenvironments:\n  prod:\n    tier: web\n    image: ami-1\n    document: \
         web.yaml\n    network: {{ vpc: vpc-1a2b3c4d, subnets: [subnet-1a2b3c4d, subnet-2a2b3c4d], security_groups: [{groups}] }}\n{lines}"
    );
    fleet::read("fleet.yaml", &text).fleet.environments.remove(0)
}

fn stands(outputs: &[&str], gib: &str) -> Standing {
    let outputs = outputs.iter().map(|name| ((*name).to_owned(), "there".to_owned())).collect();
    let parameters = [("DatabaseStorageGib".to_owned(), gib.to_owned())].into();
    Standing { outputs, parameters, ..Standing::default() }
}

#[test]
fn existing_resources_are_not_counted_again() {
    let environment = environment(DATA);
    let all = Needs::of(&environment, Some(&stands(&["Group", "Database", "Cache"], "100")));
    assert_eq!(all, Needs { of_an_instance: 6, ..Needs::default() });
    let larger = Needs::of(&environment, Some(&stands(&["Group", "Database", "Cache"], "80")));
    assert_eq!(larger, Needs { storage_gib: 20, ..all.clone() });
    let added = Needs::of(&environment, Some(&stands(&["Group"], "20")));
    assert_eq!(added, Needs { security_groups: 2, databases: 1, storage_gib: 100, cache_nodes: 3, ..all });
    let refreshed = self::environment("    refresh: daily\n");
    let roles = |at: &str| {
        let mut standing = stands(&["Group"], "20");
        standing.parameters.insert("Refresh".into(), at.into());
        Needs::of(&refreshed, Some(&standing)).roles
    };
    assert_eq!((roles(""), roles("rate(7 days)")), (1, 0));
    // What an operation that goes on creates is counted as used already, or will be.
    for status in ["CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS", "DELETE_IN_PROGRESS"] {
        let busy = Standing { status: status.to_owned(), ..stands(&[], "20") };
        assert_eq!(Needs::of(&environment, Some(&busy)), Needs::default(), "{status}");
    }
    // A stack whose creation failed is deleted before the next creation.
    let rolled_back = Needs::of(&environment, Some(&stands(&[], "100")));
    assert_eq!((rolled_back.stacks, rolled_back.security_groups, rolled_back.roles), (0, 4, 1));
}

#[test]
fn the_quota_of_rds_that_is_too_small_is_found() {
    let needs = Needs { databases: 1, storage_gib: 100, ..Needs::default() };
    let found = |instances, groups, gib| {
        let share = |used| Share { used, most: 40 };
        let storage = Share { used: gib, most: 1000 };
        BTreeMap::from([
            ("DBInstances".to_owned(), share(instances)),
            ("DBSubnetGroups".to_owned(), share(groups)),
            ("AllocatedStorage".to_owned(), storage),
        ])
    };
    let code = |found| needs.of_databases(&found).map(|(kind, more, ..)| (kind.code, more));
    assert_eq!(code(found(39, 39, 900)), None);
    assert_eq!(code(found(40, 40, 900)), Some(("L-7B6409FD", 1)));
    assert_eq!(code(found(39, 40, 901)), Some(("L-48C6BF61", 1)));
    assert_eq!(code(found(39, 39, 901)), Some(("L-7ADDB58A", 100)));
    assert_eq!(code(BTreeMap::new()), None, "RDS returns no quota");
}

#[test]
fn too_many_security_groups_of_an_instance_are_told() {
    let (_, code) = OF_AN_INTERFACE;
    let quota = Quota { code: code.to_owned(), name: "Security groups per network interface".to_owned(), value: 5 };
    insta::assert_snapshot!(too_many_on_an_interface("prod", "eu-central-1", &quota, 6).unwrap(), @r#"
    each instance of prod would have 6 security groups, one of them from its stack: the quota "Security groups per network interface" is 5 in eu-central-1
      hint: list fewer `network.security_groups` in fleet.yaml, or raise the quota L-2AFB9258 in Service Quotas
    "#);
    assert!(too_many_on_an_interface("prod", "eu-central-1", &quota, 5).is_none());
}
