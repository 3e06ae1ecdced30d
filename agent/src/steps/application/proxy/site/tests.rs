use serde_json::{Value, json};

use super::*;
use crate::steps::application::proxy::nginx::Version;

const fn on(port: u16) -> Behind {
    Behind { port, php: None }
}

const SHOP: Site<'_> = Site { name: "shop", port: 5000, slots: [on(15_000), on(25_000)], certificate: Some("shop"), health: None };

fn conf(fields: Value, site: &Site<'_>, version: &str) -> String {
    let fields: Fields = serde_json::from_value(fields).unwrap();
    site.conf(&fields, &Nginx { version: Version::parse(version).unwrap(), user: "www-data", ipv6: true })
}

/// The lines that begin with one of `words`, trimmed.
fn lines<'c>(conf: &'c str, words: &[&str]) -> Vec<&'c str> {
    conf.lines().map(str::trim).filter(|line| words.iter().any(|word| line.starts_with(word))).collect()
}

#[test]
fn a_request_goes_through_the_link_to_a_slot_and_on_to_its_port() {
    let conf = conf(json!({}), &SHOP, "nginx/1.22.1");
    insta::assert_snapshot!(lines(&conf, &["listen", "proxy_pass ", "client_max_body", "proxy_read", "keepalive"]).join("\n"), @r#"
    listen 80 backlog=4096;
    listen [::]:80 backlog=4096;
    listen 127.0.0.1:5000 backlog=4096;
    client_max_body_size 10485760;
    keepalive_timeout 75000ms;
    proxy_pass "http://unix:/run/ingot/proxy/shop/http.sock";
    proxy_read_timeout 60000ms;
    listen "unix:/run/ingot/proxy/slots/shop-a/http.sock" backlog=4096;
    client_max_body_size 0;
    keepalive_timeout 0;
    proxy_pass http://127.0.0.1:15000;
    proxy_read_timeout 65000ms;
    listen "unix:/run/ingot/proxy/slots/shop-b/http.sock" backlog=4096;
    client_max_body_size 0;
    keepalive_timeout 0;
    proxy_pass http://127.0.0.1:25000;
    proxy_read_timeout 65000ms;
    "#);
}

#[test]
fn static_files_come_through_the_same_link() {
    let conf = conf(json!({"static": {"/assets/": "./public/assets/", "/favicon.ico": "favicon.ico"}}), &SHOP, "nginx/1.22.1");
    insta::assert_snapshot!(lines(&conf, &["location = ", "location ^~ "]).join("\n"), @r#"
    location = "/assets" { alias "/run/ingot/proxy/shop/release/public/assets"; disable_symlinks if_not_owner "from=/run/ingot/proxy/shop/release"; }
    location ^~ "/assets/" { alias "/run/ingot/proxy/shop/release/public/assets/"; disable_symlinks if_not_owner "from=/run/ingot/proxy/shop/release"; location ~ "^/assets/(.*/)?\\.(?!well-known/)" { return 404; } }
    location = "/favicon.ico" { alias "/run/ingot/proxy/shop/release/favicon.ico"; disable_symlinks if_not_owner "from=/run/ingot/proxy/shop/release"; }
    location ^~ "/favicon.ico/" { alias "/run/ingot/proxy/shop/release/favicon.ico/"; disable_symlinks if_not_owner "from=/run/ingot/proxy/shop/release"; location ~ "^/favicon\\.ico/(.*/)?\\.(?!well-known/)" { return 404; } }
    "#);
}

#[test]
fn tls_is_written_as_the_version_of_nginx_reads_it() {
    let tls = json!({"tls": {"certificate": "{{a}}", "key": "{{b}}", "listen": 8443}});
    let old = conf(tls.clone(), &SHOP, "nginx/1.22.1");
    assert_eq!(lines(&old, &["listen 8443", "http2"]), ["listen 8443 backlog=4096 ssl http2;"]);
    let new = conf(tls.clone(), &SHOP, "nginx/1.28.0");
    assert_eq!(lines(&new, &["listen 8443", "http2"]), ["listen 8443 backlog=4096 ssl;", "http2 on;"]);
    assert_eq!(lines(&new, &["ssl_certificate_key"]), ["ssl_certificate_key \"/run/ingot/proxy/tls/shop.key\";"]);
    let without = conf(tls, &Site { certificate: None, ..SHOP }, "nginx/1.28.0");
    assert_eq!(lines(&without, &["listen 8443", "ssl", "http2"]), [""; 0]);
    assert_eq!(lines(&without, &["listen 80 "]).len(), 1);
}

/// Without overlap, the release itself uses the application's port.
#[test]
fn neighbours_reach_the_present_release_at_the_applications_port() {
    assert_eq!(lines(&conf(json!({}), &SHOP, "nginx/1.22.1"), &["listen 127"]), ["listen 127.0.0.1:5000 backlog=4096;"]);
    let alone = conf(json!({}), &Site { slots: [on(5000), on(5000)], ..SHOP }, "nginx/1.22.1");
    assert_eq!(lines(&alone, &["listen 127"]), [""; 0]);
    assert_eq!(lines(&alone, &["proxy_pass http"]), ["proxy_pass http://127.0.0.1:5000;"; 2]);
}

#[test]
fn a_front_that_listens_nowhere_is_no_server() {
    let tls = json!({"listen": [], "tls": {"certificate": "{{a}}", "key": "{{b}}"}});
    let alone = Site { slots: [on(5000), on(5000)], certificate: None, ..SHOP };
    for (fields, site, servers) in [(&tls, &alone, 2), (&tls, &Site { certificate: None, ..SHOP }, 3), (&tls, &SHOP, 3)] {
        let conf = conf(fields.clone(), site, "nginx/1.22.1");
        let written: Vec<&str> = conf.split("server {").skip(1).collect();
        assert_eq!(written.len(), servers, "{conf}");
        assert!(written.iter().all(|server| server.contains("listen ")), "{conf}");
    }
}

#[test]
fn does_not_listen_on_ipv6_where_there_is_none() {
    let nginx = Nginx { version: Version::parse("nginx/1.22.1").unwrap(), user: "nginx", ipv6: false };
    let conf = SHOP.conf(&Fields::default(), &nginx);
    assert!(!conf.contains("[::]"), "{conf}");
}

#[test]
fn a_balancers_idle_timeout_is_outlived() {
    let idle = |timeout: &str| conf(json!({"timeout": timeout}), &SHOP, "nginx/1.22.1");
    assert_eq!(
        lines(&idle("5m"), &["keepalive_timeout", "proxy_read_timeout"])[..2],
        ["keepalive_timeout 315000ms;", "proxy_read_timeout 300000ms;"]
    );
    assert_eq!(lines(&idle("8000h"), &["proxy_read_timeout"])[0], "proxy_read_timeout 2073600000ms;");
}

#[test]
fn php_is_asked_by_fastcgi_in_the_slot() {
    let php = |root: &str| Site { slots: [15_000, 25_000].map(|port| Behind { port, php: Some(root.into()) }), ..SHOP };
    let public = conf(json!({}), &php("public"), "nginx/1.22.1");
    assert_eq!(
        lines(&public, &["root", "fastcgi_pass "])[..2],
        ["root \"/run/ingot/proxy/slots/shop-a/release/public\";", "fastcgi_pass 127.0.0.1:15000;"]
    );
    for root in ["", "/etc", "../..", "a$b", "a\"; b"] {
        let conf = conf(json!({}), &php(root), "nginx/1.22.1");
        assert_eq!(lines(&conf, &["root"])[0], "root \"/run/ingot/proxy/slots/shop-a/release\";", "{root}");
    }
}

#[test]
fn what_is_quoted_stays_in_its_quotes() {
    assert_eq!(Quoted("a\"; b \\").to_string(), "\"a\\\"; b \\\\\"");
}

proptest::proptest! {
    /// Any accepted path adds its two locations and nothing else.
    #[test]
    fn no_path_adds_a_directive(
        paths in proptest::collection::btree_map("/[a-z./+]{0,3}\\PC{0,20}", "[a-z./]{0,3}\\PC{1,20}", 1..3),
    ) {
        let count = paths.len();
        let fields: Fields = serde_json::from_value(json!({"static": paths})).unwrap();
        if fields.objections(5000).is_empty() {
            let nginx = Nginx { version: Version::parse("nginx/1.22.1").unwrap(), user: "nginx", ipv6: true };
            let (with, without) = (SHOP.conf(&fields, &nginx), SHOP.conf(&Fields::default(), &nginx));
            assert_eq!(with.lines().count(), without.lines().count() + 2 * count);
            let added: Vec<&str> = with.lines().filter(|line| !without.contains(line)).collect();
            let signs = |line: &str| (line.matches(['{', '}', ';']).count(), line.matches('"').count(), line.contains('$'));
            assert!(added.iter().all(|line| matches!(signs(line), (4, 6, false) | (7, 8, false))), "{added:?}");
        }
    }
}

/// A file controls this: nothing is reloaded, and other requests are not checked.
#[test]
fn the_path_of_health_answers_503_while_the_machine_is_drained() {
    let conf = |health| conf(json!({}), &Site { health, ..SHOP }, "nginx/1.22.1");
    insta::assert_snapshot!(lines(&conf(Some("/health?deep=1")), &["set $", "if ("]).join("\n"), @r#"
    set $ingot_leaving "";
    if ($uri = "/health") { set $ingot_leaving /run/ingot/proxy/leaving; }
    if (-f $ingot_leaving) { return 503; }
    "#);
    for without in [None, Some("/$x")] {
        assert!(!conf(without).contains("leaving"));
    }
    // At a path that all clients request, only health checkers get the answer.
    insta::assert_snapshot!(lines(&conf(Some("/")), &["if ("]).join("\n"), @r#"
    if ($uri = "/") { set $ingot_leaving /run/ingot/proxy/leaving; }
    if ($http_user_agent !~ "^(ELB-HealthChecker/|Amazon-Route53-Health-Check-Service)") { set $ingot_leaving ""; }
    if (-f $ingot_leaving) { return 503; }
    "#);
    // nginx compares decoded paths.
    insta::assert_snapshot!(lines(&conf(Some("/is%20up//x.y")), &["if ("]).join("\n"), @r#"
    if ($request_uri ~ "^/is\\%20up//x\\.y([?]|$)") { set $ingot_leaving /run/ingot/proxy/leaving; }
    if (-f $ingot_leaving) { return 503; }
    "#);
}
