//! `/run/ingot/proxy/nginx.conf`: the configuration common to all sites.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::place::SITES;

/// The users of nginx's workers: on Debian and Ubuntu, and on Amazon Linux. The first one that exists is used.
pub(crate) const WORKER_USERS: [&str; 2] = ["www-data", "nginx"];

/// What has to be known about a machine and its nginx to write a configuration for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nginx {
    pub(crate) version: Version,
    /// The user of its workers, one of [`WORKER_USERS`].
    pub(crate) user: &'static str,
    /// Whether the kernel supports IPv6, that is, whether /proc/net/if_inet6 exists. nginx fails to start if it cannot
    /// listen.
    pub(crate) ipv6: bool,
}

/// A version of nginx, such as 1.22.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Version(u32, u32, u32);

impl Version {
    /// All supported distributions have at least this version.
    pub(crate) const OLDEST: Self = Self(1, 18, 0);

    /// The first version with `keepalive_min_timeout`: a worker that is shutting down keeps idle client connections for
    /// that time, so it does not close one on which a request is arriving. Source: nginx's CHANGES.
    const KEEPALIVE_MIN_TIMEOUT: Self = Self(1, 27, 4);

    /// The first version with the directive `http2`, which replaces a parameter of `listen`. Source: nginx's CHANGES.
    const HTTP2: Self = Self(1, 25, 1);

    /// Parses the output of `nginx -v`: `nginx version: nginx/1.22.1 (Ubuntu)`.
    pub(crate) fn parse(said: &str) -> Option<Self> {
        let (_, after) = said.split_once("nginx/")?;
        let number: &str = after.split(|letter: char| !letter.is_ascii_digit() && letter != '.').next()?;
        let mut parts = number.split('.').map(|part| part.parse().ok());
        Some(Self(parts.next()??, parts.next()??, parts.next()??))
    }

    pub(super) fn has_http2_directive(self) -> bool {
        self >= Self::HTTP2
    }
}

impl Nginx {
    /// The main configuration. It is independent of any application, and `include`s the sites.
    pub(crate) fn conf(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(text, "{HEAD}user {};\n{MAIN}", self.user);
        if self.version >= Version::KEEPALIVE_MIN_TIMEOUT {
            text.push_str("    keepalive_min_timeout 1s;\n");
        }
        let _ = write!(text, "{HTTP}\n    include {SITES}/*.conf;\n}}\n");
        text
    }
}

const HEAD: &str = "# Written by ingot, and again whenever the document is applied.\n";

/// Each proxied request takes four of a worker's connections: client, front, slot and application. The log is sent to
/// journald's own socket, which exists whether or not something provides /dev/log.
const MAIN: &str = r#"worker_processes auto;
worker_rlimit_nofile 65536;
# Workers of a former configuration end once their requests have, WebSockets included.
worker_shutdown_timeout 1h;
pid /run/ingot/proxy/nginx.pid;
error_log stderr error;

events {
    worker_connections 8192;
}

