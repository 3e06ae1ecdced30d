//! ECR, in memory: it accepts every login.

use async_trait::async_trait;

use crate::aws::AwsError;
use crate::aws::ecr::{Registries, Registry};
use crate::text::SecretText;

pub(crate) struct FakeRegistries;

#[async_trait(?Send)]
impl Registries for FakeRegistries {
    async fn token(&self, _registry: &Registry) -> Result<SecretText, AwsError> {
        Ok("QVdTOnBhc3N3b3Jk".into())
    }
}
