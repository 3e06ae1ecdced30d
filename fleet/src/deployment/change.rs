//! What an update of a stack would change, resource by resource, and whether it would destroy data. Pure.

use serde::Serialize;

use super::record::Policy;

/// Resource types that hold what no deployment may destroy.
const DATA: [(&str, &str); 5] = [
    ("AWS::EC2::EIP", "the address"),
    ("AWS::ElastiCache::ReplicationGroup", "the cache"),
    ("AWS::RDS::DBInstance", "the database"),
    ("AWS::S3::Bucket", "the bucket"),
    ("AWS::SQS::Queue", "the queue"),
];

/// Properties that change in place, although CloudFormation's schema says that a change may replace the resource.
///
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.MultiAZ.Migrating.html>
const IN_PLACE: [(&str, &str); 1] = [("AWS::RDS::DBInstance", "MultiAZ")];

const GROUP: &str = "AWS::AutoScaling::AutoScalingGroup";

/// Properties of a group whose change replaces its instances.
///
/// Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatepolicy.html>
const OF_INSTANCES: [&str; 3] = ["LaunchTemplate", "MixedInstancesPolicy", "VPCZoneIdentifier"];

/// What an update does to one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// Logical ID in the template.
    pub(crate) resource: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Physical ID in AWS, if the resource exists.
    pub(crate) id: Option<String>,
    pub(crate) effect: Effect,
    /// The properties that change.
    pub(crate) properties: Vec<Property>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effect {
    Add,
    Change,
    /// A new resource replaces it.
    Replace,
    /// CloudFormation decides during the update whether to replace it.
    MayReplace,
    Remove,
}

impl Effect {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Change => "change",
            Self::Replace => "replace",
            Self::MayReplace => "may replace",
            Self::Remove => "remove",
        }
    }
}

/// A property, or an attribute such as `Tags`, and whether its change replaces the resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Property {
    pub(crate) name: String,
    pub(crate) replaces: Replaces,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Replaces {
    Never,
    Perhaps,
    Always,
}

impl Change {
    /// Returns the data that the resource holds, in words, or `None` if it holds none.
    pub(crate) fn data(&self) -> Option<&'static str> {
        DATA.iter().find(|(kind, _)| *kind == self.kind).map(|(_, word)| *word)
    }

    /// Returns whether data would or may be destroyed.
    pub(crate) fn takes_data(&self) -> bool {
        self.data().is_some()
            && match self.effect {
                Effect::Add | Effect::Change => false,
                Effect::Remove | Effect::Replace => true,
                Effect::MayReplace => self.culprits().next().is_some() || self.properties.is_empty(),
            }
    }

    /// Returns the properties that cause the replacement.
    pub(crate) fn culprits(&self) -> impl Iterator<Item = &str> {
        let is_culprit = |property: &&Property| {
            let is_in_place = IN_PLACE.contains(&(self.kind.as_str(), property.name.as_str()));
            property.replaces == Replaces::Always || (property.replaces == Replaces::Perhaps && !is_in_place)
        };
        self.properties.iter().filter(is_culprit).map(|property| property.name.as_str())
    }

    /// Returns whether the instances of the group are replaced.
    fn renews(&self) -> bool {
        self.kind == GROUP
            && (self.effect == Effect::Replace || self.properties.iter().any(|property| OF_INSTANCES.contains(&property.name.as_str())))
    }
}

/// Returns whether instances are replaced.
pub(crate) fn renews_instances(changes: &[Change]) -> bool {
    changes.iter().any(Change::renews)
}

/// Decides by the policy what happens to groups. CloudFormation reports that every group with a new launch template may
/// be replaced, but replaces it only under the policy immutable.
pub(crate) fn settle(changes: &mut [Change], policy: Policy) {
    for change in changes.iter_mut().filter(|change| change.kind == GROUP && change.effect == Effect::MayReplace) {
        change.effect = if policy == Policy::Immutable { Effect::Replace } else { Effect::Change };
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn change(kind: &str, effect: Effect, properties: &[(&str, Replaces)]) -> Change {
        let resource = kind.rsplit(':').next().unwrap_or(kind).to_owned();
        let property = |(name, replaces): &(&str, Replaces)| Property { name: (*name).to_owned(), replaces: *replaces };
        let properties = properties.iter().map(property).collect();
        Change { resource, kind: kind.to_owned(), id: Some("there".into()), effect, properties }
    }

    #[test]
    fn destroyed_data_is_detected() {
        use Effect::{Add, MayReplace, Remove, Replace};
        use Replaces::{Always, Never, Perhaps};
        let database = "AWS::RDS::DBInstance";
        for (kind, effect, properties, takes) in [
            (database, Remove, &[][..], true),
            (database, Replace, &[("DBName", Always)], true),
            (database, Effect::Change, &[("DBInstanceClass", Never)], false),
            (database, Add, &[], false),
            ("AWS::SQS::Queue", Replace, &[("FifoQueue", Always)], true),
            ("AWS::EC2::EIP", Remove, &[], true),
            ("AWS::S3::Bucket", Remove, &[], true),
            ("AWS::ElastiCache::ReplicationGroup", Replace, &[("Engine", Always)], true),
            (GROUP, Replace, &[("LaunchTemplate", Perhaps)], false),
            ("AWS::ElasticLoadBalancingV2::TargetGroup", Replace, &[("Port", Always)], false),
            // Conditional: the engine, a subnet group that may be replaced, no property named at all.
            (database, MayReplace, &[("Engine", Perhaps)], true),
            (database, MayReplace, &[("DBSubnetGroupName", Always), ("MultiAZ", Perhaps)], true),
            (database, MayReplace, &[], true),
            (database, MayReplace, &[("MultiAZ", Perhaps), ("DBInstanceClass", Never)], false),
        ] {
            let found = change(kind, effect, properties);
            assert_eq!(found.takes_data(), takes, "{found:?}");
        }
        let several = change(database, MayReplace, &[("Engine", Perhaps), ("MultiAZ", Perhaps), ("DBInstanceClass", Never)]);
        assert_eq!(several.culprits().collect::<Vec<_>>(), ["Engine"]);
    }

    #[test]
    fn the_policy_decides_whether_the_group_is_replaced() {
        let launch = ("LaunchTemplate", Replaces::Perhaps);
        for (policy, effect) in [
            (Policy::Immutable, Effect::Replace),
            (Policy::Rolling, Effect::Change),
            (Policy::AllAtOnce, Effect::Change),
            (Policy::RollingWithBatch, Effect::Change),
        ] {
            let mut changes = [change(GROUP, Effect::MayReplace, &[launch]), change("AWS::RDS::DBInstance", Effect::MayReplace, &[])];
            settle(&mut changes, policy);
            assert_eq!(changes.each_ref().map(|change| change.effect), [effect, Effect::MayReplace], "{policy:?}");
            assert!(renews_instances(&changes));
        }
        assert!(!renews_instances(&[change(GROUP, Effect::Change, &[("MaxSize", Replaces::Never), ("Tags", Replaces::Never)])]));
    }
}