http {
    server_tokens off;
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    types_hash_max_size 4096;
    sendfile on;
    tcp_nopush on;
"#;

/// Peers with private addresses are load balancers or this machine, and what they say about the client is trusted. A
/// balancer appends the address that it sees to `X-Forwarded-For`, so anything that a client put there is further left.
/// It does not change `X-Forwarded-Host` and `Forwarded`, which therefore always come from the client.
///
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html>.
const HTTP: &str = r#"
    client_body_temp_path /var/cache/ingot-proxy/body;
    proxy_temp_path /var/cache/ingot-proxy/proxy;
    fastcgi_temp_path /var/cache/ingot-proxy/fastcgi;
    uwsgi_temp_path /var/cache/ingot-proxy/uwsgi;
    scgi_temp_path /var/cache/ingot-proxy/scgi;

    log_format ingot '$remote_addr "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time $upstream_response_time';
    access_log off;

    set_real_ip_from 127.0.0.0/8;
    set_real_ip_from 10.0.0.0/8;
    set_real_ip_from 172.16.0.0/12;
    set_real_ip_from 192.168.0.0/16;
    set_real_ip_from 100.64.0.0/10;
    set_real_ip_from ::1;
    set_real_ip_from fc00::/7;
    set_real_ip_from fe80::/10;
    real_ip_header X-Forwarded-For;
    real_ip_recursive on;

    geo $realip_remote_addr $ingot_trusted {
        default 0;
        127.0.0.0/8 1;
        10.0.0.0/8 1;
        172.16.0.0/12 1;
        192.168.0.0/16 1;
        100.64.0.0/10 1;
        ::1 1;
        fc00::/7 1;
        fe80::/10 1;
    }
    map "$ingot_trusted:$http_x_forwarded_for" $ingot_forwarded_for {
        default $realip_remote_addr;
        "~^1:(?<ingot_given_for>.+)$" "$ingot_given_for, $realip_remote_addr";
    }
    map "$ingot_trusted:$http_x_forwarded_proto" $ingot_forwarded_proto {
        default $scheme;
        "~^1:(?<ingot_given_proto>https?)$" $ingot_given_proto;
    }
    map "$ingot_trusted:$http_x_forwarded_port" $ingot_forwarded_port {
        default $server_port;
        "~^1:(?<ingot_given_port>[0-9]+)$" $ingot_given_port;
    }
    map $http_x_forwarded_proto $ingot_https {
        default "";
        https on;
    }
    map $http_host $ingot_host {
        default $http_host;
        "" $host;
    }
    # What nginx says by itself where no release answers. What an application answers passes.
    map "" $ingot_unavailable {
        default '<!doctype html><html lang="en"><meta charset="utf-8"><title>Temporarily unavailable</title><h1>Temporarily unavailable</h1><p>The application did not answer. Please try again in a moment.</p></html>\n';
    }
    # No connection to a release is kept: it would lead to that one after the next has taken its place.
    map $http_upgrade $ingot_connection {
        default upgrade;
        "" close;
    }

    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305;
    ssl_prefer_server_ciphers off;
    ssl_session_cache shared:ingot:10m;
    ssl_session_timeout 1d;
    ssl_session_tickets off;

    proxy_http_version 1.1;
    proxy_redirect off;
    proxy_next_upstream off;
    proxy_buffer_size 32k;
    proxy_buffers 8 32k;
    fastcgi_next_upstream off;
    fastcgi_buffer_size 32k;
    fastcgi_buffers 8 32k;
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_of_every_distribution() {
        assert_eq!(Version::parse("nginx version: nginx/1.22.1\n"), Some(Version(1, 22, 1)));
        assert_eq!(Version::parse("nginx version: nginx/1.24.0 (Ubuntu)"), Some(Version(1, 24, 0)));
        assert_eq!(Version::parse("nginx version: freenginx/1.27.4"), Some(Version(1, 27, 4)));
        assert_eq!(Version::parse("nginx version: openresty"), None);
        assert_eq!(Version::parse("nginx/1.22"), None);
        assert!(Version(1, 22, 1) < Version::HTTP2 && Version(1, 30, 0) > Version::KEEPALIVE_MIN_TIMEOUT);
    }

    #[test]
    fn keeps_idle_connections_over_a_reload_where_nginx_can() {
        let conf = |version| Nginx { version, user: "www-data", ipv6: true }.conf();
        assert!(!conf(Version(1, 22, 1)).contains("keepalive_min_timeout"));
        assert!(conf(Version(1, 27, 4)).contains("\n    keepalive_min_timeout 1s;\n"));
    }

    #[test]
    fn workers_run_as_the_distributions_user() {
        let conf = Nginx { version: Version(1, 28, 0), user: "nginx", ipv6: true }.conf();
        assert!(conf.starts_with("# Written by ingot, and again whenever the document is applied.\nuser nginx;\nworker_processes auto;\n"));
        assert!(conf.ends_with("\n    include /run/ingot/proxy/sites/*.conf;\n}\n"));
    }
}
