//! The front ends that steps and facts use, over the real AWS or a substitute.

use std::collections::BTreeMap;
use std::rc::Rc;

use aws_credential_types::provider::SharedCredentialsProvider;

use super::autoscaling::AutoScaling;
use super::autoscaling::live::LiveAutoScaling;
use super::balancers::Balancers;
use super::balancers::live::LiveBalancers;
use super::cloudformation::CloudFormation;
use super::cloudformation::live::LiveCloudFormation;
use super::credentials::ImdsCredentials;
use super::ec2::Ec2;
use super::ec2::live::LiveEc2;
use super::ecr::Registries;
use super::ecr::live::LiveRegistries;
use super::fetch::{Parameters, Secrets};
use super::imds::Imds;
use super::rds::Rds;
use super::rds::live::LiveRds;
use super::s3::Objects;
use super::s3::live::LiveObjects;
use super::secrets_manager::LiveSecretsManager;
use super::ssm::LiveParameterStore;
use crate::aws::client::connection::{Connection, RegionSource};
use crate::aws::client::http::Http;
use crate::aws::secrets_manager::SecretsManager;
use crate::aws::ssm::ParameterStore;

/// Everything that can be read from or done in AWS.
#[derive(Clone)]
pub(crate) struct Aws {
    pub(crate) secrets: Secrets,
    pub(crate) parameters: Parameters,
    pub(crate) ec2: Rc<dyn Ec2>,
    pub(crate) rds: Rc<dyn Rds>,
    pub(crate) objects: Rc<dyn Objects>,
    pub(crate) stacks: Rc<dyn CloudFormation>,
    pub(crate) groups: Rc<dyn AutoScaling>,
    pub(crate) balancers: Rc<dyn Balancers>,
    pub(crate) registries: Rc<dyn Registries>,
    /// Where documents are included from. Real even where all other services are not.
    pub(crate) documents: Rc<dyn Objects>,
}

/// The services themselves, real or fake.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) secrets: Rc<dyn SecretsManager>,
    pub(crate) parameters: Rc<dyn ParameterStore>,
    pub(crate) ec2: Rc<dyn Ec2>,
    pub(crate) rds: Rc<dyn Rds>,
    pub(crate) objects: Rc<dyn Objects>,
    pub(crate) stacks: Rc<dyn CloudFormation>,
    pub(crate) groups: Rc<dyn AutoScaling>,
    pub(crate) balancers: Rc<dyn Balancers>,
    pub(crate) registries: Rc<dyn Registries>,
}

impl Aws {
    pub(crate) fn new(services: Services) -> Self {
        let Services { secrets, parameters, ec2, rds, objects, stacks, groups, balancers, registries } = services;
        let (secrets, parameters) = (Secrets::new(secrets), Parameters::new(parameters));
        Self { secrets, parameters, ec2, rds, documents: objects.clone(), objects, stacks, groups, balancers, registries }
    }

    /// AWS as an instance uses it, with its own role and region. Nothing is read or created before it is needed.
    ///
    /// `endpoints` holds the SDKs' variables `AWS_ENDPOINT_URL…`, those that are set.
    pub(crate) fn on_instance(http: Http, imds: Imds, credentials: ImdsCredentials, endpoints: BTreeMap<String, String>) -> Self {
        let metadata = Rc::new(imds);
        let region = RegionSource::Instance(metadata.clone());
        let connection = Connection { http, region, credentials: SharedCredentialsProvider::new(credentials), endpoints };
        Self::new(Services {
            secrets: Rc::new(LiveSecretsManager::new(connection.clone())),
            parameters: Rc::new(LiveParameterStore::new(connection.clone())),
            rds: Rc::new(LiveRds::new(connection.clone())),
            objects: Rc::new(LiveObjects::new(connection.clone())),
            stacks: Rc::new(LiveCloudFormation::new(connection.clone())),
            groups: Rc::new(LiveAutoScaling::new(connection.clone())),
            balancers: Rc::new(LiveBalancers::new(connection.clone())),
            registries: Rc::new(LiveRegistries::new(connection.clone())),
            ec2: Rc::new(LiveEc2::new(connection, metadata)),
        })
    }

    /// AWS for a user on a dev box: secrets, parameters and documents are real, and all other calls go to `others`.
    pub(crate) fn of_caller(connection: Connection, others: Services) -> Self {
        let documents = Rc::new(LiveObjects::new(connection.clone()));
        let services = Services {
            secrets: Rc::new(LiveSecretsManager::new(connection.clone())),
            parameters: Rc::new(LiveParameterStore::new(connection)),
            ..others
        };
        Self { documents, ..Self::new(services) }
    }
}

#[cfg(test)]
mod tests;
