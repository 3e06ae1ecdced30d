//! vCPUs of instance types and of running instances, and the quotas that count them.

use std::collections::BTreeMap;

use ingot::desk::Element;

use super::Aws;
use super::ec2::EC2;
use super::signed;
use super::trouble::Call;
use crate::exit::Exit;
use crate::failure::Failure;

/// Instance families that share a quota, with the quota codes for On-Demand and for Spot Instances.
///
/// Sources: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances.html>,
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-spot-limits.html>. The family `p` has several quotas for
/// Spot Instances, so none is listed.
const CLASSES: [(&[&str], &str, Option<&str>); 6] = [
    (&["a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z"], "L-1216C47A", Some("L-34B43A08")),
    (&["g", "gr", "vt"], "L-DB2E81BA", Some("L-3819A6DF")),
    (&["f"], "L-74FC7D96", Some("L-88CF9481")),
    (&["inf"], "L-1945791B", Some("L-B5D1601B")),
    (&["p"], "L-417A185B", None),
    (&["x"], "L-7295265B", Some("L-E3A00192")),
];

/// How an instance is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Market {
    OnDemand,
    Spot,
}

/// Returns the code of the quota that counts the vCPUs of a type, if known.
pub(crate) fn quota_of(name: &str, market: Market) -> Option<&'static str> {
    let family: String = name.chars().take_while(char::is_ascii_lowercase).collect();
    let (_, on_demand, spot) = CLASSES.iter().find(|(families, ..)| families.contains(&family.as_str()))?;
    match market {
        Market::OnDemand => Some(on_demand),
        Market::Spot => *spot,
    }
}

/// An instance that counts towards a quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) name: String,
    pub(crate) vcpus: Option<u64>,
    pub(crate) market: Market,
    /// From the instance's tags: `aws:autoscaling:groupName` does not identify the environment.
    pub(crate) application: Option<String>,
    pub(crate) environment: Option<String>,
}

/// Returns the vCPUs of instance types.
///
/// # Errors
///
/// If the region lacks one of the types, or the call fails.
pub(crate) async fn of_types(aws: &Aws, names: &[&str]) -> Result<BTreeMap<String, u64>, Failure> {
    let on = format!("the instance types {}", names.join(", "));
    let call = Call { action: "ec2:DescribeInstanceTypes", doing: "look up", on, region: &aws.region };
    let keys: Vec<String> = (1..=names.len()).map(|number| format!("InstanceType.{number}")).collect();
    let parameters: Vec<(&str, &str)> = keys.iter().map(String::as_str).zip(names.iter().copied()).collect();
    let none = |which: &str| {
        Failure::new(Exit::Document, format!("there is no instance type {which} in {}", aws.region))
            .hint("correct `instances.types` in fleet.yaml: `aws ec2 describe-instance-type-offerings` lists the types it has")
    };
    let found: BTreeMap<String, u64> = match signed::query(aws, &EC2, "DescribeInstanceTypes", &parameters).await {
        Ok(answer) => answer.items("instanceTypeSet").filter_map(vcpus_of_a_type).collect(),
        Err(trouble) if trouble.has(&["InvalidInstanceType"]) => return Err(none(&names.join(" or ")).why(trouble.message())),
        Err(trouble) => return Err(trouble.failure(&call)),
    };
    match names.iter().find(|name| !found.contains_key(**name)) {
        Some(missing) => Err(none(missing)),
        None => Ok(found),
    }
}

fn vcpus_of_a_type(found: &Element) -> Option<(String, u64)> {
    Some((found.text("instanceType")?.to_owned(), found.child("vCpuInfo")?.parsed("defaultVCpus")?))
}

/// Returns all instances of the account in the region that count towards a quota.
pub(crate) async fn running(aws: &Aws) -> Result<Vec<Running>, Failure> {
    let on = "the running instances".to_owned();
    let call = Call { action: "ec2:DescribeInstances", doing: "count", on, region: &aws.region };
    let (mut all, mut next) = (Vec::new(), String::new());
    loop {
        let mut parameters = vec![
            ("Filter.1.Name", "instance-state-name"),
            ("Filter.1.Value.1", "pending"),
            ("Filter.1.Value.2", "running"),
            ("MaxResults", "1000"),
        ];
        if !next.is_empty() {
            parameters.push(("NextToken", &next));
        }
        let answer = signed::query(aws, &EC2, "DescribeInstances", &parameters).await.map_err(|trouble| trouble.failure(&call))?;
        all.extend(answer.items("reservationSet").flat_map(|reservation| reservation.items("instancesSet")).filter_map(counted));
        next = match answer.text("nextToken") {
            Some(token) if !token.is_empty() => token.to_owned(),
            _ => return Ok(all),
        };
    }
}

