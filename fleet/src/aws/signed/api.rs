//! The API of a service that is called without its SDK.

/// The API of a service.
#[derive(Debug, Clone, Copy)]
pub(in crate::aws) struct Api {
    /// Service name in host names and signatures.
    pub(in crate::aws) service: &'static str,
    /// Service ID in SDKs, such as `Service Quotas`, which leads to AWS_ENDPOINT_URL_SERVICE_QUOTAS and, in a profile,
    /// `service-quotas`.
    pub(in crate::aws) id: &'static str,
    /// API version of a service that takes forms; target prefix of a service that takes JSON.
    pub(in crate::aws) version: &'static str,
    /// Whether there is one endpoint per partition instead of one per region.
    pub(in crate::aws) is_global: bool,
}
