//! The endpoint of a service and the region its calls are signed for, resolved as the service's SDK would.

use aws_types::service_config::ServiceConfigKey;
use ingot::desk;

use super::api::Api;
use crate::aws::Aws;
use crate::aws::trouble::Trouble;

/// The endpoint of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Ends with a slash.
    pub(super) url: String,
    /// Region of the signature.
    pub(super) region: String,
}

pub(super) async fn of(aws: &Aws, api: &Api) -> Result<Endpoint, Trouble> {
    let is_on = |switch: Option<bool>| switch.unwrap_or_default();
    let (fips, dual_stack) = (is_on(aws.sdk.use_fips()), is_on(aws.sdk.use_dual_stack()));
    let (url, region) = match (configured(aws, api), api.is_global) {
        (Some(url), _) if !url.starts_with("http://") && !url.starts_with("https://") => {
            let variable = api.id.replace(' ', "_").to_uppercase();
            return Err(Trouble::Own(format!(
                "`{url}` is not an http or https URL: check AWS_ENDPOINT_URL_{variable}, AWS_ENDPOINT_URL and the profile"
            )));
        }
        (Some(url), _) => (url, aws.region.clone()),
        (None, true) => match of_partition(api.service, &aws.region, fips) {
            Some((url, region)) => (url, region.to_owned()),
            None => (of_region(aws, api, (fips, dual_stack)).await?, aws.region.clone()),
        },
        (None, false) => (of_region(aws, api, (fips, dual_stack)).await?, aws.region.clone()),
    };
    Ok(Endpoint { url: if url.ends_with('/') { url } else { url + "/" }, region })
}

async fn of_region(aws: &Aws, api: &Api, (fips, dual_stack): (bool, bool)) -> Result<String, Trouble> {
    desk::endpoint(api.service, &aws.region, fips, dual_stack).await.map_err(Trouble::Own)
}

/// Returns the URL configured in the environment or the profile, for this service or for all. It honors
/// `ignore_configured_endpoint_urls`.
///
/// Source: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
fn configured(aws: &Aws, api: &Api) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id(api.id).env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
    let key = key.expect("all fields are set");
    let own = aws.sdk.service_config().and_then(|configured| configured.load_config(key));
    own.or_else(|| aws.sdk.endpoint_url().map(str::to_owned)).filter(|url| !url.is_empty())
}

/// Returns the endpoint of a service that has one per partition. In newer partitions it follows the regional pattern.
///
/// Source: <https://docs.aws.amazon.com/general/latest/gr/iam-service.html>
fn of_partition(service: &str, region: &str, is_fips: bool) -> Option<(String, &'static str)> {
    let fips = if is_fips { "-fips" } else { "" };
    match region.split('-').next() {
        Some("cn") => Some((format!("https://{service}.cn-north-1.amazonaws.com.cn"), "cn-north-1")),
        Some("us") if region.starts_with("us-gov-") => Some((format!("https://{service}.us-gov.amazonaws.com"), "us-gov-west-1")),
        Some("us") if region.starts_with("us-iso") => None,
        Some("eusc" | "eu" | "us") if region.starts_with("eusc-") || region.starts_with("eu-iso") => None,
        _ => Some((format!("https://{service}{fips}.amazonaws.com"), "us-east-1")),
    }
}

#[cfg(test)]
mod tests {
    use aws_types::service_config::LoadServiceConfig;

    use super::*;
    use crate::aws::script::Script;

    /// A profile that configures only Service Quotas.
    #[derive(Debug)]
    struct Profile(&'static str);

    impl LoadServiceConfig for Profile {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            let is_meant = (key.service_id(), key.env(), key.profile()) == ("Service Quotas", "AWS_ENDPOINT_URL", "endpoint_url");
            is_meant.then(|| self.0.to_owned())
        }
    }

    #[tokio::test]
    async fn the_endpoint_of_a_service_in_the_profile_comes_first() {
        let quotas = Api { service: "servicequotas", id: "Service Quotas", version: "", is_global: false };
        let iam = Api { service: "iam", id: "IAM", version: "", is_global: true };
        let plain = Script::of(&[]).aws();
        let with = |own: &'static str| Aws { sdk: plain.sdk.clone().into_builder().service_config(Profile(own)).build(), ..plain.clone() };
        let url = async |aws: &Aws, api: &Api| of(aws, api).await.map(|endpoint| (endpoint.url, endpoint.region)).map_err(|_| ());
        let home = |url: &str| Ok((url.to_owned(), "eu-central-1".to_owned()));
        assert_eq!(url(&with("http://127.0.0.1:5000"), &quotas).await, home("http://127.0.0.1:5000/"));
        assert_eq!(url(&plain, &quotas).await, home("https://servicequotas.eu-central-1.amazonaws.com/"));
        assert_eq!(url(&with("http://127.0.0.1:5000"), &iam).await, Ok(("https://iam.amazonaws.com/".into(), "us-east-1".into())));
        let all = plain.sdk.clone().into_builder().endpoint_url("http://127.0.0.1:6000").build();
        let all = Aws { sdk: all, ..plain.clone() };
        assert_eq!(url(&all, &iam).await, home("http://127.0.0.1:6000/"));
        let Err(Trouble::Own(why)) = of(&with("localhost"), &quotas).await else { panic!() };
        assert!(why.contains("check AWS_ENDPOINT_URL_SERVICE_QUOTAS, AWS_ENDPOINT_URL and the profile"), "{why}");
    }

    #[test]
    fn a_global_service_is_called_at_its_partitions_endpoint() {
        let of = |region| of_partition("iam", region, false);
        assert_eq!(of("eu-central-1"), Some(("https://iam.amazonaws.com".into(), "us-east-1")));
        assert_eq!(of("cn-northwest-1"), Some(("https://iam.cn-north-1.amazonaws.com.cn".into(), "cn-north-1")));
        assert_eq!(of("us-gov-east-1"), Some(("https://iam.us-gov.amazonaws.com".into(), "us-gov-west-1")));
        assert_eq!([of("us-iso-east-1"), of("eusc-de-east-1"), of("eu-isoe-west-1")], [None, None, None]);
        assert_eq!(of_partition("iam", "us-east-2", true), Some(("https://iam-fips.amazonaws.com".into(), "us-east-1")));
    }
}
