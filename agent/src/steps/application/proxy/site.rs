//! `/run/ingot/proxy/sites/APP.conf`: the front, which clients ask, and the slots behind it.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use super::fields::{Fields, is_release_path};
use super::nginx::Nginx;
use super::place::Place;
use crate::steps::application::slot::Slot;

/// An application as its proxy sees it. What is passed to is always written out, never an `upstream`: of those nginx
/// keeps connections since 1.29.7, whatever it says to the other end (seen with 1.30.6). None of it changes with a
/// release, so that nginx is not reloaded for one.
#[derive(Debug, Clone)]
pub(crate) struct Site<'a> {
    /// Its name, without anything wrong with it by [`name_objection`](super::name_objection).
    pub(crate) name: &'a str,
    /// Its own port. Where no slot has it, nginx listens there, on loopback, for what else runs on this machine.
    pub(crate) port: u16,
    /// The port that a release listens on, in slot a and in slot b.
    pub(crate) slots: [u16; 2],
    pub(crate) speaks: Upstream<'a>,
    /// Whether certificate and key are in their places: without them nginx would not start. After a reboot they come
    /// back with the document.
    pub(crate) has_certificate: bool,
}

/// What a release speaks on its port.
#[derive(Debug, Clone)]
pub(crate) enum Upstream<'a> {
    Http,
    FastCgi(FastCgi<'a>),
}

/// PHP.
#[derive(Debug, Clone)]
pub(crate) struct FastCgi<'a> {
    /// The directory of the release that has index.php, such as `public`; empty for the release itself.
    pub(crate) root: &'a str,
}

/// A string in nginx's configuration. Its variables have no escape: what holds a `$` does not come this far.
struct Quoted<T>(T);

impl<T: fmt::Display> fmt::Display for Quoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.to_string().replace('\\', "\\\\").replace('"', "\\\""))
    }
}

fn path(path: &Path) -> Quoted<std::path::Display<'_>> {
    Quoted(path.display())
}

/// How long nginx waits for more than the slowest answer: the front is to be the first that gives up, and say why.
const LONGER: Duration = Duration::from_secs(5);

/// An idle connection outlives a balancer's, which is as long as people let the slowest answer be: the one that closes
/// first is to be the one that does not send. 60s is the default of an Application Load Balancer.
const IDLE: Duration = Duration::from_secs(75);

