//! `proxy:` of an application — nginx in front of it, which finds the serving release at each connection.
//!
//! ```yaml
//! proxy:
//!   listen: 80                           # or a list
//!   static: { /assets: public/assets }   # served from the release, without the application
//!   body: 10m
//!   timeout: 60s
//!   tls: { certificate: "{{secrets.site.certificate}}", key: "{{secrets.site.key}}" }
//! # or proxy: none
//! ```
//!
//! nginx resolves the path of a UNIX socket at each connect(2), after it has read the request. Requests are therefore
//! passed to the socket behind a symbolic link ([`Place::Current`]), where the same nginx listens for the slot of one
//! release and passes them on to that release's port: renaming the link is the whole switch, and never requires a
//! reload of nginx.
//!
//! All of this is pure: what was found on the machine comes in as [`Nginx`], and what has to be written is returned as
//! text. When nginx is started and when the link is switched is decided elsewhere.

mod compatible;
mod fields;
mod nginx;
mod place;
mod ports;
mod site;
mod size;
mod snippets;

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use self::fields::Fields;
pub(crate) use self::fields::Tls;
pub(crate) use self::nginx::{Nginx, Version, WORKER_USERS};
pub(crate) use self::place::{Place, SITES, name_objection};
pub(crate) use self::ports::{UNIT, elsewhere, taken};
pub(crate) use self::site::{Behind, Site};
pub(crate) use self::snippets::{Snippets, origin};
use crate::failure::Objection;
use crate::step::fields::OrMap;
use crate::text::Text;

/// How requests reach an application.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "OrMap<String, Fields>")]
pub(crate) enum Proxy {
    /// Through nginx, which listens in its place.
    Nginx(Box<Fields>),
    /// Directly: the application itself listens for clients.
    None,
}

impl Default for Proxy {
    fn default() -> Self {
        Self::Nginx(Box::default())
    }
}

impl TryFrom<OrMap<String, Fields>> for Proxy {
    type Error = Objection;

    fn try_from(given: OrMap<String, Fields>) -> Result<Self, Objection> {
        match given {
            OrMap::Map(fields) => Ok(Self::Nginx(Box::new(fields))),
            OrMap::Plain(word) if word == "none" => Ok(Self::None),
            OrMap::Plain(word) => Err(Objection::new(
                format!("`{word}` is not a proxy"),
                "write `proxy: none`, or the fields of the proxy, as in { listen: 80 }",
            )),
        }
    }
}

impl JsonSchema for Proxy {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Proxy".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [{ "const": "none" }, generator.subschema_for::<Fields>()] })
    }
}

impl Proxy {
    /// What is wrong with the proxy of an application on `port`.
    pub(crate) fn objections(&self, port: u16) -> Vec<Objection> {
        match self {
            Self::Nginx(fields) => fields.objections(port),
            Self::None => Vec::new(),
        }
    }

    /// The strings that may contain references.
    pub(crate) fn texts(&self) -> Vec<&Text> {
        self.tls().map_or_else(Vec::new, |tls| vec![&tls.certificate, &tls.key])
    }

