//! Everything that a boot document can ask for, one file per kind.
//!
//! A kind is a struct that holds its fields, compares them with the machine, and removes the differences. What planning
//! has to know about it is in one [`Shape`](crate::step::Shape), whose defaults fit most steps. To add a kind, add a
//! file here that implements [`Step`](crate::step::Step), an entry in [`document::KINDS`](crate::document::KINDS), and
//! an example in `tests/documents/`.

pub(crate) mod address;
pub(crate) mod application;
pub(crate) mod bundle;
pub(crate) mod claiming;
pub(crate) mod command;
pub(crate) mod credential;
pub(crate) mod database;
pub(crate) mod drain;
pub(crate) mod file;
mod health;
pub(crate) mod install;
pub(crate) mod mount;
mod ordering;
pub(crate) mod preload;
mod ready;
pub(crate) mod secret;
pub(crate) mod service;
pub(crate) mod signal;
mod stamps;
pub(crate) mod volume;
pub(crate) mod worker;

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;
    use crate::step::{AsksAws, Step};

    fn asks<S: Step + DeserializeOwned>(fields: Value) -> AsksAws {
        let step: S = serde_json::from_value(fields).unwrap();
        step.shape("key").asks_aws
    }

    #[test]
    fn a_secret_asks_in_every_boot() {
        for fields in [json!({"secrets_manager": "a"}), json!({"parameter": "/a"}), json!({"parameters_under": "/a/"})] {
            assert_eq!(asks::<secret::Secret>(fields.clone()), AsksAws::Always, "{fields}");
        }
    }

    #[test]
    fn a_volume_asks_until_it_is_attached_and_a_device_that_is_there_never() {
        for (from, answer) in [
            (json!({"snapshot": "snap-1"}), AsksAws::UnlessDone),
            (json!({"snapshot": {"newest_with_tags": {"app": "shop"}}}), AsksAws::UnlessDone),
            (json!({"volume": "vol-1"}), AsksAws::UnlessDone),
            (json!({"volume": {"with_tags": {"app": "shop"}}}), AsksAws::UnlessDone),
            (json!({"blank": {}}), AsksAws::UnlessDone),
            (json!({"device": "/dev/sdf"}), AsksAws::Never),
            (json!({"device": "vol-1"}), AsksAws::Never),
            (json!({"instance_store": 0}), AsksAws::Never),
        ] {
            assert_eq!(asks::<volume::Volume>(json!({"from": from})), answer, "{from}");
        }
    }

    #[test]
    fn a_database_of_rds_asks_in_every_boot_and_a_host_never() {
        for (fields, answer) in [
            (json!({"instance": "shop"}), AsksAws::Always),
            (json!({"cluster": "shop"}), AsksAws::Always),
            (json!({"host": "db.internal", "engine": "postgres"}), AsksAws::Never),
        ] {
            assert_eq!(asks::<database::Database>(fields.clone()), answer, "{fields}");
        }
    }

    #[test]
    fn a_bundle_asks_for_its_parameter_and_until_its_release_is_there() {
        for (source, answer) in [
            (json!({"s3": "s3://a/b.tar", "into": "/opt/a"}), AsksAws::UnlessDone),
            (json!({"parameter": "/a", "into": "/opt/a"}), AsksAws::Always),
            (json!({"url": "https://a/b.tar", "sha256": "0".repeat(64), "into": "/opt/a"}), AsksAws::Never),
        ] {
            assert_eq!(asks::<bundle::Bundle>(source.clone()), answer, "{source}");
        }
    }

    #[test]
    fn a_signal_asks_until_it_is_sent_and_the_url_of_a_wait_condition_never() {
        for (fields, answer) in [
            (json!({"cloudformation": {}}), AsksAws::UnlessDone),
            (json!({"lifecycle_hook": {"name": "ready"}}), AsksAws::UnlessDone),
            (json!({"cloudformation": {"wait_condition_url": "https://a/b"}}), AsksAws::Never),
        ] {
            assert_eq!(asks::<signal::Signal>(fields.clone()), answer, "{fields}");
        }
    }

    #[test]
    fn an_address_asks_in_every_boot() {
        assert_eq!(asks::<address::ElasticIp>(json!({"elastic_ip": "eipalloc-1"})), AsksAws::Always);
    }

    #[test]
    fn what_is_of_this_machine_alone_never_asks() {
        assert_eq!(asks::<file::File>(json!({"content": "a"})), AsksAws::Never);
        assert_eq!(asks::<file::File>(json!({"template": "a.hbs"})), AsksAws::Never);
        assert_eq!(asks::<credential::Credential>(json!({"value": "a"})), AsksAws::Never);
        assert_eq!(asks::<command::Command>(json!({"run": ["/bin/true"]})), AsksAws::Never);
        assert_eq!(asks::<worker::Worker>(json!({"queue": "a", "to": "http://127.0.0.1:5000"})), AsksAws::Never);
        assert_eq!(asks::<drain::Drain>(json!({"lifecycle_hook": {}})), AsksAws::Never);
        assert_eq!(asks::<service::Service>(json!({})), AsksAws::Never);
        assert_eq!(asks::<service::Service>(json!({"ready": {"http": "http://127.0.0.1/"}})), AsksAws::Never);
        assert_eq!(asks::<mount::Mount>(json!({"device": "/dev/sdf", "preload": ["db"]})), AsksAws::Never);
        assert_eq!(asks::<mount::Mount>(json!({"device": "fs-1.efs.eu-west-1.amazonaws.com:/", "type": "nfs4"})), AsksAws::Never);
    }
}