impl Site<'_> {
    /// The configuration.
    pub(super) fn conf(&self, fields: &Fields, nginx: &Nginx) -> String {
        let mut text = String::new();
        // Written to a String, which does not fail.
        let _ = self.write_front(&mut text, fields, nginx);
        for (slot, port) in Slot::BOTH.into_iter().zip(self.slots) {
            let _ = self.write_slot(&mut text, slot, port, fields);
        }
        text
    }

    fn write_front(&self, text: &mut String, fields: &Fields, nginx: &Nginx) -> fmt::Result {
        let (timeout, name) = (fields.timeout(), self.name);
        let idle = seconds(IDLE.max(timeout + 3 * LONGER));
        let tag = name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
        writeln!(text, "server {{")?;
        self.write_listen(text, fields, nginx)?;
        writeln!(text, "    access_log syslog:server=unix:/run/systemd/journal/dev-log,nohostname,tag={tag:.25}_access ingot;")?;
        writeln!(text, "    client_max_body_size {};", fields.body())?;
        writeln!(text, "    keepalive_timeout {idle};")?;
        text.push_str(FRONT);
        for (url, release_path) in fields.files() {
            let file = Place::Current(name).path().join("release").join(release_path);
            writeln!(text, "    location = {} {{ alias {}; }}", Quoted(url), path(&file))?;
            let (below, directory) = (Quoted(format!("{url}/")), Quoted(format!("{}/", file.display())));
            let hidden = Quoted(hidden_below(url));
            writeln!(text, "    location ^~ {below} {{ alias {directory}; location ~ {hidden} {{ return 404; }} }}")?;
        }
        let socket = Place::Current(name).path().join("http.sock");
        writeln!(text, "    location / {{")?;
        writeln!(text, "        proxy_pass {};", Quoted(format!("http://unix:{}", socket.display())))?;
        writeln!(text, "        proxy_read_timeout {0};\n        proxy_send_timeout {0};", seconds(timeout))?;
        writeln!(text, "{FRONT_HEADERS}    }}\n}}\n")
    }

    fn write_listen(&self, text: &mut String, fields: &Fields, nginx: &Nginx) -> fmt::Result {
        let everywhere = |text: &mut String, port: u16, more: &str| {
            writeln!(text, "    listen {port} backlog=4096{more};")?;
            if nginx.ipv6 { writeln!(text, "    listen [::]:{port} backlog=4096{more};") } else { Ok(()) }
        };
        for port in fields.plain_ports() {
            everywhere(text, port, "")?;
        }
        if !self.slots.contains(&self.port) {
            writeln!(text, "    listen 127.0.0.1:{} backlog=4096;", self.port)?;
        }
        let Some(tls) = fields.tls.as_ref().filter(|_| self.has_certificate) else { return Ok(()) };
        if nginx.version.has_http2_directive() {
            everywhere(text, tls.port(), " ssl")?;
            writeln!(text, "    http2 on;")?;
        } else {
            everywhere(text, tls.port(), " ssl http2")?;
        }
        writeln!(text, "    ssl_certificate {};", path(&Place::Certificate(self.name).path()))?;
        writeln!(text, "    ssl_certificate_key {};", path(&Place::Key(self.name).path()))
    }

    fn write_slot(&self, text: &mut String, slot: Slot, port: u16, fields: &Fields) -> fmt::Result {
        let socket = Place::Socket(self.name, slot).path();
        writeln!(text, "server {{\n    listen {} backlog=4096;", Quoted(format!("unix:{}", socket.display())))?;
        text.push_str(SLOT);
        let longer = seconds(fields.timeout() + LONGER);
        match &self.speaks {
            Upstream::Http => {
                writeln!(text, "    location / {{\n        proxy_pass http://127.0.0.1:{port};")?;
                writeln!(text, "        proxy_read_timeout {longer};\n        proxy_send_timeout {longer};\n{SLOT_HTTP}    }}\n}}\n")
            }
            Upstream::FastCgi(php) => {
                let release = Place::Release(self.name, slot).path();
                // What leaves the release is not served. It was refused before, with its reason.
                let root = if is_release_path(php.root) { release.join(php.root) } else { release };
                writeln!(text, "    root {};", path(&root))?;
                text.push_str(PHP);
                writeln!(text, "        fastcgi_pass 127.0.0.1:{port};")?;
                writeln!(text, "        fastcgi_read_timeout {longer};\n        fastcgi_send_timeout {longer};\n{FASTCGI}    }}\n}}\n")
            }
        }
    }
}

/// In a unit that nginx reads everywhere; it keeps milliseconds in 32 bits, and 24 days are for ever.
fn seconds(time: Duration) -> String {
    const LONGEST: Duration = Duration::from_secs(24 * 24 * 60 * 60);
    format!("{}ms", time.min(LONGEST).as_millis())
}

/// What is hidden below the path of a URL: a `.git` or a `.env` that came along with the files beside it.
fn hidden_below(url: &str) -> String {
    format!(r"^\Q{url}\E/(.*/)?\.(?!well-known/)")
}

/// What every site's front has.
const FRONT: &str = r#"    absolute_redirect off;
    client_body_buffer_size 128k;
    gzip on;
    gzip_vary on;
    gzip_proxied any;
    gzip_min_length 1024;
    gzip_comp_level 5;
    gzip_types text/plain text/css text/csv text/javascript text/xml application/javascript application/json application/ld+json application/manifest+json application/rss+xml application/xml application/wasm image/svg+xml font/ttf font/otf;
    error_page 502 504 @ingot_unavailable;
    location @ingot_unavailable {
        default_type "text/html; charset=utf-8";
        add_header Cache-Control no-store always;
        return 200 $ingot_unavailable;
    }
