//! Counts the security groups, cache nodes, databases and roles of the account. RDS and IAM also return their quotas.

use std::collections::BTreeMap;

use ingot::desk::Element;

use super::Aws;
use super::ec2::EC2;
use super::rights::IAM;
use super::signed::{self, Api};
use super::trouble::Call;
use crate::failure::Failure;

/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/Welcome.html>
const RDS: Api = Api { service: "rds", id: "RDS", version: "2014-10-31", is_global: false };

/// Source: <https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/Welcome.html>
const ELASTICACHE: Api = Api { service: "elasticache", id: "ElastiCache", version: "2015-02-02", is_global: false };

/// How much of a quota is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) used: u64,
    pub(crate) most: u64,
}

/// Returns the quotas of RDS in the region with their use, by name: `DBInstances`, `DBSubnetGroups`, `AllocatedStorage`
/// in GiB.
///
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeAccountAttributes.html>
pub(crate) async fn databases(aws: &Aws) -> Result<BTreeMap<String, Share>, Failure> {
    let on = "the databases".to_owned();
    let call = Call { action: "rds:DescribeAccountAttributes", doing: "count", on, region: &aws.region };
    let answer = signed::query(aws, &RDS, "DescribeAccountAttributes", &[]).await.map_err(|trouble| trouble.failure(&call))?;
    let share = |one: &Element| Some(Share { used: one.parsed("Used")?, most: one.parsed("Max")? });
    let named = |one: &Element| Some((one.text("AccountQuotaName")?.to_owned(), share(one)?));
    let result = answer.child("DescribeAccountAttributesResult").into_iter();
    Ok(result.flat_map(|result| result.items("AccountQuotas")).filter_map(named).collect())
}

/// Counts the roles of the account, which belong to no region. `None` if IAM does not return the number.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountSummary.html>
pub(crate) async fn roles(aws: &Aws) -> Result<Option<Share>, Failure> {
    let call = Call { action: "iam:GetAccountSummary", doing: "count", on: "the roles".into(), region: &aws.region };
    let answer = signed::query(aws, &IAM, "GetAccountSummary", &[]).await.map_err(|trouble| trouble.failure(&call))?;
    let Some(result) = answer.child("GetAccountSummaryResult") else { return Ok(None) };
    let of = |key: &str| result.items("SummaryMap").find(|entry| entry.text("key") == Some(key))?.parsed("value");
    Ok(of("Roles").zip(of("RolesQuota")).map(|(used, most)| Share { used, most }))
}

/// Counts the security groups of all VPCs.
///
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSecurityGroups.html>
pub(crate) async fn security_groups(aws: &Aws) -> Result<u64, Failure> {
    let on = "the security groups".to_owned();
    let call = Call { action: "ec2:DescribeSecurityGroups", doing: "count", on, region: &aws.region };
    let (mut count, mut next) = (0, None::<String>);
    loop {
        let token = next.as_deref().map(|token| ("NextToken", token));
        let parameters: Vec<(&str, &str)> = [("MaxResults", "1000")].into_iter().chain(token).collect();
        let answer = signed::query(aws, &EC2, "DescribeSecurityGroups", &parameters).await.map_err(|trouble| trouble.failure(&call))?;
        count += answer.items("securityGroupInfo").count() as u64;
        next = answer.text("nextToken").map(str::to_owned);
        if next.is_none() {
            return Ok(count);
        }
    }
}

