//! Conversion of files to a fleet.yaml. The output of the command is tested in `tests/fleet/import.rs`.

use super::*;
use crate::fleet;

fn imported(files: &[(&str, &str)]) -> Imported {
    let described: Vec<Described> = files.iter().map(|(name, text)| read(name, text)).collect();
    for one in &described {
        assert_eq!(one.mistakes, [], "{one:?}");
    }
    import(described, Named { releases: Some("s3://shop-releases/".into()), ..Named::default() })
}

/// Remaining mistakes of the fleet.yaml, apart from settings that no Elastic Beanstalk file contains.
fn open(imported: &Imported) -> Vec<String> {
    let read = fleet::read("fleet.yaml", &imported.text);
    let messages = read.mistakes.into_iter().map(|mistake| mistake.message);
    let unsaid = ["image", "network.vpc", "network.subnets", "document", "instances.types"];
    messages.filter(|message| !unsaid.iter().any(|name| message.starts_with(&format!("`{name}` is missing")))).collect()
}

fn of(options: &str) -> Imported {
    imported(&[("saved.cfg.yml", &format!("OptionSettings:\n{options}"))])
}

fn advice<'a>(imported: &'a Imported, option: &str) -> &'a str {
    let found = imported.left.iter().find(|left| left.what.ends_with(option));
    &found.unwrap_or_else(|| panic!("{option} is not among {:#?}", imported.left)).advice
}

#[test]
fn each_form_of_an_option_is_read() {
    let saved = of("  AWSEBAutoScalingGroup.aws:autoscaling:asg: { MinSize: '3', MaxSize: 5 }\n");
    let extension = imported(&[(".ebextensions/a.config", "option_settings:\n  aws:autoscaling:asg:\n    MinSize: 3\n    MaxSize: '5'\n")]);
    let list = "option_settings:\n- { namespace: 'aws:autoscaling:asg', option_name: MinSize, value: 3 }\n\
                - { namespace: 'aws:autoscaling:asg', option_name: MaxSize, value: 5 }\n";
    let listed = imported(&[("b.config", list)]);
    let described = r#"{ "ConfigurationSettings": [ { "EnvironmentName": "prod", "OptionSettings": [
        { "Namespace": "aws:autoscaling:asg", "OptionName": "MinSize", "ResourceName": "AWSEBAutoScalingGroup", "Value": "3" },
        { "Namespace": "aws:autoscaling:asg", "OptionName": "Custom Availability Zones" },
        { "Namespace": "aws:autoscaling:asg", "OptionName": "MaxSize", "ResourceName": "AWSEBAutoScalingGroup", "Value": "5" } ] } ] }"#;
    let described = imported(&[("settings.json", described)]);
    assert!(saved.text.contains("min: 3\n      max: 5\n"), "{}", saved.text);
    for other in [extension, listed, described] {
        assert_eq!(other.text, saved.text);
    }
}

#[test]
fn an_entry_without_a_namespace_is_a_property() {
    let files =
        [("a.config", "option_settings:\n- { option_name: LOG_LEVEL, value: info }\n"), ("b.config", "option_settings:\n  DEBUG: false\n")];
    let text = imported(&files).text;
    assert!(text.contains("properties:\n      DEBUG: \"false\"\n      LOG_LEVEL: info\n"), "{text}");
}

#[test]
fn the_last_of_several_files_wins() {
    let files = [
        (".ebextensions/a.config", "option_settings:\n  aws:autoscaling:asg: { MinSize: 1, MaxSize: 2 }\n"),
        ("env.yaml", "OptionSettings:\n  aws:autoscaling:asg: { MaxSize: 9 }\nEnvironmentName: front+\n"),
    ];
    let text = imported(&files).text;
    assert!(text.contains("\n  front:\n") && text.contains("max: 9"), "{text}");
}