"#;

/// What an application is told. `Proxy` would be HTTP_PROXY to a CGI program.
const FRONT_HEADERS: &str = r#"        proxy_set_header Host $ingot_host;
        proxy_set_header Connection $ingot_connection;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $ingot_forwarded_for;
        proxy_set_header X-Forwarded-Proto $ingot_forwarded_proto;
        proxy_set_header X-Forwarded-Port $ingot_forwarded_port;
        proxy_set_header X-Forwarded-Host $ingot_forwarded_host;
        proxy_set_header Forwarded $ingot_forwarded;
        proxy_set_header Proxy "";
"#;

/// What every slot has: it lets everything pass as the front has sent it, which has added some headers.
const SLOT: &str = r#"    access_log off;
    absolute_redirect off;
    client_max_body_size 0;
    client_header_buffer_size 16k;
    large_client_header_buffers 8 64k;
    keepalive_timeout 0;
    error_page 502 504 @ingot_unavailable;
    location @ingot_unavailable {
        default_type "text/html; charset=utf-8";
        add_header Cache-Control no-store always;
        return 200 $ingot_unavailable;
    }
"#;

/// The front has read the request, and keeps the answer for slow clients. What an application tells nginx is for the
/// front.
const SLOT_HTTP: &str = r#"        proxy_buffering off;
        proxy_request_buffering off;
        proxy_set_header Host $http_host;
        proxy_set_header Connection $ingot_connection;
        proxy_set_header Upgrade $http_upgrade;
        proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset;
        proxy_pass_header X-Accel-Redirect;
        proxy_pass_header X-Accel-Limit-Rate;
        proxy_pass_header X-Accel-Buffering;
        proxy_pass_header X-Accel-Charset;
"#;

