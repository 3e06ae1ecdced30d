//! Options that fleet.yaml has no setting for, and what to do instead.

use ingot::desk::{Node, Place, Value};

use super::options::Setting;
use super::secretive::may_be_secret;

/// An option or section that is not converted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Left {
    pub(crate) place: Place,
    /// A namespace and an option, or a section of a file.
    pub(crate) what: String,
    /// Empty if it may be a secret.
    pub(crate) value: String,
    /// What to do, in the imperative.
    pub(crate) advice: String,
}

/// Options by namespace and name, with Elastic Beanstalk's default and the advice. The first match wins; a trailing `*`
/// matches any rest. An option with its default value is not mentioned.
const REST: [(&str, &str, &str, &str); 88] = [
    ("aws:autoscaling:asg", "Cooldown", "360", "leave it out: target tracking sets its own pace"),
    ("aws:autoscaling:asg", "Availability Zones", "Any", ZONES),
    ("aws:autoscaling:asg", "Custom Availability Zones", "", ZONES),
    ("aws:autoscaling:asg", "EnableCapacityRebalancing", "false", "leave it out: the template decides how Spot Instances are replaced"),
    (
        "aws:autoscaling:launchconfiguration",
        "IamInstanceProfile",
        "",
        "list the secrets that the role may read in `secrets:`, and add other permissions to the role that the stack creates",
    ),
    ("aws:autoscaling:launchconfiguration", "EC2KeyName", "", "log in with Session Manager; no port of an instance is open for SSH"),
    (
        "aws:autoscaling:launchconfiguration",
        "SSHSourceRestriction",
        "tcp,22,22,0.0.0.0/0",
        "log in with Session Manager; no port of an instance is open for SSH",
    ),
    (
        "aws:autoscaling:launchconfiguration",
        "ImageId",
        "",
        "bake an image with ingot, based on this one if needed, and name it in `image:`",
    ),
    ("aws:autoscaling:launchconfiguration", "DisableDefaultEC2SecurityGroup", "false", GROUPS),
    ("aws:autoscaling:launchconfiguration", "DisableIMDSv1", "true", "leave it out: instances answer IMDSv2 only"),
    ("aws:autoscaling:launchconfiguration", "RootVolumeType", "", "leave it out: root volumes are gp3"),
    (
        "aws:autoscaling:launchconfiguration",
        "RootVolumeIOPS",
        "",
        "mount a volume for data that needs it, with `volumes:` in the boot document",
    ),
    (
        "aws:autoscaling:launchconfiguration",
        "RootVolumeThroughput",
        "",
        "mount a volume for data that needs it, with `volumes:` in the boot document",
    ),
    (
        "aws:autoscaling:launchconfiguration",
        "BlockDeviceMappings",
        "",
        "restore and mount them with `volumes:` and `mounts:` in the boot document",
    ),
    ("aws:autoscaling:launchconfiguration", "MonitoringInterval", "5 minute", "leave it out: the template sets monitoring"),
    ("aws:autoscaling:launchconfiguration", "InstanceTypeFamily", "", "leave it out: `instances.types` names the types"),
    ("aws:autoscaling:launchconfiguration", "LaunchTemplateTagPropagationEnabled", "false", TAGS),
    ("aws:ec2:instances", "SpotFleetOnDemandBase", "0", "leave it out: `spot` is a share of all instances"),
    ("aws:ec2:instances", "SpotAllocationStrategy", "capacity-optimized", "leave it out: the template decides"),
    ("aws:ec2:instances", "SpotMaxPrice", "", "leave it out: a Spot Instance costs at most the On-Demand price"),
    ("aws:ec2:instances", "SupportedArchitectures", "", "leave it out: `instances.types` and the image decide"),
    ("aws:autoscaling:trigger", "*", "", "choose `instances.scale_on`: target tracking needs no thresholds or periods"),
    ("aws:autoscaling:scheduledaction", "*", "", "change `min` with `schedule:`, which supports only `cron` and `min`"),
    ("aws:autoscaling:updatepolicy:rollingupdate", "*", "", "leave it out: `deployment:` applies to every change, configuration included"),
    ("aws:ec2:vpc", "DBSubnets", "", "leave it out: the database is in `network.subnets`"),
    ("aws:ec2:vpc", "AssociatePublicIpAddress", "", "leave it out: the subnets decide whether instances get public addresses"),
    ("aws:elasticbeanstalk:command", "Timeout", "600", "set `timeout:` on steps of the boot document"),
    (
        "aws:elasticbeanstalk:command",
        "IgnoreHealthCheck",
        "false",
        "leave it out: an instance serves once it is healthy, and a deployment fails otherwise",
    ),
    ("aws:elasticbeanstalk:trafficsplitting", "*", "", "choose another policy: this version does not split traffic"),
    (
        "aws:elasticbeanstalk:environment",
        "LoadBalancerType",
        "application",
        "use an Application Load Balancer, the only type that the template creates",
    ),
    ("aws:elasticbeanstalk:environment", "LoadBalancerIsShared", "false", "give each environment its own load balancer"),
    (
        "aws:elasticbeanstalk:environment",
        "ServiceRole",
        "aws-elasticbeanstalk-service-role",
        "deploy the account stack, which contains the service role",
    ),
    ("aws:elasticbeanstalk:environment", "ExternalExtensionsS3Bucket", "", "leave it out: only Elastic Beanstalk uses it"),
    ("aws:elasticbeanstalk:environment", "ExternalExtensionsS3Key", "", "leave it out: only Elastic Beanstalk uses it"),
    (
        "aws:elasticbeanstalk:environment:process:default",
        "Protocol",
        "HTTP",
        "terminate TLS at the load balancer, or with `proxy.tls` of the application",
    ),
    ("aws:elasticbeanstalk:environment:process:default", "HealthCheckInterval", "15", CHECKS),
    ("aws:elasticbeanstalk:environment:process:default", "HealthCheckTimeout", "5", CHECKS),
    ("aws:elasticbeanstalk:environment:process:default", "HealthyThresholdCount", "3", CHECKS),
    ("aws:elasticbeanstalk:environment:process:default", "UnhealthyThresholdCount", "5", CHECKS),
    (
        "aws:elasticbeanstalk:environment:process:default",
        "MatcherHTTPCode",
        "200",
        "make the path of `load_balancer.health_check` answer with 200",
    ),
    ("aws:elasticbeanstalk:environment:process:default", "StickinessEnabled", "false", STICKY),
    ("aws:elasticbeanstalk:environment:process:default", "StickinessLBCookieDuration", "86400", STICKY),
    ("aws:elasticbeanstalk:environment:process:default", "StickinessType", "lb_cookie", STICKY),
    ("aws:elbv2:listener:default", "Protocol", "HTTP", LISTENERS),
    ("aws:elbv2:listener:default", "ListenerEnabled", "true", LISTENERS),
    ("aws:elbv2:listener:443", "Protocol", "HTTPS", LISTENERS),
    ("aws:elbv2:listener:443", "ListenerEnabled", "true", LISTENERS),
    ("aws:elbv2:listener:80", "Protocol", "HTTP", LISTENERS),
    ("aws:elbv2:listener:80", "ListenerEnabled", "true", LISTENERS),
    ("aws:elbv2:listener*", "*", "", LISTENERS),
    ("aws:elasticbeanstalk:environment:process:*", "*", "", "run a separate environment for each process that has its own targets"),
    (
        "aws:elasticbeanstalk:container:*",
        "*",
        "",
        "set it in the Procfile, or with `run:` and `environment:` of the application in the boot document",
    ),
    ("aws:elbv2:loadbalancer", "SecurityGroups", "", "write the address ranges of clients in `network.clients`"),
    ("aws:elbv2:loadbalancer", "ManagedSecurityGroup", "", "write the address ranges of clients in `network.clients`"),
    ("aws:elbv2:loadbalancer", "IdleTimeout", "60", "leave it out: the template decides"),
    ("aws:elbv2:loadbalancer", "AccessLogsS3Enabled", "false", LOGGED),
    ("aws:elbv2:loadbalancer", "*", "", LOGGED),
    ("aws:elb:loadbalancer", "CrossZone", "true", CLASSIC),
    ("aws:elb:loadbalancer", "*", "", CLASSIC),
    ("aws:elb:healthcheck", "*", "", CHECKS),
    ("aws:elb:policies", "ConnectionDrainingEnabled", "true", "leave it out: requests always get time to finish"),
    ("aws:elb:policies", "ConnectionSettingIdleTimeout", "60", "leave it out: the template decides"),
    ("aws:elb:policies", "*", "", CLASSIC),
    ("aws:elb:listener*", "ListenerEnabled", "true", CLASSIC),
    ("aws:elb:listener*", "InstancePort", "80", CLASSIC),
    ("aws:elb:listener*", "InstanceProtocol", "HTTP", CLASSIC),
    ("aws:elb:listener:443", "ListenerProtocol", "HTTPS", CLASSIC),
    ("aws:elb:listener*", "ListenerProtocol", "HTTP", CLASSIC),
    ("aws:elb:*", "*", "", CLASSIC),
    (
        "aws:elasticbeanstalk:environment:proxy",
        "ProxyServer",
        "nginx",
        "keep nginx, or set `proxy: none` for the application in the boot document",
    ),
    ("aws:elasticbeanstalk:environment:proxy:staticfiles", "*", "", "write it as `proxy.static` of the application in the boot document"),
    ("aws:elasticbeanstalk:healthreporting:system", "SystemType", "enhanced", "leave it out: `ingot-fleet status` shows health"),
    ("aws:elasticbeanstalk:healthreporting:system", "*", "", "set thresholds in `health:` and `alarms:`"),
    (
        "aws:elasticbeanstalk:cloudwatch:logs",
        "*",
        "",
        "run the CloudWatch agent from the image, or read the output of `ingot-fleet logs ENVIRONMENT`",
    ),
    ("aws:elasticbeanstalk:cloudwatch:logs:health", "*", "", "leave it out: `ingot-fleet status` shows health"),
    ("aws:elasticbeanstalk:hostmanager", "*", "", "leave it out: logs of failed instances are kept as evidence"),
    ("aws:elasticbeanstalk:managedactions", "*", "", "bake and deploy images regularly, with the pipeline in packer/"),
    ("aws:elasticbeanstalk:managedactions:platformupdate", "InstanceRefreshEnabled", "false", "write `refresh: weekly`, or leave it out"),
    ("aws:elasticbeanstalk:managedactions:platformupdate", "*", "", "bake and deploy images regularly, with the pipeline in packer/"),
    ("aws:elasticbeanstalk:monitoring", "*", "", "leave it out: the group replaces unhealthy instances"),
    ("aws:elasticbeanstalk:control", "*", "", "leave it out: a failed creation is rolled back"),
    ("aws:elasticbeanstalk:xray", "XRayEnabled", "false", "run the X-Ray daemon as a service of the image"),
    ("aws:elasticbeanstalk:sns:topics", "*", "", "subscribe to the topic of the stack"),
    ("aws:elasticbeanstalk:sqsd", "*", "", "set it on the worker, under `workers:` in the boot document"),
    ("aws:elasticbeanstalk:customoption", "*", "", "write it as a property, or as a value of the boot document"),
    ("aws:rds:dbinstance", "DBPassword", "", "leave it out: RDS generates the password, rotates it, and stores it in Secrets Manager"),
    ("aws:rds:dbinstance", "DBDeletionPolicy", "Snapshot", "leave it out: deleting the environment leaves a final snapshot"),
    ("aws:rds:dbinstance", "*", "", "leave it out: it has no equivalent in `database:`"),
];

