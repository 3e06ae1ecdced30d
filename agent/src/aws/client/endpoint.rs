//! Where a service is called: by region, in every partition, with FIPS and dual stack.
//!
//! The rules and the table of partitions are those that the SDK ships for Systems Manager; the hosts of other services
//! differ only in the first label. The switches are the SDKs' own variables.

use std::collections::BTreeMap;

use aws_sdk_ssm::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};

/// The SDKs' variable that selects endpoints with FIPS 140 cryptography.
pub(crate) const USE_FIPS: &str = "AWS_USE_FIPS_ENDPOINT";

/// The SDKs' variable that selects endpoints that also speak IPv6.
pub(crate) const USE_DUAL_STACK: &str = "AWS_USE_DUALSTACK_ENDPOINT";

/// Which variant of a service's endpoint to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) fips: bool,
    pub(crate) dual_stack: bool,
}

impl Variant {
    /// # Errors
    ///
    /// [`EndpointError::Switch`]: treating an unreadable value as false would silently disable FIPS.
    pub(in crate::aws) fn of(variables: &BTreeMap<String, String>) -> Result<Self, EndpointError> {
        let switch = |name: &'static str| match variables.get(name).map(|value| value.trim()).unwrap_or_default() {
            on if on.eq_ignore_ascii_case("true") => Ok(true),
            off if off.is_empty() || off.eq_ignore_ascii_case("false") => Ok(false),
            value => Err(EndpointError::Switch { name, value: value.into() }),
        };
        Ok(Self { fips: switch(USE_FIPS)?, dual_stack: switch(USE_DUAL_STACK)? })
    }
}

/// The URL of `service`, such as `ec2`. `own` is the endpoint that the user configured, if any.
///
/// # Errors
///
/// [`EndpointError::None`] if the partition of `region` has no endpoint of this variant, or if a variant is requested
/// together with `own`.
pub(crate) async fn resolve(service: &str, region: &str, variant: Variant, own: Option<&str>) -> Result<String, EndpointError> {
    let none = |why: String| EndpointError::None { service: service.into(), region: region.into(), why };
    let parameters = Params::builder()
        .region(region)
        .use_fips(variant.fips)
        .use_dual_stack(variant.dual_stack)
        .set_endpoint(own.map(str::to_owned))
        .build()
        .map_err(|error| none(error.to_string()))?;
    let found = DefaultResolver::new().resolve_endpoint(&parameters).await.map_err(|error| none(error.to_string()))?;
    match (own, found.url().strip_prefix("https://ssm")) {
        (Some(own), _) => Ok(own.to_owned()),
        (None, Some(rest)) => Ok(format!("https://{service}{rest}")),
        (None, None) => Err(none(format!("the endpoint rules have changed: {}", found.url()))),
    }
}

/// Why the endpoint of a service is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error("{name} is {value:?}, but must be true or false")]
    Switch { name: &'static str, value: String },
    #[error("{service} has no such endpoint in {region}: {why}")]
    None { service: String, region: String, why: String },
    #[error("{url} is not a valid URL")]
    Unreadable { url: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Variant = Variant { fips: false, dual_stack: false };
    const FIPS: Variant = Variant { fips: true, dual_stack: false };
    const DUAL: Variant = Variant { fips: false, dual_stack: true };
    const BOTH: Variant = Variant { fips: true, dual_stack: true };

    #[tokio::test]
    async fn knows_every_partition() {
        let table = [
            ("eu-central-1", PLAIN, "ec2.eu-central-1.amazonaws.com"),
            ("us-east-1", FIPS, "ec2-fips.us-east-1.amazonaws.com"),
            ("eu-central-1", DUAL, "ec2.eu-central-1.api.aws"),
            ("us-east-2", BOTH, "ec2-fips.us-east-2.api.aws"),
            // A region that is not in the table follows the pattern of its partition.
            ("eu-central-9", PLAIN, "ec2.eu-central-9.amazonaws.com"),
            ("cn-north-1", PLAIN, "ec2.cn-north-1.amazonaws.com.cn"),
            ("cn-north-1", DUAL, "ec2.cn-north-1.api.amazonwebservices.com.cn"),
            ("us-gov-west-1", PLAIN, "ec2.us-gov-west-1.amazonaws.com"),
            ("us-gov-west-1", FIPS, "ec2.us-gov-west-1.amazonaws.com"),
            ("us-gov-east-1", DUAL, "ec2.us-gov-east-1.api.aws"),
            ("us-iso-east-1", PLAIN, "ec2.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", PLAIN, "ec2.us-isob-east-1.sc2s.sgov.gov"),
            ("eusc-de-east-1", PLAIN, "ec2.eusc-de-east-1.amazonaws.eu"),
        ];
        for (region, variant, host) in table {
            assert_eq!(resolve("ec2", region, variant, None).await, Ok(format!("https://{host}")), "{region} {variant:?}");
        }
        assert_eq!(resolve("autoscaling", "eu-west-1", FIPS, None).await.unwrap(), "https://autoscaling-fips.eu-west-1.amazonaws.com");
    }

    #[tokio::test]
    async fn an_endpoint_of_ones_own_is_taken_as_it_is_and_not_with_a_switch() {
        let own = Some("http://127.0.0.1:5000");
        assert_eq!(resolve("ec2", "eu-west-1", PLAIN, own).await.unwrap(), "http://127.0.0.1:5000");
        for variant in [FIPS, DUAL, BOTH] {
            let error = resolve("ec2", "eu-west-1", variant, own).await.unwrap_err();
            assert!(matches!(error, EndpointError::None { .. }), "{error}");
        }
        let error = resolve("ec2", "eu-west-1", FIPS, own).await.unwrap_err().to_string();
        assert!(error.ends_with("Invalid Configuration: FIPS and custom endpoint are not supported"), "{error}");
    }

    #[test]
    fn a_switch_is_true_or_false() {
        let of = |value: &str| Variant::of(&BTreeMap::from([(USE_FIPS.to_owned(), value.to_owned())]));
        assert_eq!(of("true"), Ok(FIPS));
        assert_eq!(of("True"), Ok(FIPS));
        assert_eq!((of("false"), of(""), Variant::of(&BTreeMap::new())), (Ok(PLAIN), Ok(PLAIN), Ok(PLAIN)));
        assert_eq!(of("1").unwrap_err().to_string(), "AWS_USE_FIPS_ENDPOINT is \"1\", but must be true or false");
    }
}
