//! What every call to AWS and to the instance metadata service goes through, for all services.

mod ahead;
pub(crate) mod call;
pub(in crate::aws) mod classify;
pub(crate) mod connection;
pub(in crate::aws) mod credentials_failure;
pub(crate) mod endpoint;
pub(crate) mod error;
pub(crate) mod exchanges;
pub(crate) mod http;
pub(in crate::aws) mod json;
pub(crate) mod query;
mod signature;
pub(in crate::aws) mod signed;
pub(in crate::aws) mod signing;
pub(in crate::aws) mod skew;