/// Counts the nodes of all caches.
///
/// Source: <https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_DescribeCacheClusters.html>
pub(crate) async fn cache_nodes(aws: &Aws) -> Result<u64, Failure> {
    let on = "the nodes of caches".to_owned();
    let call = Call { action: "elasticache:DescribeCacheClusters", doing: "count", on, region: &aws.region };
    let (mut count, mut next) = (0, None::<String>);
    loop {
        let parameters: Vec<(&str, &str)> = next.as_deref().map(|marker| ("Marker", marker)).into_iter().collect();
        let asked = signed::query(aws, &ELASTICACHE, "DescribeCacheClusters", &parameters).await;
        let answer = asked.map_err(|trouble| trouble.failure(&call))?;
        let Some(result) = answer.child("DescribeCacheClustersResult") else { return Ok(count) };
        count += result.items("CacheClusters").filter_map(|one| one.parsed::<u64>("NumCacheNodes")).sum::<u64>();
        next = result.text("Marker").map(str::to_owned);
        if next.is_none() {
            return Ok(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::script::{Answer, Script};

    #[tokio::test(start_paused = true)]
    async fn rds_and_iam_return_quotas_with_their_use() {
        let databases_of: Answer = Some((
            200,
            &[],
            "<DescribeAccountAttributesResponse><DescribeAccountAttributesResult><AccountQuotas><AccountQuota><AccountQuotaName>DBInstances</AccountQuotaName><Used>3</Used>\
             <Max>40</Max></AccountQuota><AccountQuota><AccountQuotaName>AllocatedStorage</AccountQuotaName><Used>500</Used><Max>100000</Max>\
             </AccountQuota></AccountQuotas></DescribeAccountAttributesResult></DescribeAccountAttributesResponse>",
        ));
        let summary: Answer = Some((
            200,
            &[],
            "<GetAccountSummaryResponse><GetAccountSummaryResult><SummaryMap><entry><key>Roles</key><value>998</value></entry><entry><key>RolesQuota</key>\
             <value>1000</value></entry></SummaryMap></GetAccountSummaryResult></GetAccountSummaryResponse>",
        ));
        let script = Script::of(&[databases_of, summary, Some((200, &[], "<GetAccountSummaryResponse/>"))]);
        let found = databases(&script.aws()).await.unwrap();
        assert_eq!(found["DBInstances"], Share { used: 3, most: 40 });
        assert_eq!(found["AllocatedStorage"], Share { used: 500, most: 100_000 });
        assert_eq!(roles(&script.aws()).await.unwrap(), Some(Share { used: 998, most: 1000 }));
        assert_eq!(roles(&script.aws()).await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn all_pages_are_counted() {
        let first: Answer = Some((
            200,
            &[],
            "<DescribeSecurityGroupsResponse><securityGroupInfo><item/><item/></securityGroupInfo><nextToken>more</nextToken></DescribeSecurityGroupsResponse>",
        ));
        let last: Answer = Some((
            200,
            &[],
            "<DescribeSecurityGroupsResponse><securityGroupInfo><item/></securityGroupInfo><nextToken/></DescribeSecurityGroupsResponse>",
        ));
        assert_eq!(security_groups(&Script::of(&[first, last]).aws()).await.unwrap(), 3);
        let first: Answer = Some((
            200,
            &[],
            "<DescribeCacheClustersResponse><DescribeCacheClustersResult><Marker>more</Marker><CacheClusters><CacheCluster><NumCacheNodes>3</NumCacheNodes>\
             </CacheCluster></CacheClusters></DescribeCacheClustersResult></DescribeCacheClustersResponse>",
        ));
        let last: Answer = Some((
            200,
            &[],
            "<DescribeCacheClustersResponse><DescribeCacheClustersResult><CacheClusters><CacheCluster><NumCacheNodes>1</NumCacheNodes></CacheCluster>\
             <CacheCluster><NumCacheNodes>1</NumCacheNodes></CacheCluster></CacheClusters></DescribeCacheClustersResult></DescribeCacheClustersResponse>",
        ));
        assert_eq!(cache_nodes(&Script::of(&[first, last]).aws()).await.unwrap(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_denied_call_names_the_right() {
        let denied: Answer =
            Some((403, &[], "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not authorized</Message></Error></ErrorResponse>"));
        let aws = || Script::of(&[denied]).aws();
        for (failure, action) in [
            (databases(&aws()).await.unwrap_err(), "rds:DescribeAccountAttributes"),
            (roles(&aws()).await.unwrap_err(), "iam:GetAccountSummary"),
            (security_groups(&aws()).await.unwrap_err(), "ec2:DescribeSecurityGroups"),
            (cache_nodes(&aws()).await.unwrap_err(), "elasticache:DescribeCacheClusters"),
        ] {
            assert!(failure.to_string().contains(&format!("allow {action}")), "{failure}");
        }
    }
}