/// Files that are there are served as they are, but for hidden ones; everything else is index.php's. What follows the
/// name of a script is its path, and a script that is not there is not asked for: another one could be run in its
/// place.
const PHP: &str = r#"    index index.php index.html;
    location / {
        try_files $uri $uri/ /index.php$is_args$args;
    }
    location ~ /\.(?!well-known/) {
        return 404;
    }
    location ~ [^/]\.php(/|$) {
        fastcgi_split_path_info ^(.+?\.php)(/.*)?$;
        if (!-f $document_root$fastcgi_script_name) {
            return 404;
        }
"#;

/// As `/etc/nginx/fastcgi_params`, with what the client has sent in place of what the front has.
const FASTCGI: &str = r#"        fastcgi_buffering off;
        fastcgi_request_buffering off;
        fastcgi_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset;
        fastcgi_pass_header X-Accel-Redirect;
        fastcgi_pass_header X-Accel-Limit-Rate;
        fastcgi_pass_header X-Accel-Buffering;
        fastcgi_pass_header X-Accel-Charset;
        fastcgi_param GATEWAY_INTERFACE CGI/1.1;
        fastcgi_param SERVER_SOFTWARE nginx;
        fastcgi_param SERVER_PROTOCOL $server_protocol;
        fastcgi_param REQUEST_METHOD $request_method;
        fastcgi_param REQUEST_URI $request_uri;
        fastcgi_param QUERY_STRING $query_string;
        fastcgi_param CONTENT_TYPE $content_type;
        fastcgi_param CONTENT_LENGTH $content_length;
        fastcgi_param DOCUMENT_ROOT $realpath_root;
        fastcgi_param DOCUMENT_URI $document_uri;
        fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;
        fastcgi_param SCRIPT_NAME $fastcgi_script_name;
        fastcgi_param PATH_INFO $fastcgi_path_info;
        fastcgi_param SERVER_NAME $host;
        fastcgi_param SERVER_PORT $http_x_forwarded_port;
        fastcgi_param SERVER_ADDR 127.0.0.1;
        fastcgi_param REMOTE_ADDR $http_x_real_ip;
        fastcgi_param REMOTE_PORT 0;
        fastcgi_param REQUEST_SCHEME $http_x_forwarded_proto;
        fastcgi_param HTTPS $ingot_https if_not_empty;
        fastcgi_param REDIRECT_STATUS 200;
"#;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::steps::application::proxy::nginx::Version;

    const SHOP: Site<'_> = Site { name: "shop", port: 5000, slots: [15_000, 15_001], speaks: Upstream::Http, has_certificate: true };

    fn conf(fields: Value, site: &Site<'_>, version: &str) -> String {
        let fields: Fields = serde_json::from_value(fields).unwrap();
        site.conf(&fields, &Nginx { version: Version::parse(version).unwrap(), user: "www-data", ipv6: true })
    }

    /// The lines with one of `words`, without what is at both ends.
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
        proxy_pass http://127.0.0.1:15001;
        proxy_read_timeout 65000ms;
        "#);
    }

    #[test]
    fn static_files_come_through_the_same_link() {
        let conf = conf(json!({"static": {"/assets/": "./public/assets/", "/favicon.ico": "favicon.ico"}}), &SHOP, "nginx/1.22.1");
        insta::assert_snapshot!(lines(&conf, &["location = ", "location ^~ "]).join("\n"), @r#"
        location = "/assets" { alias "/run/ingot/proxy/shop/release/public/assets"; }
        location ^~ "/assets/" { alias "/run/ingot/proxy/shop/release/public/assets/"; location ~ "^\\Q/assets\\E/(.*/)?\\.(?!well-known/)" { return 404; } }
        location = "/favicon.ico" { alias "/run/ingot/proxy/shop/release/favicon.ico"; }
        location ^~ "/favicon.ico/" { alias "/run/ingot/proxy/shop/release/favicon.ico/"; location ~ "^\\Q/favicon.ico\\E/(.*/)?\\.(?!well-known/)" { return 404; } }
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
        let without = conf(tls, &Site { has_certificate: false, ..SHOP }, "nginx/1.28.0");
        assert_eq!(lines(&without, &["listen 8443", "ssl", "http2"]), [""; 0]);
        assert_eq!(lines(&without, &["listen 80 "]).len(), 1);
    }

    /// Without overlap the release has the application's port itself.
    #[test]
    fn neighbours_reach_the_present_release_at_the_applications_port() {
        assert_eq!(lines(&conf(json!({}), &SHOP, "nginx/1.22.1"), &["listen 127"]), ["listen 127.0.0.1:5000 backlog=4096;"]);
        let alone = conf(json!({}), &Site { slots: [5000, 5000], ..SHOP }, "nginx/1.22.1");
        assert_eq!(lines(&alone, &["listen 127"]), [""; 0]);
        assert_eq!(lines(&alone, &["proxy_pass http"]), ["proxy_pass http://127.0.0.1:5000;"; 2]);
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
        let php = |root| Site { speaks: Upstream::FastCgi(FastCgi { root }), ..SHOP };
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
        /// Whatever path is not refused, it adds its two locations and nothing else.
        #[test]
        fn no_path_adds_a_directive(url in "/\\PC{0,12}", release in "\\PC{1,12}") {
            let fields: Fields = serde_json::from_value(json!({"static": {url: release}})).unwrap();
            if fields.objections(5000).is_empty() {
                let nginx = Nginx { version: Version::parse("nginx/1.22.1").unwrap(), user: "nginx", ipv6: true };
                let (with, without) = (SHOP.conf(&fields, &nginx), SHOP.conf(&Fields::default(), &nginx));
                assert_eq!(with.lines().count(), without.lines().count() + 2);
                let added: Vec<&str> = with.lines().filter(|line| !without.contains(line)).collect();
                let signs = |line: &&str| (line.matches(['{', '}', ';']).count(), line.matches('"').count());
                assert!(added.iter().all(|line| matches!(signs(line), (3, 4) | (6, 6)) && !line.contains('$')), "{added:?}");
            }
        }
    }
}
