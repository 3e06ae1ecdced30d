//! What each call sends, and how its answer is read.

use std::collections::BTreeMap;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

use super::*;
use crate::aws::autoscaling::no_action;
use crate::aws::client::connection::RegionSource;
use crate::aws::client::http::Http;
use crate::aws::loopback::{Loopback, Reply, Request};
use crate::failure::Failure;

fn groups(server: &Loopback) -> LiveAutoScaling {
    LiveAutoScaling::new(Connection {
        http: Http::new(None),
        region: RegionSource::Known("eu-west-1".into()),
        credentials: SharedCredentialsProvider::new(Credentials::new("AKIA", "secret", None, None, "test")),
        endpoints: BTreeMap::from([("AWS_ENDPOINT_URL_AUTO_SCALING".into(), server.url.clone())]),
    })
}

/// Answers every action with a result element of the matching name around `inner`.
fn serve(inner: &'static str) -> Loopback {
    Loopback::serve(move |request| {
        let action = sent(request).split('&').next().unwrap().strip_prefix("Action=").unwrap().to_owned();
        Reply::new(200, format!("<{action}Response><{action}Result>{inner}</{action}Result></{action}Response>"))
    })
}

fn sent(request: &Request) -> String {
    request.body.replace("&Version=2011-01-01", "")
}

fn last(server: &Loopback) -> String {
    sent(&server.requests().pop().unwrap())
}

fn action() -> LifecycleAction {
    LifecycleAction { group: "shop".into(), hook: "ready".into(), instance: "i-0".into() }
}

#[tokio::test]
async fn an_action_is_named_by_its_instance() {
    let server = serve("");
    groups(&server).complete(&action(), ActionResult::Abandon).await.unwrap();
    let named = "AutoScalingGroupName=shop&LifecycleHookName=ready&InstanceId=i-0";
    assert_eq!(last(&server), format!("Action=CompleteLifecycleAction&{named}&LifecycleActionResult=ABANDON"));
    groups(&server).heartbeat(&action()).await.unwrap();
    assert_eq!(last(&server), format!("Action=RecordLifecycleActionHeartbeat&{named}"));
}

#[tokio::test]
async fn an_instance_that_is_unhealthy_has_its_grace_period_still() {
    let server = serve("");
    groups(&server).set_unhealthy("i-0").await.unwrap();
    let expected = "Action=SetInstanceHealth&InstanceId=i-0&HealthStatus=Unhealthy&ShouldRespectGracePeriod=true";
    assert_eq!(last(&server), expected);
}

#[tokio::test]
async fn a_group_says_which_launch_hooks_it_has() {
    let server = serve(
        "<LifecycleHooks><member><LifecycleHookName>ready</LifecycleHookName><HeartbeatTimeout>300</HeartbeatTimeout>
         <LifecycleTransition>autoscaling:EC2_INSTANCE_LAUNCHING</LifecycleTransition></member>
         <member><LifecycleHookName>drain</LifecycleHookName><HeartbeatTimeout>30</HeartbeatTimeout>
         <LifecycleTransition>autoscaling:EC2_INSTANCE_TERMINATING</LifecycleTransition></member></LifecycleHooks>",
    );
    let hooks = groups(&server).launch_hooks("shop").await.unwrap();
    assert_eq!(hooks, [Hook { name: "ready".into(), heartbeat_timeout: Duration::from_secs(300) }]);
    assert_eq!(last(&server), "Action=DescribeLifecycleHooks&AutoScalingGroupName=shop");
}

#[tokio::test]
async fn an_instance_has_a_group_or_none() {
    let server = serve(
        "<AutoScalingInstances><member><InstanceId>i-0</InstanceId><AutoScalingGroupName>shop</AutoScalingGroupName></member>
         </AutoScalingInstances>",
    );
    assert_eq!(groups(&server).group_of("i-0").await.unwrap().as_deref(), Some("shop"));
    assert_eq!(last(&server), "Action=DescribeAutoScalingInstances&InstanceIds.member.1=i-0");
    assert_eq!(groups(&serve("<AutoScalingInstances/>")).group_of("i-0").await.unwrap(), None);
}

#[tokio::test]
async fn an_action_that_is_over_is_told_from_a_refusal() {
    let refusal = |message: &str| {
        let body = format!("<ErrorResponse><Error><Code>ValidationError</Code><Message>{message}</Message></Error></ErrorResponse>");
        Loopback::serve(move |_| Reply::new(400, body.clone()))
    };
    let server = refusal("No active Lifecycle Action found with instance ID i-0");
    assert!(no_action(&groups(&server).heartbeat(&action()).await.unwrap_err()));
    let server = refusal("Lifecycle hook ready does not exist");
    let error = groups(&server).complete(&action(), ActionResult::Continue).await.unwrap_err();
    assert!(!no_action(&error) && !error.is_transient(), "{error}");
}