#[test]
fn every_policy_has_an_equivalent_that_fits_the_sizes() {
    for (options, policy) in [
        ("DeploymentPolicy: AllAtOnce", "all_at_once"),
        ("DeploymentPolicy: Rolling, BatchSizeType: Fixed, BatchSize: 2", "rolling"),
        ("DeploymentPolicy: Rolling, BatchSizeType: Fixed, BatchSize: 4", "rolling_with_batch"),
        ("DeploymentPolicy: RollingWithAdditionalBatch, BatchSizeType: Percentage, BatchSize: 25", "rolling_with_batch"),
        ("DeploymentPolicy: Immutable", "immutable"),
        ("BatchSizeType: Percentage, BatchSize: 30", "rolling_with_batch"),
    ] {
        let sizes = "  aws:autoscaling:asg: { MinSize: 4, MaxSize: 8 }\n";
        let imported = of(&format!("{sizes}  aws:elasticbeanstalk:command: {{ {options} }}\n"));
        assert!(imported.text.contains(&format!("policy: {policy}\n")), "{options}: {}", imported.text);
        assert_eq!(open(&imported), [""; 0], "{options}: {}", imported.text);
    }
    // There is no room for an additional batch, and no instance would stay in service.
    let one = of("  aws:autoscaling:asg: { MinSize: 1, MaxSize: 1 }\n  aws:elasticbeanstalk:command: { DeploymentPolicy: Rolling }\n");
    assert!(one.text.contains("policy: immutable\n"), "{}", one.text);
    assert_eq!(open(&one), [""; 0], "{}", one.text);
}

#[test]
fn a_single_instance_has_no_settings_of_a_group() {
    let imported = of("  aws:elasticbeanstalk:environment: { EnvironmentType: SingleInstance }\n\
        \x20 aws:autoscaling:asg: { MinSize: 1, MaxSize: 1 }\n  aws:ec2:vpc: { ELBScheme: public, ELBSubnets: subnet-1a2b3c4d }\n\
        \x20 aws:elasticbeanstalk:application: { Application Healthcheck URL: /up }\n\
        \x20 aws:elasticbeanstalk:command: { DeploymentPolicy: Immutable, BatchSizeType: Percentage, BatchSize: 30 }\n");
    assert!(imported.text.contains("mode: single_instance\n"), "{}", imported.text);
    assert!(advice(&imported, "Application Healthcheck URL").contains("`ready.http`"));
    assert_eq!(open(&imported), [""; 0], "{}", imported.text);
}

#[test]
fn a_worker_has_its_queue() {
    let imported = of("  aws:elasticbeanstalk:sqsd: { VisibilityTimeout: 300, RetentionPeriod: 345600, MaxRetries: 10, HttpPath: /job }\n");
    assert!(imported.text.contains("tier: worker\n"), "{}", imported.text);
    assert!(imported.text.contains("visibility: \"5m\"\n      retention: \"4d\"\n      retries: 10\n"), "{}", imported.text);
    assert!(advice(&imported, "HttpPath").contains("`workers:`"));
    assert_eq!(open(&imported), [""; 0], "{}", imported.text);
}

#[test]
fn no_secret_is_converted_or_printed() {
    let imported =
        of("  aws:elasticbeanstalk:application:environment: { API_TOKEN: hunter2, DATABASE_URL: 'postgres://shop:hunter2@db/shop' }\n\
        \x20 aws:elasticbeanstalk:application:environmentsecrets: { KEY: 'arn:aws:ssm:eu-west-1:123456789012:parameter/prod/key' }\n\
        \x20 aws:rds:dbinstance: { DBEngine: postgres, DBInstanceClass: db.t3.micro, DBPassword: hunter2 }\n");
    assert!(!format!("{:?} {:?} {}", imported.left, imported.notes, imported.text).contains("hunter2"), "{imported:#?}");
    assert!(imported.text.contains("secrets: [/prod/key]\n"), "{}", imported.text);
    assert_eq!(imported.left.iter().filter(|left| left.advice.contains("Secrets Manager")).count(), 3);
}

