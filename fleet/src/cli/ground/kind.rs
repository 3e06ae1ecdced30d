//! Kinds of resources whose number a quota limits.

use super::applicant::Applicant;
use crate::aws::quotas::{Quota, quota};
use crate::cli::advice::advised;
use crate::exit::Exit;
use crate::failure::Failure;

pub(super) const UNKNOWN: &str = "a quota was not checked";

/// The service and the code of a quota.
///
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html>
pub(in crate::cli) const BALANCERS: (&str, &str) = ("elasticloadbalancing", "L-53DA6B97");
pub(in crate::cli) const TARGET_GROUPS: (&str, &str) = ("elasticloadbalancing", "L-B22855CB");

/// A kind of resource with a quota.
pub(in crate::cli) struct Kind {
    pub(in crate::cli) plural: &'static str,
    pub(in crate::cli) service: &'static str,
    pub(in crate::cli) code: &'static str,
    /// How to reduce the demand, as one order.
    pub(in crate::cli) less: &'static str,
}

/// Source: <https://docs.aws.amazon.com/general/latest/gr/cfn.html>
pub(in crate::cli) const STACKS: Kind =
    Kind { plural: "stacks", service: "cloudformation", code: "L-0485CB21", less: "delete a stack that nothing uses" };

/// Source: <https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html>
pub(in crate::cli) const SECURITY_GROUPS: Kind =
    Kind { plural: "security groups", service: "vpc", code: "L-E79EC296", less: "delete security groups that nothing uses" };

impl Kind {
    /// Checks that `more` of them fit, if the service lists those in use.
    pub(in crate::cli) async fn fits(
        &self,
        applicant: Applicant<'_>,
        more: u64,
        used: impl Future<Output = Result<u64, Failure>>,
    ) -> Result<(), Failure> {
        if more == 0 {
            return Ok(());
        }
        let asked = quota(applicant.aws, self.service, self.code);
        let (used, quota) = tokio::join!(advised(UNKNOWN, used), advised(UNKNOWN, asked));
        let (Some(used), Some(quota)) = (used?, quota?) else { return Ok(()) };
        self.lack(applicant, more, &quota, used).map_or(Ok(()), Err)
    }

    pub(super) fn quota(&self, name: &str, value: u64) -> Quota {
        Quota { code: self.code.to_owned(), name: name.to_owned(), value }
    }

    /// Returns the failure if `more` of them do not fit.
    pub(super) fn lack(&self, applicant: Applicant<'_>, more: u64, quota: &Quota, used: u64) -> Option<Failure> {
        self.told(applicant.name, &applicant.aws.region, more, quota, used)
    }

    fn told(&self, name: &str, region: &str, more: u64, quota: &Quota, used: u64) -> Option<Failure> {
        (used + more > quota.value).then(|| {
            Failure::new(Exit::Document, format!("{name} needs more {} than the account may have", self.plural))
                .why(format!("the quota \"{}\" is {} in {region}, {used} are used, and {name} needs {more} more", quota.name, quota.value))
                .hint(format!("{}, or raise the quota {} in Service Quotas", self.less, quota.code))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_quota_and_how_to_need_fewer() {
        let quota = SECURITY_GROUPS.quota("VPC security groups per Region", 2500);
        insta::assert_snapshot!(SECURITY_GROUPS.told("prod", "eu-central-1", 4, &quota, 2497).unwrap(), @r#"
        prod needs more security groups than the account may have: the quota "VPC security groups per Region" is 2500 in eu-central-1, 2497 are used, and prod needs 4 more
          hint: delete security groups that nothing uses, or raise the quota L-E79EC296 in Service Quotas
        "#);
        assert!(SECURITY_GROUPS.told("prod", "eu-central-1", 3, &quota, 2497).is_none());
    }
}