const ZONES: &str = "leave it out: the zones are those of `network.subnets`";
const GROUPS: &str = "leave it out: the template creates a security group; `network.security_groups` adds others";
const TAGS: &str = "leave it out: instances get the tags of the stack";
const CHECKS: &str = "leave it out: the template sets interval, timeout and thresholds of health checks";
const STICKY: &str = "keep sessions outside the instances: the template has no sticky sessions";
const LISTENERS: &str =
    "use `load_balancer:`, which serves port 80, and port 443 with `certificate`; put other listeners and rules in a stack of your own";
const LOGGED: &str = "add it to the stack's load balancer with a template of your own";
const CLASSIC: &str = "use an Application Load Balancer, the only type that the template creates";

/// Sections of a file other than options, and what to do with each.
const SECTIONS: [(&str, &str); 15] = [
    ("packages", IMAGE),
    ("groups", IMAGE),
    ("users", IMAGE),
    ("sources", IMAGE),
    ("services", IMAGE),
    ("files", KEPT),
    ("commands", KEPT),
    ("container_commands", KEPT),
    ("Resources", "deploy them in a stack of your own, and pass their names in `properties:`"),
    ("Parameters", "deploy them in a stack of your own, and pass their names in `properties:`"),
    ("Mappings", "deploy them in a stack of your own, and pass their names in `properties:`"),
    ("Outputs", "deploy them in a stack of your own, and pass their names in `properties:`"),
    ("CName", "point a DNS name of your own at the address that `ingot-fleet create ENVIRONMENT --release RELEASE` prints"),
    ("Tags", "leave it out: the stack is tagged with application and environment"),
    ("EnvironmentLinks", "pass the address of the other environment as a property"),
];

