//! What is known of the API of a service that is called without its SDK.

/// The API of a service.
#[derive(Debug, Clone, Copy)]
pub(in crate::aws) struct Api {
    /// As in host names and signatures.
    pub(in crate::aws) service: &'static str,
    /// As SDKs call it: `Service Quotas` of AWS_ENDPOINT_URL_SERVICE_QUOTAS, and of `service-quotas` in a profile.
    pub(in crate::aws) id: &'static str,
    /// Of a service that takes forms; of one that takes JSON, what comes before the name of an action.
    pub(in crate::aws) version: &'static str,
    /// Whether a partition has one of it, and not each region.
    pub(in crate::aws) is_global: bool,
}
