//! The fields of a proxy, and what can be wrong with them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{SeqAccess, Visitor};

use super::size::Size;
use crate::failure::Objection;
use crate::step::fields::TimeLimit;
use crate::text::Text;

const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// Larger than nginx's own limit of 1 MiB, which most applications sooner or later run into.
const BODY: Size = Size::mebibytes(10);

const TIMEOUT: Duration = Duration::from_secs(60);

/// nginx in front of an application.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fields {
    /// Port for http, or a list of ports; `[]` where `tls` alone is served. Default: 80.
    listen: Option<Ports>,
    /// Files that nginx serves from the release: the path of a URL, and the directory or file in the release.
    #[serde(default, rename = "static")]
    files: BTreeMap<String, String>,
    /// Maximum size of a request's body; a larger one gets status 413. Default: 10m.
    body: Option<Size>,
    /// Maximum time for which the application may send nothing while it answers; then the client gets status 504. A
    /// WebSocket is closed after as much silence. Default: 60s.
    timeout: Option<TimeLimit>,
    /// Certificate for https. Default: none, as behind a load balancer that ends TLS.
    pub(super) tls: Option<Tls>,
}

/// Certificate for https.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// The certificate in PEM, followed by the intermediate ones.
    pub(crate) certificate: Text,
    /// Its private key in PEM, without a passphrase.
    pub(crate) key: Text,
    /// Port for https. Default: 443.
    #[serde(default, deserialize_with = "port")]
    #[schemars(range(min = 1))]
    listen: Option<u16>,
}

impl Tls {
    pub(crate) fn port(&self) -> u16 {
        self.listen.unwrap_or(HTTPS)
    }

    fn objections(&self) -> impl Iterator<Item = Objection> {
        let pem = |field, text: &Text, (begin, what): (&str, &str)| {
            let looks_like_one = text.raw().contains("-----BEGIN ") && text.raw().contains(begin);
            (text.is_plain() && !looks_like_one).then(|| {
                let hint = format!("keep it in a secret, as in `{field}: \"{{{{secrets.site.{field}}}}}\"`");
                Objection::new(format!("`{field}` is not {what} in PEM"), hint)
            })
        };
        let certificate = pem("certificate", &self.certificate, ("CERTIFICATE-----", "a certificate"));
        certificate.into_iter().chain(pem("key", &self.key, ("PRIVATE KEY-----", "a private key")))
    }
}

impl Fields {
    pub(super) fn plain_ports(&self) -> Vec<u16> {
        self.listen.as_ref().map_or_else(|| vec![HTTP], |ports| ports.0.clone())
    }

    pub(super) fn body(&self) -> Size {
        self.body.unwrap_or(BODY)
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout.map_or(TIMEOUT, |limit| limit.0)
    }

    /// The URL path of each entry with files, without a trailing slash, and its path in the release likewise.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(url, path)| (url.trim_end_matches('/'), path.trim_start_matches("./").trim_end_matches('/')))
    }

    pub(super) fn objections(&self, own: u16) -> Vec<Objection> {
        let mut found = self.port_objections(own);
        if self.timeout() < Duration::from_secs(1) {
            found.push(Objection::new("the `timeout` of a proxy is at least 1s", "write a longer one, as in 60s"));
        }
        found.extend(self.tls.iter().flat_map(Tls::objections));
        let mut urls = BTreeMap::new();
        for (url, path) in &self.files {
            if !url.strip_prefix('/').is_some_and(is_plain) {
                let hint = "write it as in a browser, without escapes and spaces, such as /assets";
                found.push(Objection::new(format!("`{url}` is not the path of a URL"), hint));
            } else if url == "/" {
                let message = "`static` has `/`, and nothing would reach the application";
                found.push(Objection::new(message, "serve a directory below it, such as /assets"));
            } else if let Some(other) = urls.insert(url.trim_end_matches('/'), url) {
                found.push(Objection::new(format!("`static` has both `{other}` and `{url}`"), "keep one of the two"));
            }
            if !is_release_path(path) {
                let hint = "write it from the top of the release, without `..` and spaces, such as public/assets";
                found.push(Objection::new(format!("`{path}` is not a path in the release"), hint));
            }
        }
        found
    }

    fn port_objections(&self, own: u16) -> Vec<Objection> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for port in self.plain_ports().into_iter().chain(self.tls.as_ref().map(Tls::port)) {
            if port == own {
                let message = format!("the proxy cannot listen on port {port}: it is the application's own");
                found.push(Objection::new(message, "give the application another `port`, or the proxy another `listen`"));
            } else if !seen.insert(port) {
                found.push(Objection::new(format!("the proxy would listen on port {port} twice"), "keep it once"));
            }
        }
        if self.tls.is_none() && self.listen.as_ref().is_some_and(|ports| ports.0.is_empty()) {
            found.push(Objection::new("the proxy listens on no port", "give `listen` a port, or write `proxy: none`"));
        }
        found
    }
}

/// Whether `path` is relative to the release and does not leave it by its names.
pub(super) fn is_release_path(path: &str) -> bool {
    let inside = path.strip_prefix("./").unwrap_or(path);
    !inside.is_empty() && is_plain(inside)
}

/// Whether a path without a leading slash consists of names that have no special meaning to nginx. Paths are also
/// quoted in nginx's configuration, but `$` would start a variable even so, and `%` would never match, because nginx
/// compares decoded paths.
fn is_plain(path: &str) -> bool {
    let is_name = |name: &str| !matches!(name, "" | "." | "..");
    let is_harmless = |letter: char| letter.is_alphanumeric() || "/-._~@+,=!".contains(letter);
    let path = path.strip_suffix('/').unwrap_or(path);
    path.is_empty() || (path.split('/').all(is_name) && path.chars().all(is_harmless))
}

/// One port, or a list of ports.
#[derive(Debug, Clone)]
struct Ports(Vec<u16>);

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;

        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Ports;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port from 1 to 65535, or a list of ports")
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Ports, E> {
                checked(number).map(|port| Ports(vec![port]))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Ports, E> {
                self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Ports, A::Error> {
                let mut ports = Vec::new();
                while let Some(number) = items.next_element::<i64>()? {
                    ports.push(checked(number)?);
                }
                Ok(Ports(ports))
            }
        }

        deserializer.deserialize_any(OneOrMore)
    }
}

impl JsonSchema for Ports {
    fn schema_name() -> Cow<'static, str> {
        "Ports".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let port = schemars::json_schema!({ "type": "integer", "minimum": 1, "maximum": 65535 });
        schemars::json_schema!({ "anyOf": [port, { "type": "array", "items": port, "uniqueItems": true }] })
    }
}

fn port<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    let Some(number) = Option::<i64>::deserialize(deserializer)? else { return Ok(None) };
    checked(number).map(Some)
}

fn checked<E: serde::de::Error>(number: i64) -> Result<u16, E> {
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    port.ok_or_else(|| E::custom(Objection::new(format!("{number} is not a port"), "give a number from 1 to 65535")))
}
