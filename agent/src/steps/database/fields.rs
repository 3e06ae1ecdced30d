//! The fields of a database.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::host;
use super::serverless::{self, Serverless};
use crate::address::Address;
use crate::failure::Objection;
use crate::net::databases::{Engine, Tls};
use crate::step::fields::{OrMap, within};
use crate::template::Template;
use crate::text::Text;

/// A database that accepts logins, in RDS or anywhere else.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    /// Identifier of an RDS instance.
    pub(super) instance: Option<Text>,
    /// Identifier of an Aurora cluster.
    pub(super) cluster: Option<Text>,
    /// Host name of any other database.
    pub(super) host: Option<Text>,
    /// Port of a database with a `host`. Default: 5432 for postgres, 3306 for mysql.
    #[serde(default, deserialize_with = "port")]
    #[schemars(range(min = 1, max = 65535))]
    pub(super) port: Option<u16>,
    /// Protocol of a database with a `host`.
    pub(super) engine: Option<Engine>,
    /// How to create the database if RDS does not have it. Default: a missing database is an error.
    pub(super) restore_from: Option<RestoreFrom>,
    /// Secret with `username`, `password` and optionally `dbname`: used to log in, and set on a restored database. With
    /// `managed`, it is the one in which RDS manages the master password.
    #[serde(default, deserialize_with = "credentials")]
    #[schemars(with = "Option<String>", extend("pattern" = r"^(managed$|secrets\..+)"))]
    pub(super) credentials: Option<Credentials>,
    /// Encryption of the connection. Default: `prefer`.
    #[serde(default)]
    pub(super) tls: Tls,
    /// File with certificate authorities in PEM. Default: the system's, or Mozilla's, and those in
    /// `/etc/ingot/rds-ca.pem`.
    pub(super) ca: Option<PathBuf>,
}

fn port<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    Ok(within::<_, 1, 65535>(deserializer)?.and_then(|port| u16::try_from(port).ok()))
}

/// The source of user name and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    Secret(Address),
    /// The secret of the master user that RDS manages.
    Managed,
}

fn credentials<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Credentials>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    if text == "managed" {
        return Ok(Some(Credentials::Managed));
    }
    let address = text.parse().ok().filter(|address: &Address| address.kind() == "secrets" && !address.key().is_empty());
    let wrong = || {
        Objection::new(
            format!("`{text}` is not the address of a secret"),
            "write it in full and without braces, as in secrets.db, or write `managed`",
        )
    };
    address.map(|address| Some(Credentials::Secret(address))).ok_or_else(|| serde::de::Error::custom(wrong()))
}

/// A snapshot, and the settings of the restored database. Settings that are not given are those of the snapshot, or
/// chosen by RDS.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RestoreFrom {
    /// Snapshot to restore: its ID or ARN, or the newest available one with tags.
    pub(super) snapshot: OrMap<Text, Newest>,
    /// Instance class. A cluster requires it, unless it is `serverless`, and gets one instance of it.
    pub(super) class: Option<Text>,
    /// Capacity of an Aurora Serverless v2 cluster, which gets one instance of class `db.serverless`.
    pub(super) serverless: Option<Serverless>,
    /// Name of the DB subnet group.
    pub(super) subnet_group: Option<Text>,
    /// IDs of security groups.
    #[serde(default)]
    pub(super) security_groups: Vec<Text>,
    /// Name of the parameter group; for a cluster, of the cluster parameter group.
    pub(super) parameter_group: Option<Text>,
    /// Tags for the database, in addition to ingot's own.
    #[serde(default)]
    pub(super) tags: BTreeMap<String, Text>,
}

/// The newest available snapshot of this account with all of these tags.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Newest {
    /// Tags that the snapshot must have; the newest match in this account is used.
    pub(super) newest_with_tags: BTreeMap<String, Text>,
}

impl RestoreFrom {
    /// The class of a cluster's first instance.
    pub(super) fn member_class(&self) -> Option<Text> {
        self.class.clone().or_else(|| self.serverless.as_ref().map(|_| Text::new(serverless::CLASS)))
    }