/// Returns `None` for an instance that no vCPU quota counts: on a dedicated host, or in capacity bought in advance.
fn counted(instance: &Element) -> Option<Running> {
    let market = match instance.text("instanceLifecycle").unwrap_or_default() {
        "" => Market::OnDemand,
        "spot" => Market::Spot,
        _ => return None,
    };
    if instance.child("placement").and_then(|placement| placement.text("tenancy")) == Some("host") {
        return None;
    }
    let of_cpu = |name: &str| instance.child("cpuOptions")?.parsed::<u64>(name);
    let tag = |key: &str| {
        let found = instance.items("tagSet").find(|tag| tag.text("key") == Some(key));
        found.and_then(|tag| tag.text("value")).map(str::to_owned)
    };
    Some(Running {
        name: instance.text("instanceType").unwrap_or_default().to_owned(),
        vcpus: of_cpu("coreCount").zip(of_cpu("threadsPerCore")).map(|(cores, threads)| cores * threads),
        market,
        application: tag("ingot:application"),
        environment: tag("ingot:environment"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::script::{Answer, Script};

    #[test]
    fn types_are_counted_by_their_family() {
        let of = |name| quota_of(name, Market::OnDemand);
        for name in
            ["m7g.large", "c6i.large", "t4g.micro", "i4i.large", "im4gn.large", "is4gen.large", "a1.medium", "d3en.xlarge", "z1d.large"]
        {
            assert_eq!(of(name), Some("L-1216C47A"), "{name}");
        }
        let others =
            ["g5g.xlarge", "gr6.4xlarge", "vt1.3xlarge", "x2gd.large", "inf2.xlarge", "p5.48xlarge", "hpc7g.4xlarge", "u-6tb1.metal"];
        assert_eq!(
            others.map(of),
            [
                Some("L-DB2E81BA"),
                Some("L-DB2E81BA"),
                Some("L-DB2E81BA"),
                Some("L-7295265B"),
                Some("L-1945791B"),
                Some("L-417A185B"),
                None,
                None
            ]
        );
        assert_eq!([quota_of("m7g.large", Market::Spot), quota_of("p5.48xlarge", Market::Spot)], [Some("L-34B43A08"), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_type_is_named() {
        let two: Answer = Some((
            200,
            &[],
            "<DescribeInstanceTypesResponse><instanceTypeSet><item><instanceType>m7i.large</instanceType><vCpuInfo>\
             <defaultVCpus>2</defaultVCpus><defaultCores>1</defaultCores></vCpuInfo></item></instanceTypeSet></DescribeInstanceTypesResponse>",
        ));
        let refused: Answer = Some((
            400,
            &[],
            "<Response><Errors><Error><Code>InvalidInstanceType</Code><Message>The following supplied instance types do not exist: \
             [m99.large]</Message></Error></Errors></Response>",
        ));
        let script = Script::of(&[two, refused, two]);
        assert_eq!(of_types(&script.aws(), &["m7i.large"]).await.unwrap(), BTreeMap::from([("m7i.large".to_owned(), 2)]));
        for names in [["m99.large"].as_slice(), &["m7i.large", "m99.large"]] {
            let failure = of_types(&script.aws(), names).await.unwrap_err();
            let text = failure.to_string();
            assert!(failure.exit == Exit::Document && text.contains("m99.large") && text.contains("`instances.types`"), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_pages_of_running_instances_are_counted() {
        let first: Answer = Some((
            200,
            &[],
            "<DescribeInstancesResponse><reservationSet><item><instancesSet><item><instanceType>m7i.large</instanceType><cpuOptions>\
             <coreCount>1</coreCount><threadsPerCore>2</threadsPerCore></cpuOptions><tagSet><item><key>ingot:application</key><value>shop\
             </value></item><item><key>ingot:environment</key><value>prod</value></item></tagSet></item></instancesSet></item>\
             </reservationSet><nextToken>more</nextToken></DescribeInstancesResponse>",
        ));
        let last: Answer = Some((
            200,
            &[],
            "<DescribeInstancesResponse><reservationSet><item><instancesSet><item><instanceType>c6g.xlarge</instanceType>\
             <instanceLifecycle>spot</instanceLifecycle></item><item><instanceType>p5.48xlarge</instanceType><instanceLifecycle>\
             capacity-block</instanceLifecycle></item><item><instanceType>m7i.large</instanceType><placement><tenancy>host</tenancy>\
             </placement></item></instancesSet></item></reservationSet></DescribeInstancesResponse>",
        ));
        let found = running(&Script::of(&[first, last]).aws()).await.unwrap();
        let told: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.vcpus, one.market, one.environment.as_deref())).collect();
        assert_eq!(told, [("m7i.large", Some(2), Market::OnDemand, Some("prod")), ("c6g.xlarge", None, Market::Spot, None)]);
    }
}
