//! Network and load balancer.

use ingot::desk::Value;

use super::super::draft::list;
use super::super::options::Setting;
use super::{Carry, boolean, is_computed, items, seconds, string, whole};

const VPC: &str = "aws:ec2:vpc";
const PROCESS: &str = "aws:elasticbeanstalk:environment:process:default";

/// Shortest and longest deregistration delay of a target group, in seconds.
const WAITS: (u64, u64) = (1, 3600);

impl Carry {
    pub(super) fn network(&mut self) {
        self.take(
            (VPC, "VPCId"),
            "network.vpc",
            |text| text.starts_with("vpc-").then(|| string(text)),
            "write the ID of the VPC in `network.vpc`",
        );
        self.take((VPC, "Subnets"), "network.subnets", |text| named(text, "subnet-"), "write the IDs of the subnets in `network.subnets`");
        if self.is_balanced() {
            let advice = "write the IDs of the subnets in `network.load_balancer_subnets`";
            self.take((VPC, "ELBSubnets"), "network.load_balancer_subnets", |text| named(text, "subnet-"), advice);
        }
        let (namespace, name) = ("aws:autoscaling:launchconfiguration", "SecurityGroups");
        let advice = "write the IDs of the groups in `network.security_groups`";
        match self.options.take(namespace, name) {
            // Elastic Beanstalk deletes the group it created along with the environment.
            Some(groups) if groups.value.contains("AWSEBSecurityGroup") => {
                self.leave(
                    &groups,
                    "leave out the group that Elastic Beanstalk created; write the IDs of the others in `network.security_groups`",
                );
            }
            Some(groups) => match named(&groups.value, "sg-") {
                Some(value) => self.carry(groups, "network.security_groups", value),
                None => self.leave(&groups, advice),
            },
            None => {}
        }
        if !self.draft.has("network.vpc") {
            self.notes.push("no file names a VPC, so Elastic Beanstalk uses the default VPC: write its ID in `network.vpc`".into());
        }
    }

    pub(super) fn load_balancer(&mut self) {
        if !self.is_balanced() {
            return self.without_load_balancer();
        }
        self.take((VPC, "ELBScheme"), "load_balancer.public", scheme, "write `public: true` or `public: false` in `load_balancer:`");
        // Options of Classic Load Balancers apply unless those of Application Load Balancers override them.
        for namespace in ["aws:elb:listener:443", "aws:elbv2:listener:443"] {
            let names = ["SSLCertificateArns", "SSLCertificateId"];
            for name in names {
                let advice = "import the certificate into ACM, and write its ARN in `load_balancer.certificate`";
                self.take((namespace, name), "load_balancer.certificate", certificate, advice);
            }
        }
        let advice = "write a path that answers 200 in `load_balancer.health_check`";
        self.take(("aws:elasticbeanstalk:application", "Application Healthcheck URL"), "load_balancer.health_check", path, advice);
        // Settings described by AWS contain the default `/` even if another option sets a path.
        let is_default = |setting: &Setting| setting.value.trim() == "/";
        let health = self.options.take(PROCESS, "HealthCheckPath");
        if let Some(setting) = health.filter(|setting| !is_default(setting) || !self.draft.has("load_balancer.health_check")) {
            match path(&setting.value) {
                Some(value) => self.carry(setting, "load_balancer.health_check", value),
                None => self.leave(&setting, advice),
            }
        }
        self.take((PROCESS, "Port"), "load_balancer.port", |text| whole(text, 1, 65535), "write a port in `load_balancer.port`");
        let advice = "write 1s to 1h in `load_balancer.deregistration`";
        for option in [("aws:elb:policies", "ConnectionDrainingTimeout"), (PROCESS, "DeregistrationDelay")] {
            self.take(option, "load_balancer.deregistration", |text| seconds(text, WAITS.0, WAITS.1), advice);
        }
        if !self.draft.has("load_balancer.health_check") {
            self.draft.set("load_balancer.health_check", string("/"));
            self.notes
                .push("`health_check` is `/`, as in Elastic Beanstalk: choose a path that proves that the application can serve".into());
        }
    }

    /// Drops options that only concern a load balancer. Path and port of the application are left, with advice.
    fn without_load_balancer(&mut self) {
        drop(self.options.take(VPC, "ELBScheme"));
        drop(self.options.take(VPC, "ELBSubnets"));
        drop(self.options.take(PROCESS, "DeregistrationDelay"));
        let ready = "write it as `ready.http` of the application in the boot document";
        let port = "write it as `port` of the application in the boot document";
        for (namespace, name, advice) in [
            ("aws:elasticbeanstalk:application", "Application Healthcheck URL", ready),
            (PROCESS, "HealthCheckPath", ready),
            (PROCESS, "Port", port),
        ] {
            if let Some(setting) = self.options.take(namespace, name) {
                self.leave(&setting, advice);
            }
        }
    }
}

fn named(text: &str, start: &str) -> Option<Value> {
    let names = items(text);
    (!names.is_empty() && names.iter().all(|name| name.starts_with(start))).then(|| list(names))
}

fn scheme(text: &str) -> Option<Value> {
    match text.to_ascii_lowercase().as_str() {
        "public" | "internet-facing" => Some(Value::Bool(true, "true")),
        "internal" => Some(Value::Bool(false, "false")),
        _ => boolean(text).map(|is_public| Value::Bool(is_public, if is_public { "true" } else { "false" })),
    }
}

/// Takes the first ACM certificate, the listener's default.
fn certificate(text: &str) -> Option<Value> {
    items(text).first().filter(|arn| arn.contains(":acm:")).map(|arn| string(*arn))
}

/// Extracts the path from `/health`, `HTTP:80/health` or `http://…/health`.
fn path(text: &str) -> Option<Value> {
    if is_computed(text) || text.to_ascii_uppercase().starts_with("TCP") {
        return None;
    }
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    rest.find('/').map(|at| string(&rest[at..]))
}