    /// Contradictions between the fields.
    fn contradictions(&self, of_cluster: bool) -> Vec<Objection> {
        let mut wrong = self.serverless.as_ref().map(Serverless::contradictions).unwrap_or_default();
        let mut object = |message: &str, hint: &str| wrong.push(Objection::new(message, hint));
        let class = self.class.as_ref().filter(|class| class.is_plain()).map(Text::raw);
        match (class, &self.serverless) {
            (Some(serverless::CLASS), None) if of_cluster => object(
                "instances of class db.serverless need a capacity range",
                "add `serverless: { min_capacity: 0.5, max_capacity: 8 }` with your capacity",
            ),
            (Some(class), Some(_)) if class != serverless::CLASS => {
                object(&format!("instances of class {class} do not scale"), "remove `class:` or `serverless:`");
            }
            _ => {}
        }
        if self.serverless.is_some() && !of_cluster {
            object("only Aurora clusters are serverless", "name it with `cluster:`, or remove `serverless:`");
        }
        if of_cluster && self.class.is_none() && self.serverless.is_none() {
            object("a cluster is restored without any instance, and its first one needs a class", "add `class:`");
        }
        if matches!(&self.snapshot, OrMap::Map(newest) if newest.newest_with_tags.is_empty()) {
            object("without any tag, every snapshot would match", "name at least one tag");
        }
        for tag in self.tags.keys().filter(|tag| tag.starts_with("aws:") || tag.starts_with("ingot:")) {
            object(&format!("the tag `{tag}` is reserved"), "give it a name that begins with neither `aws:` nor `ingot:`");
        }
        wrong
    }
}

impl Database {
    /// All strings that may contain references.
    pub(super) fn strings(&self) -> Vec<&Text> {
        let mut strings: Vec<&Text> = [&self.instance, &self.cluster, &self.host].into_iter().flatten().collect();
        if let Some(from) = &self.restore_from {
            match &from.snapshot {
                OrMap::Plain(id) => strings.push(id),
                OrMap::Map(newest) => strings.extend(newest.newest_with_tags.values()),
            }
            strings.extend([&from.class, &from.subnet_group, &from.parameter_group].into_iter().flatten());
            strings.extend(&from.security_groups);
            strings.extend(from.tags.values());
        }
        strings
    }

    /// Contradictions between the fields.
    pub(super) fn contradictions(&self) -> Vec<Objection> {
        let mut wrong: Vec<Objection> = self.host.as_ref().and_then(host::objection).into_iter().collect();
        let mut object = |message: &str, hint: &str| wrong.push(Objection::new(message, hint));
        match [&self.instance, &self.cluster, &self.host].into_iter().flatten().count() {
            1 => {}
            0 => object("no database is named", "give `instance:`, `cluster:`, or `host:` and `engine:`"),
            _ => object("a database is either an instance, a cluster, or a host", "keep one of instance, cluster and host"),
        }
        if self.host.is_some() {
            if self.engine.is_none() {
                object("`host` needs `engine`", "add `engine: postgres` or `engine: mysql`");
            }
            if self.restore_from.is_some() {
                object("only RDS restores databases, and this one is a host", "name it with `instance:` or `cluster:`");
            }
            if self.is_managed() {
                object("only RDS manages passwords, and this one is a host", "name it with `instance:` or `cluster:`, or name a secret");
            }
        } else {
            for (field, given) in [("port", self.port.is_some()), ("engine", self.engine.is_some())] {
                if given {
                    object(&format!("`{field}` applies to a database with a `host`: RDS reports it"), "remove it");
                }
            }
        }
        if self.ca.as_ref().is_some_and(|path| !path.is_absolute()) {
            object("`ca` is not an absolute path", "write the path of the file in the image, as in /etc/ssl/shop-ca.pem");
        }
        if self.ca.is_some() && self.tls == Tls::Disable {
            object("it has a `ca`, but its encryption is disabled", "remove one of the two");
        }
        if self.strings().into_iter().any(holds_secret) {
            object(
                "the location and the source of a database must not come from a secret: both are printed",
                "write it literally, or keep it in `values:`",
            );
        }
        wrong.extend(self.restore_from.iter().flat_map(|from| from.contradictions(self.cluster.is_some())));
        wrong
    }
}