#[test]
fn defaults_of_elastic_beanstalk_are_not_mentioned() {
    let imported = of("  aws:autoscaling:asg: { Cooldown: '360', Availability Zones: Any, EnableCapacityRebalancing: 'False' }\n");
    assert_eq!((imported.left.len(), imported.defaults), (0, 3), "{:#?}", imported.left);
    let imported = of("  aws:autoscaling:asg: { Cooldown: '600' }\n  aws:new:namespace: { Option: x }\n");
    assert!(advice(&imported, "Cooldown").starts_with("leave it out"));
    assert!(advice(&imported, "aws:new:namespace Option").contains("does not know this option"));
}

#[test]
fn instances_that_are_replaced_each_week_stay_so() {
    let updates = |enabled: &str| {
        of(&format!("  aws:elasticbeanstalk:managedactions:platformupdate: {{ InstanceRefreshEnabled: {enabled}, UpdateLevel: minor }}\n"))
    };
    let imported = updates("true");
    assert!(imported.text.contains("refresh: weekly\n"), "{}", imported.text);
    assert_eq!(open(&imported), [""; 0], "{}", imported.text);
    assert!(advice(&imported, "UpdateLevel").starts_with("bake "));
    let imported = updates("false");
    assert!(!imported.text.contains("refresh"), "{}", imported.text);
    assert_eq!(imported.left.len(), 1, "{:#?}", imported.left);
}

#[test]
fn schedules_set_the_minimum() {
    let action = |name: &str, cron: &str, min: &str| {
        format!("  {name}.aws:autoscaling:scheduledaction: {{ Recurrence: '{cron}', MinSize: {min}, MaxSize: 4 }}\n")
    };
    let imported = of(&[action("day", "0 6 * * *", "3"), action("night", "0 22 * * *", "1"), action("more", "0 1 * * *", "2")].concat());
    assert!(imported.text.contains("schedule: [{cron: \"0 6 * * *\", min: 3}, {cron: \"0 1 * * *\", min: 2}]\n"), "{}", imported.text);
    let left: Vec<&str> = imported.left.iter().map(|left| left.what.as_str()).collect();
    assert_eq!(left.iter().filter(|what| what.starts_with("night.")).count(), 3, "{left:?}");
}