const IMAGE: &str = "bake it into the image, with a provisioner in packer/";
const KEPT: &str = "keep the file in the bundle: ingot runs this section if the boot document has `compatible_with: beanstalk`";

impl Left {
    /// Describes an option that is not converted. Returns `None` if it has Elastic Beanstalk's default value.
    pub(super) fn option(setting: &Setting) -> Option<Self> {
        let is_meant = |(namespace, name, _, _): &&(&str, &str, &str, &str)| {
            let is_of = namespace.strip_suffix('*').map_or(*namespace == setting.namespace, |start| setting.namespace.starts_with(start));
            is_of && (*name == "*" || *name == setting.name)
        };
        match REST.iter().find(is_meant) {
            Some((_, _, default, _)) if !default.is_empty() && default.eq_ignore_ascii_case(&setting.value) => None,
            Some((_, _, _, advice)) => Some(Self::because(setting, *advice)),
            None => Some(Self::because(
                setting,
                "look up its purpose in Elastic Beanstalk's documentation: ingot-fleet does not know this option",
            )),
        }
    }

    /// Describes an option that is not converted, with specific advice.
    pub(super) fn because(setting: &Setting, advice: impl Into<String>) -> Self {
        let Setting { namespace, resource, name, value, place } = setting;
        let resource = if resource.is_empty() { String::new() } else { format!("{resource}.") };
        let value = if may_be_secret(name, value) { String::new() } else { value.clone() };
        Self { place: place.clone(), what: format!("{resource}{namespace} {name}"), value, advice: advice.into() }
    }

    /// Describes a known section other than options, unless it is empty.
    pub(super) fn section(name: &str, place: &Place, node: &Node) -> Option<Self> {
        let is_empty = match &node.value {
            Value::Map(entries) => entries.is_empty(),
            Value::Sequence(items) => items.is_empty(),
            value => *value == Value::Null,
        };
        let (_, advice) = SECTIONS.iter().find(|(section, _)| *section == name).filter(|_| !is_empty)?;
        Some(Self { place: place.clone(), what: format!("section {name}"), value: String::new(), advice: (*advice).to_owned() })
    }
}