    /// The certificate settings for https, if enabled.
    pub(crate) fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Nginx(fields) => fields.tls.as_ref(),
            Self::None => None,
        }
    }

    /// The ports on which nginx listens for clients, without duplicates. Two applications cannot share a port.
    pub(crate) fn ports(&self) -> Vec<u16> {
        match self {
            Self::Nginx(fields) => fields.plain_ports().into_iter().chain(fields.tls.as_ref().map(Tls::port)).collect(),
            Self::None => Vec::new(),
        }
    }

    /// The first of the ports on which nginx speaks HTTP without TLS.
    pub(crate) fn plain_port(&self) -> Option<u16> {
        match self {
            Self::Nginx(fields) => fields.plain_ports().first().copied(),
            Self::None => None,
        }
    }

    /// How long the application may send nothing while it answers.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        match self {
            Self::Nginx(fields) => Some(fields.timeout()),
            Self::None => None,
        }
    }

    /// Whether nginx itself serves files of the release.
    pub(crate) fn has_static(&self) -> bool {
        matches!(self, Self::Nginx(front) if front.files().next().is_some())
    }

    /// `/run/ingot/proxy/sites/APP.conf`; `None` without a proxy.
    pub(crate) fn site(&self, site: &Site<'_>, nginx: &Nginx) -> Option<String> {
        match self {
            Self::Nginx(fields) => Some(site.conf(fields, nginx)),
            Self::None => None,
        }
    }

    /// The site including the configuration that a release adds.
    pub(crate) fn site_with(&self, snippets: &Snippets, site: &Site<'_>, nginx: &Nginx) -> Option<String> {
        match self {
            Self::Nginx(fields) if !snippets.is_empty() => Some(site.conf_with(snippets, fields, nginx)),
            _ => self.site(site, nginx),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn messages(fields: Value) -> Vec<String> {
        match serde_json::from_value::<Proxy>(fields) {
            Ok(proxy) => proxy.objections(5000).into_iter().map(|found| found.message).collect(),
            Err(wrong) => vec![wrong.to_string()],
        }
    }

    fn proxy(fields: Value) -> Proxy {
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn none_is_a_word_and_no_other_is() {
        assert!(matches!(proxy(json!("none")), Proxy::None));
        assert_eq!(proxy(json!("none")).ports(), [0; 0]);
        assert_eq!(messages(json!("off")), ["`off` is not a proxy"]);
    }

    #[test]
    fn it_listens_on_port_80_and_with_tls_on_443_too() {
        let tls = json!({"certificate": "{{secrets.site.certificate}}", "key": "{{secrets.site.key}}"});
        assert_eq!(Proxy::default().ports(), [80]);
        assert_eq!(proxy(json!({"listen": 8080})).ports(), [8080]);
        assert_eq!(proxy(json!({"listen": [80, 8080]})).ports(), [80, 8080]);
        assert_eq!(proxy(json!({"tls": tls})).ports(), [80, 443]);
        assert_eq!(proxy(json!({"listen": [], "tls": tls})).ports(), [443]);
        assert_eq!(proxy(json!({"tls": tls})).texts().len(), 2);
    }

    #[test]
    fn a_port_is_given_once_and_is_not_that_of_the_application() {
        assert_eq!(messages(json!({"listen": [80, 80]})), ["the proxy would listen on port 80 twice"]);
        assert_eq!(messages(json!({"listen": 5000})), ["the proxy cannot listen on port 5000: it is the application's own"]);
        assert_eq!(messages(json!({"listen": []})), ["the proxy listens on no port"]);
        assert_eq!(messages(json!({"listen": 0})).len(), 1);
        assert_eq!(messages(json!({"listen": 65536})).len(), 1);
        let tls = json!({"certificate": "{{a}}", "key": "{{b}}", "listen": 80});
        assert_eq!(messages(json!({"tls": tls})), ["the proxy would listen on port 80 twice"]);
    }

    #[test]
    fn sizes_and_times_are_what_nginx_can_hold() {
        for body in ["1k", "10m", "2g", "10M", "500"] {
            assert_eq!(messages(json!({"body": body})), [""; 0], "{body}");
        }
        for body in ["", "m", "10 m", "-1m", "10mb", "0", "0m", "99999999999g", "10m; root /"] {
            assert_eq!(messages(json!({"body": body})), [format!("`{body}` is not a size")], "{body}");
        }
        assert_eq!(messages(json!({"timeout": "1h"})), [""; 0]);
        assert_eq!(messages(json!({"timeout": "500ms"})), ["the `timeout` of a proxy is at least 1s"]);
    }

    #[test]
    fn static_files_do_not_leave_the_release() {
        for (url, path) in [("/assets", "public/assets"), ("/favicon.ico", "public/favicon.ico"), ("/a/b/", "./x/"), ("/ü", "ü")] {
            assert_eq!(messages(json!({"static": {url: path}})), [""; 0], "{url} {path}");
        }
        for path in ["", "/etc", "../shop", "public/../../etc", "a//b", "a\0b", "a b", "a;b", "a$uri", "a\"b", "a\nb", "a{b", "a\\b"] {
            assert_eq!(messages(json!({"static": {"/assets": path}})), [format!("`{path}` is not a path in the release")], "{path:?}");
        }
        for url in ["", "assets", "/a/../b", "/a b", "/a;b", "/a$b", "/a\"b", "/a\nb", "/a{b", "/a?b", "/a%20b", "/a\\b", "/a#b", "//a"] {
            assert_eq!(messages(json!({"static": {url: "a"}})), [format!("`{url}` is not the path of a URL")], "{url:?}");
        }
        assert_eq!(messages(json!({"static": {"/": "public"}})), ["`static` has `/`, and nothing would reach the application"]);
        assert_eq!(messages(json!({"static": {"/a": "b", "/a/": "c"}})), ["`static` has both `/a` and `/a/`"]);
    }

    #[test]
    fn a_certificate_that_stands_in_the_document_looks_like_one() {
        let tls = |certificate, key| messages(json!({"tls": {"certificate": certificate, "key": key}}));
        let (certificate, key) = ("-----BEGIN CERTIFICATE-----\nMIIB", "-----BEGIN PRIVATE KEY-----\nMIIB");
        assert_eq!(tls(certificate, key), [""; 0]);
        assert_eq!(tls("{{secrets.a}}", "{{secrets.b}}"), [""; 0]);
        assert_eq!(tls("/etc/ssl/a.pem", key), ["`certificate` is not a certificate in PEM"]);
        assert_eq!(tls(certificate, "/etc/ssl/a.key"), ["`key` is not a private key in PEM"]);
        assert_eq!(tls(certificate, certificate), ["`key` is not a private key in PEM"]);
    }

    /// The snapshots are files because tests/machine/test_proxy.py passes them to a real nginx.
    #[test]
    fn a_whole_configuration() {
        let nginx = Nginx { version: Version::parse("nginx/1.22.1").unwrap(), user: WORKER_USERS[0], ipv6: true };
        let behind = |port, php: Option<&str>| Behind { port, php: php.map(str::to_owned) };
        let slots = [behind(15_000, None), behind(25_000, None)];
        let shop = Site { name: "shop", port: 5000, slots, certificate: Some("shop"), health: None };
        let alone = Site { name: "alone", port: 5001, slots: [behind(5001, None), behind(5001, None)], ..shop.clone() };
        let slots = [behind(15_002, Some("public")), behind(25_002, Some("public"))];
        let php = Site { name: "php", port: 5002, slots, ..shop.clone() };
        let tls = json!({"certificate": "{{secrets.site.certificate}}", "key": "{{secrets.site.key}}"});
        let files = json!({"/assets": "public/assets", "/robots.txt": "robots.txt"});
        let site = |site: &Site<'_>, fields| proxy(fields).site(site, &nginx).unwrap();
        insta::with_settings!({ snapshot_path => "../../../../tests/machine/proxy", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!("nginx.conf", nginx.conf());
            insta::assert_snapshot!("shop.conf", site(&shop, json!({"static": files, "tls": tls})));
            insta::assert_snapshot!("alone.conf", site(&alone, json!({"listen": 8081, "body": "1k", "timeout": "1s"})));
            insta::assert_snapshot!("php.conf", site(&php, json!({"listen": [8082, 8083]})));
        });
    }
}