#[test]
fn unreadable_content_is_a_mistake_with_its_place() {
    for (name, text, message) in [
        ("saved.cfg.yml", "Resources: {}\n", "the file has no option settings"),
        ("saved.cfg.yml", "OptionSettings: 5\n", "option settings must be a map or a list"),
        ("a.config", "option_settings:\n  aws:autoscaling:asg: 5\n", "must be a map of options"),
        ("a.config", "option_settings:\n- { value: 5 }\n", "names no option"),
        ("a.config", "option_settings:\n  aws:autoscaling:asg: { MinSize: { a: 1 } }\n", "the value of MinSize is a map"),
        ("env.yaml", "", "this file is empty"),
        ("all.json", r#"{ "ConfigurationSettings": [ {}, {} ] }"#, "the file describes 2 environments"),
    ] {
        let found = read(name, text).mistakes;
        assert!(found.iter().any(|mistake| mistake.message.contains(message)), "{text}: {found:?}");
    }
}

#[test]
fn a_batch_size_without_a_type_is_a_percentage() {
    let sizes = "  aws:autoscaling:asg: { MinSize: 4, MaxSize: 8 }\n";
    for (options, batch) in [
        ("DeploymentPolicy: Rolling, BatchSize: 50", "batch: \"50%\"\n"),
        ("DeploymentPolicy: Rolling, BatchSizeType: Fixed, BatchSize: 1", "batch: 1\n"),
    ] {
        let imported = of(&format!("{sizes}  aws:elasticbeanstalk:command: {{ {options} }}\n"));
        assert!(imported.text.contains(batch), "{options}: {}", imported.text);
        assert_eq!(open(&imported), [""; 0], "{options}: {}", imported.text);
    }
    let all = of(&format!("{sizes}  aws:elasticbeanstalk:command: {{ DeploymentPolicy: Rolling, BatchSize: 100 }}\n"));
    assert!(all.notes.iter().any(|note| note.starts_with("`deployment.batch` is 25%")), "{:?}", all.notes);
}

#[test]
fn an_unsupported_policy_is_replaced_by_one_that_fits() {
    let imported =
        of("  aws:autoscaling:asg: { MinSize: 1, MaxSize: 1 }\n  aws:elasticbeanstalk:command: { DeploymentPolicy: TrafficSplitting }\n");
    assert!(advice(&imported, "DeploymentPolicy").contains("`deployment.policy`"));
    assert!(imported.text.contains("policy: immutable\n"), "{}", imported.text);
    assert_eq!(open(&imported), [""; 0], "{}", imported.text);
}

#[test]
fn other_files_may_hold_no_options() {
    let extension = (".ebextensions/a.config", "option_settings:\n  aws:autoscaling:asg: { MinSize: 2 }\n");
    let environment = "AWSConfigurationTemplateVersion: 1.1.0.0\nSolutionStack: 64bit Amazon Linux\nEnvironmentName: front+\n\
        CName: front+\nTags: { team: a }\n";
    let config = (".elasticbeanstalk/config.yml", "branch-defaults: { main: { environment: front } }\ndeploy: { artifact: a.zip }\n");
    let imported = imported(&[extension, config, ("env.yaml", environment)]);
    assert!(imported.text.contains("\n  front:\n"), "{}", imported.text);
    for section in ["section CName", "section Tags"] {
        assert!(!advice(&imported, section).is_empty());
    }
}

#[test]
fn a_single_worker_gets_advice_on_its_health_checks() {
    let imported = of("  aws:elasticbeanstalk:environment: { EnvironmentType: SingleInstance }\n\
        \x20 aws:elasticbeanstalk:sqsd: { MaxRetries: 3 }\n  aws:elasticbeanstalk:application: { Application Healthcheck URL: /up }\n\
        \x20 aws:elasticbeanstalk:environment:process:default: { HealthCheckPath: /h, Port: 8080, DeregistrationDelay: 30 }\n");
    for option in ["Application Healthcheck URL", "HealthCheckPath"] {
        assert!(advice(&imported, option).contains("`ready.http`"));
    }
    assert!(advice(&imported, "Port").contains("`port`"));
    assert!(!imported.left.iter().any(|left| left.what.ends_with("DeregistrationDelay")), "{:#?}", imported.left);
}

#[test]
fn defaults_of_a_classic_load_balancer_do_not_override_settings() {
    let imported = of("  aws:elasticbeanstalk:environment:process:default: { HealthCheckPath: /, DeregistrationDelay: 60 }\n\
        \x20 aws:elasticbeanstalk:application: { Application Healthcheck URL: /up }\n\
        \x20 aws:elb:policies: { ConnectionDrainingTimeout: 20 }\n\
        \x20 aws:autoscaling:launchconfiguration: { SecurityGroups: awseb-e-a-stack-AWSEBSecurityGroup-B }\n");
    assert!(imported.text.contains("health_check: /up\n      deregistration: \"1m\"\n"), "{}", imported.text);
    assert!(advice(&imported, "SecurityGroups").starts_with("leave out"));
}

#[test]
fn a_database_keeps_what_elastic_beanstalk_calls_it() {
    let imported = of("  aws:rds:dbinstance: { HasCoupledDatabase: true, DBInstanceClass: db.t3.small, DBSnapshotIdentifier: last }\n");
    for setting in ["engine: mysql\n", "user: ebroot\n", "name: ebdb\n"] {
        assert!(imported.text.contains(setting), "{}", imported.text);
    }
}