fn holds_secret(text: &Text) -> bool {
    let template = (!text.is_plain()).then(|| Template::parse(text.raw()).ok()).flatten();
    template.is_some_and(|template| template.references().iter().any(|reference| reference.is_secret()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objections(fields: serde_json::Value) -> Vec<String> {
        let database: Database = serde_json::from_value(fields).unwrap();
        database.contradictions().into_iter().map(|objection| objection.message).collect()
    }

    #[test]
    fn takes_what_makes_sense() {
        for fields in [
            json!({"instance": "shop"}),
            json!({"instance": "shop", "restore_from": {"snapshot": "golden"}, "credentials": "secrets.db"}),
            json!({"instance": "shop", "restore_from": {"snapshot": "golden"}, "credentials": "managed"}),
            json!({"cluster": "shop", "restore_from": {"snapshot": "s", "serverless": {"min_capacity": 0.5, "max_capacity": 8}}}),
            json!({"cluster": "shop", "restore_from": {"snapshot": "s", "class": "db.serverless",
                "serverless": {"min_capacity": 0.5, "max_capacity": 8}}}),
            json!({"cluster": "shop", "restore_from": {"snapshot": {"newest_with_tags": {"app": "shop"}}, "class": "db.r7g.large"}}),
            json!({"host": "db.internal", "engine": "mysql", "port": 3307, "tls": "verify", "ca": "/etc/ssl/ca.pem"}),
        ] {
            assert_eq!(objections(fields.clone()), [""; 0], "{fields}");
        }
    }

    #[test]
    fn takes_the_address_of_a_whole_secret_for_credentials() {
        for text in ["files./etc/x", "{{secrets.db}}", "secrets", "secrets.", "db"] {
            let wrong = serde_json::from_value::<Database>(json!({"instance": "a", "credentials": text})).unwrap_err();
            assert!(wrong.to_string().contains("is not the address of a secret"), "{text}: {wrong}");
        }
    }

    #[test]
    fn objects_to_what_does_not() {
        for (fields, message) in [
            (json!({}), "no database is named"),
            (json!({"instance": "a", "cluster": "b"}), "a database is either"),
            (json!({"host": "a"}), "`host` needs `engine`"),
            (json!({"host": "a", "engine": "mysql", "restore_from": {"snapshot": "s"}}), "only RDS restores"),
            (json!({"host": "a:5432", "engine": "postgres"}), "`host` ends with a port"),
            (json!({"host": "postgres://a/b", "engine": "postgres"}), "`host` is a URL"),
            (json!({"host": "a", "engine": "mysql", "credentials": "managed"}), "only RDS manages"),
            (json!({"cluster": "a", "restore_from": {"snapshot": "s", "class": "db.serverless"}}), "instances of class db.serverless"),
            (
                json!({"cluster": "a", "restore_from": {"snapshot": "s", "class": "db.r7g.large",
                    "serverless": {"min_capacity": 1, "max_capacity": 2}}}),
                "instances of class db.r7g.large",
            ),
            (
                json!({"instance": "a", "restore_from": {"snapshot": "s", "serverless": {"min_capacity": 1, "max_capacity": 2}}}),
                "only Aurora clusters",
            ),
            (json!({"instance": "a", "port": 5432}), "`port` applies to"),
            (json!({"cluster": "a", "restore_from": {"snapshot": "s"}}), "a cluster is restored without"),
            (json!({"instance": "a", "restore_from": {"snapshot": {"newest_with_tags": {}}}}), "without any tag"),
            (json!({"instance": "a", "restore_from": {"snapshot": "s", "tags": {"ingot:x": "y"}}}), "the tag `ingot:x`"),
            (json!({"instance": "{{secrets.db.name}}"}), "the location and the source"),
            (json!({"instance": "a", "ca": "ca.pem"}), "`ca` is not an absolute path"),
        ] {
            let found = objections(fields.clone());
            assert!(found.len() == 1 && found[0].starts_with(message), "{fields}: {found:?}");
        }
    }
}
