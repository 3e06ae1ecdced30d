//! The nginx configuration of an application whose release adds to it: see [`snippets`](super::snippets).

use std::fmt::Write as _;

use super::fields::Fields;
use super::nginx::Nginx;
use super::place::Place;
use super::site::{SLOT, SLOT_HTTP, Site};
use super::snippets::Snippets;
use crate::steps::application::slot::Slot;

/// Disables in a slot what the front end has already done, whatever `http {}` sets.
const NEUTRAL: &str = "    add_header X-Ingot \"\";\n    allow all;\n    auth_basic off;\n    charset off;\n    expires off;\n    gzip off;\n    \
                       proxy_cache off;\n    proxy_intercept_errors off;\n";

/// Slots practically never time out: the front end times out first, and the release determines its timeouts.
const FOR_EVER: &str = "        proxy_read_timeout 1d;\n        proxy_send_timeout 1d;\n";

const TIMEOUTS: [&str; 2] = ["        proxy_read_timeout ", "        proxy_send_timeout "];

impl Site<'_> {
    pub(super) fn conf_with(&self, snippets: &Snippets, fields: &Fields, nginx: &Nginx) -> String {
        let (http, server) = snippets.texts(&nginx.conf());
        let mut front = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_front(&mut front, fields, nginx);
        // A release with its own servers or `location /` passes requests to the application's port, which must not lead
        // back to the front end.
        let has_own_port = snippets.has_servers() && self.slots.iter().all(|behind| behind.port != self.port);
        let loopback = format!("    listen 127.0.0.1:{} ", self.port);
        let names = snippets.names();
        let mut text = http;
        let mut is_in_root = false;
        for line in front.trim_end().trim_end_matches('}').lines() {
            is_in_root |= snippets.has_root() && line == "    location / {";
            let name = line.split_whitespace().next().unwrap_or_default();
            let is_of_server = line.starts_with("    ") && !line.starts_with("     ");
            let is_timeout = TIMEOUTS.iter().any(|timeout| line.starts_with(timeout));
            let stands_aside = (is_of_server || is_timeout) && line.ends_with(';') && names.contains(name);
            let is_own_port = has_own_port && line.starts_with(&loopback);
            if !(is_in_root || stands_aside || is_own_port) {
                text.extend([line, "\n"]);
            }
            is_in_root &= line != "    }";
        }
        text.push_str(&server);
        text.push_str("}\n\n");
        for (slot, behind) in Slot::BOTH.into_iter().zip(&self.slots) {
            let mut own = String::new();
            let _ = self.write_slot(&mut own, slot, behind, fields);
            for line in own.lines() {
                match TIMEOUTS.iter().any(|timeout| snippets.has_timeouts() && line.starts_with(timeout)) {
                    true => text.push_str(if line.starts_with(TIMEOUTS[0]) { FOR_EVER } else { "" }),
                    false => text.extend([line, "\n"]),
                }
                text.push_str(if line.starts_with("    listen ") { NEUTRAL } else { "" });
            }
        }
        if has_own_port {
            let ipv6 = if nginx.ipv6 { format!("    listen [::1]:{};\n", self.port) } else { String::new() };
            let socket = Place::Current(self.name).path().join("http.sock");
            let _ = write!(text, "server {{\n{loopback}backlog=4096;\n{ipv6}{NEUTRAL}{SLOT}    location / {{\n");
            let _ = write!(text, "        proxy_pass \"http://unix:{}\";\n{FOR_EVER}{SLOT_HTTP}    }}\n}}\n", socket.display());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::application::proxy::nginx::Version;
    use crate::steps::application::proxy::site::Behind;
    use crate::steps::application::release::Release;

    fn conf(files: &[(&str, &str)]) -> String {
        let slots = [15_000, 25_000].map(|port| Behind { port, php: None });
        let site = Site { name: "shop", port: 5000, slots, certificate: None, health: None };
        let nginx = Nginx { version: Version::parse("nginx/1.22.1").unwrap(), user: "www-data", ipv6: true };
        site.conf_with(&Snippets::of(&Release::of(files)), &Fields::default(), &nginx)
    }

    #[test]
    fn without_snippets_only_what_cannot_be_seen_differs() {
        let text = conf(&[]);
        assert_eq!(text.matches("server {").count(), 3);
        assert!(text.contains("client_max_body_size 10485760;") && text.contains("    listen 127.0.0.1:5000 backlog"), "{text}");
    }

    #[test]
    fn what_a_release_sets_stands_in_place_of_ours() {
        let text = conf(&[(".platform/nginx/conf.d/a.conf", "client_max_body_size 50M;\nproxy_read_timeout 300s;\nserver_tokens on;\n")]);
        let front = text.split("server {").nth(1).unwrap();
        assert!(!front.contains("client_max_body_size") && !front.contains("proxy_read_timeout"), "{front}");
        assert!(front.contains("proxy_send_timeout 60000ms") && front.contains("server_tokens on;"), "{front}");
        assert_eq!(text.matches("proxy_read_timeout 1d;").count(), 2);
        assert!(
            text.starts_with("# from .platform/nginx/conf.d/a.conf:1\nclient_max_body_size 50M;\nproxy_read_timeout 300s;\n"),
            "{text}"
        );
    }

    #[test]
    fn a_place_of_its_own_reaches_the_application_by_its_port() {
        let path = ".platform/nginx/conf.d/elasticbeanstalk/00_application.conf";
        let text = conf(&[(path, "location / {\n    proxy_pass http://127.0.0.1:5000;\n}\n")]);
        let servers: Vec<&str> = text.split("server {").collect();
        assert_eq!(servers.len(), 5);
        assert_eq!(servers[1].matches("location / {").count(), 1);
        assert!(!servers[1].contains("listen 127.0.0.1:5000") && servers[1].contains("location @ingot_unavailable {"), "{text}");
        assert!(servers[4].contains("listen 127.0.0.1:5000") && servers[4].contains("unix:/run/ingot/proxy/shop/http.sock"), "{text}");
    }
}
