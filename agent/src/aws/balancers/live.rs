//! Elastic Load Balancing as AWS runs it, by signed Query calls.

use async_trait::async_trait;

use super::{Balancers, SERVICE, TargetHealth};
use crate::aws::AwsError;
use crate::aws::arn::Arn;
use crate::aws::client::call::Call;
use crate::aws::client::connection::Connection;
use crate::aws::client::query::{Api, Element, Parameters, Query};

const ELB: Api = Api { service: SERVICE, variable: "ELASTIC_LOAD_BALANCING_V2", version: "2015-12-01" };

pub(crate) struct LiveBalancers {
    connection: Connection,
}

impl LiveBalancers {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection }
    }
}

#[async_trait(?Send)]
impl Balancers for LiveBalancers {
    async fn health(&self, group: &str, instance: &str) -> Result<TargetHealth, AwsError> {
        let call = Call::new(SERVICE, "DescribeTargetHealth", group);
        let region = Arn::parse(group).map(|arn| arn.region);
        let elsewhere = match region {
            Some(region) => self.connection.elsewhere(region).await.map_err(|error| call.unplaced(error))?,
            None => None,
        };
        let query = Query::new(elsewhere.unwrap_or_else(|| self.connection.clone()), ELB);
        // Given only an instance id, AWS looks for it on the group's own port, but it may be registered on another
        // port, or several.
        let answer = query.call(&call, Parameters::default().with("TargetGroupArn", group)).await?;
        let incomplete = || call.malformed("the response lacks required fields");
        let result = answer.child("DescribeTargetHealthResult").ok_or_else(incomplete)?;
        let own =
            result.items("TargetHealthDescriptions").filter(|item| item.child("Target").and_then(|it| it.text("Id")) == Some(instance));
        let found = own.map(health).collect::<Option<Vec<_>>>().ok_or_else(incomplete)?;
        let ill = found.iter().find(|health| !health.is_healthy());
        Ok(ill.or(found.first()).cloned().unwrap_or_else(TargetHealth::not_registered))
    }
}

fn health(description: &Element) -> Option<TargetHealth> {
    let health = description.child("TargetHealth")?;
    let text = |name| health.text(name).map(str::to_owned);
    Some(TargetHealth { state: text("State")?, reason: text("Reason"), description: text("Description") })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aws_credential_types::Credentials;

    use super::*;
    use crate::aws::client::http::Http;
    use crate::aws::loopback::{Loopback, Reply, Request};
    use crate::failure::Failure;

    const GROUP: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef";

    async fn ask(status: u16, body: &str) -> (Result<TargetHealth, AwsError>, Request) {
        let body = body.to_owned();
        let server = Loopback::serve(move |_| Reply::new(status, body.clone()));
        let credentials = Credentials::new("AKIA", "secret", None, None, "test");
        let endpoints = BTreeMap::from([("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2".into(), server.url.clone())]);
        let connection = Connection::of_caller(Http::new(None), credentials, "eu-west-1".into(), endpoints);
        let answer = LiveBalancers::new(connection).health(GROUP, "i-0").await;
        (answer, server.requests().pop().unwrap())
    }

    fn answer(members: &str) -> String {
        format!(
            "<DescribeTargetHealthResponse><DescribeTargetHealthResult><TargetHealthDescriptions>{members}</TargetHealthDescriptions>\
             </DescribeTargetHealthResult></DescribeTargetHealthResponse>"
        )
    }

    fn member(health: &str) -> String {
        of("i-0", health)
    }

    fn of(instance: &str, health: &str) -> String {
        format!("<member><Target><Id>{instance}</Id><Port>80</Port></Target><TargetHealth>{health}</TargetHealth></member>")
    }

    #[tokio::test]
    async fn a_group_is_asked_in_its_own_region_for_this_instance() {
        let ill = "<State>unhealthy</State><Reason>Target.ResponseCodeMismatch</Reason><Description>Health checks failed with these \
                   codes: [502]</Description>";
        let (health, request) = ask(200, &answer(&(of("i-1", "<State>healthy</State>") + &member(ill)))).await;
        let health = health.unwrap();
        assert_eq!(health.to_string(), "unhealthy (Target.ResponseCodeMismatch: Health checks failed with these codes: [502])");
        assert!(!health.is_healthy());
        assert!(request.body.contains("Action=DescribeTargetHealth&Version=2015-12-01&TargetGroupArn=arn%3Aaws"), "{request:?}");
        assert!(!request.body.contains("Targets."), "it may be there by any port: {request:?}");
        assert!(format!("{request:?}").contains("/eu-central-1/elasticloadbalancing/aws4_request"), "{request:?}");
    }

    #[tokio::test]
    async fn an_instance_is_healthy_by_all_its_ports_or_not_at_all() {
        let well = member("<State>healthy</State>");
        let initial = member("<State>initial</State><Reason>Elb.RegistrationInProgress</Reason>");
        assert!(ask(200, &answer(&well)).await.0.unwrap().is_healthy());
        assert_eq!(ask(200, &answer(&(well + &initial))).await.0.unwrap().to_string(), "initial (Elb.RegistrationInProgress)");
        for others in [String::new(), of("i-1", "<State>healthy</State>")] {
            assert_eq!(ask(200, &answer(&others)).await.0.unwrap(), TargetHealth::not_registered());
        }
        let refusal = |code: &str| format!("<ErrorResponse><Error><Code>{code}</Code><Message>words</Message></Error></ErrorResponse>");
        assert!(ask(400, &refusal("InvalidTarget")).await.0.unwrap_err().what.ends_with("words"), "AWS knows why");
        let gone = ask(400, &refusal("TargetGroupNotFound")).await.0.unwrap_err();
        assert_eq!(gone.hint().unwrap(), "create the target group, or correct its ARN in the document");
        let denied = ask(403, &refusal("AccessDenied")).await.0.unwrap_err();
        assert_eq!(denied.hint().unwrap(), "allow elasticloadbalancing:DescribeTargetHealth on * in the instance's role");
        assert!(ask(400, &refusal("Throttling")).await.0.unwrap_err().is_transient());
    }
}
