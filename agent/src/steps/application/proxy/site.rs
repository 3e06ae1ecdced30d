//! `/run/ingot/proxy/sites/APP.conf`: the front end, to which clients connect, and the slots behind it.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fields::{Fields, is_release_path};
use super::nginx::Nginx;
use super::place::Place;
use crate::steps::application::slot::Slot;
use crate::steps::drain::LEAVING;

/// An application as its proxy sees it. Backends are always written inline, never as an `upstream`: since 1.29.7, nginx
/// keeps connections to upstreams open, whatever it tells the other end (seen with 1.30.6). Nothing here changes with a
/// release, so a new release needs no reload of nginx.
#[derive(Debug, Clone)]
pub(crate) struct Site<'a> {
    /// Its name, to which [`name_objection`](super::name_objection) has no objection.
    pub(crate) name: &'a str,
    /// Its own port. If no slot uses it, nginx listens there on loopback, for other programs of this machine.
    pub(crate) port: u16,
    /// The backends of slot a and slot b.
    pub(crate) slots: [Behind; 2],
    /// The name of the certificate and key files. `None` while they are missing, because nginx would not start without
    /// them: after a reboot, they have to be read from the document again.
    pub(crate) certificate: Option<&'a str>,
    /// The path of the readiness check, which load balancers use as well.
    pub(crate) health: Option<&'a str>,
}

/// The release in a slot, as far as nginx has to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Behind {
    /// The port on which it listens.
    pub(crate) port: u16,
    /// Set if it speaks FastCGI: the directory of the release that contains index.php, such as `public`; empty for the
    /// release itself.
    #[serde(default)]
    pub(crate) php: Option<String>,
}

/// A string in nginx's configuration. `$` cannot be escaped there, so strings that contain it are rejected earlier.
struct Quoted<T>(T);

impl<T: fmt::Display> fmt::Display for Quoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.to_string().replace('\\', "\\\\").replace('"', "\\\""))
    }
}

fn path(path: &Path) -> Quoted<std::path::Display<'_>> {
    Quoted(path.display())
}

/// How much longer nginx waits for anything other than the slowest response: the front end should time out first, and
/// report the reason.
const LONGER: Duration = Duration::from_secs(5);

/// Idle connections must outlive those of the load balancer, whose timeout is usually set to the slowest response time:
/// if nginx closed first, the balancer could be sending a request at that moment. 60s is the default of an Application
/// Load Balancer.
const IDLE: Duration = Duration::from_secs(75);

impl Site<'_> {
    /// The configuration.
    pub(super) fn conf(&self, fields: &Fields, nginx: &Nginx) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_front(&mut text, fields, nginx);
        for (slot, behind) in Slot::BOTH.into_iter().zip(&self.slots) {
            let _ = self.write_slot(&mut text, slot, behind, fields);
        }
        text
    }

    pub(super) fn write_front(&self, text: &mut String, fields: &Fields, nginx: &Nginx) -> fmt::Result {
        let (timeout, name) = (fields.timeout(), self.name);
        let idle = seconds(IDLE.max(timeout + 3 * LONGER));
        let tag = name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
        let mut listen = String::new();
        self.write_listen(&mut listen, fields, nginx)?;
        if listen.is_empty() {
            // Without any `listen`, nginx would use port 80.
            return Ok(());
        }
        write!(text, "server {{\n{listen}")?;
        writeln!(text, "    access_log syslog:server=unix:/run/systemd/journal/dev-log,nohostname,tag={tag:.25}_access ingot;")?;
        writeln!(text, "    client_max_body_size {};", fields.body())?;
        writeln!(text, "    keepalive_timeout {idle};")?;
        text.push_str(FRONT);
        self.write_leaving(text)?;
        let release = Place::Current(name).path().join("release");
        let links = no_foreign_links(&release);
        for (url, release_path) in fields.files() {
            let file = release.join(release_path);
            let (below, directory) = (format!("{url}/"), format!("{}/", file.display()));
            writeln!(text, "    location = {} {{ alias {}; {links} }}", Quoted(url), path(&file))?;
            write!(text, "    location ^~ {} {{ alias {}; {links} ", Quoted(&below), Quoted(directory))?;
            writeln!(text, "location ~ {} {{ return 404; }} }}", Quoted(format!("^{}(.*/)?{HIDDEN}", escaped(&below))))?;
        }
        let socket = Place::Current(name).path().join("http.sock");
        writeln!(text, "    location / {{")?;
        writeln!(text, "        proxy_pass {};", Quoted(format!("http://unix:{}", socket.display())))?;
        writeln!(text, "        proxy_read_timeout {0};\n        proxy_send_timeout {0};", seconds(timeout))?;
        writeln!(text, "{FRONT_HEADERS}    }}\n}}\n")
    }

    /// Makes load balancers stop sending requests while the machine is drained. nginx checks for the file at each
    /// health check, so it is not reloaded for this.
    fn write_leaving(&self, text: &mut String) -> fmt::Result {
        // nginx compares the path without the query string.
        let path = self.health.map(|path| path.split('?').next().unwrap_or(path)).filter(|path| !path.contains('$'));
        let Some(path) = path else { return Ok(()) };
        writeln!(text, "    set $ingot_leaving \"\";")?;
        // nginx compares decoded paths, with repeated slashes merged.
        match path.contains('%') || path.contains("//") {
            true => write!(text, "    if ($request_uri ~ {})", Quoted(format!("^{}([?]|$)", escaped(path))))?,
            false => write!(text, "    if ($uri = {})", Quoted(path))?,
        }
        writeln!(text, " {{ set $ingot_leaving {LEAVING}; }}")?;
        if path == "/" {
            // All clients request this path, so only health checkers get the special answer.
            writeln!(text, "    if ($http_user_agent !~ {}) {{ set $ingot_leaving \"\"; }}", Quoted(CHECKERS))?;
        }
        writeln!(text, "    if (-f $ingot_leaving) {{ return 503; }}")
    }

    fn write_listen(&self, text: &mut String, fields: &Fields, nginx: &Nginx) -> fmt::Result {
        let everywhere = |text: &mut String, port: u16, more: &str| {
            writeln!(text, "    listen {port} backlog=4096{more};")?;
            if nginx.ipv6 { writeln!(text, "    listen [::]:{port} backlog=4096{more};") } else { Ok(()) }
        };
        for port in fields.plain_ports() {
            everywhere(text, port, "")?;
        }
        if self.slots.iter().all(|behind| behind.port != self.port) {
            writeln!(text, "    listen 127.0.0.1:{} backlog=4096;", self.port)?;
        }
        let Some((tls, certificate)) = fields.tls.as_ref().zip(self.certificate) else { return Ok(()) };
        if nginx.version.has_http2_directive() {
            everywhere(text, tls.port(), " ssl")?;
            writeln!(text, "    http2 on;")?;
        } else {
            everywhere(text, tls.port(), " ssl http2")?;
        }
        writeln!(text, "    ssl_certificate {};", path(&Place::Certificate(certificate).path()))?;
        writeln!(text, "    ssl_certificate_key {};", path(&Place::Key(certificate).path()))
    }

    pub(super) fn write_slot(&self, text: &mut String, slot: Slot, behind: &Behind, fields: &Fields) -> fmt::Result {
        let socket = Place::Socket(self.name, slot).path();
        writeln!(text, "server {{\n    listen {} backlog=4096;", Quoted(format!("unix:{}", socket.display())))?;
        text.push_str(SLOT);
        let longer = seconds(fields.timeout() + LONGER);
        let port = behind.port;
        match &behind.php {
            None => {
                writeln!(text, "    location / {{\n        proxy_pass http://127.0.0.1:{port};")?;
                writeln!(text, "        proxy_read_timeout {longer};\n        proxy_send_timeout {longer};\n{SLOT_HTTP}    }}\n}}\n")
            }
            Some(root) => {
                let release = Place::Release(self.name, slot).path();
                // Files outside the release are not served. Such a path has already been rejected, with its reason.
                let root = if is_release_path(root) { release.join(root) } else { release };
                writeln!(text, "    root {};", path(&root))?;
                writeln!(text, "    {}", no_foreign_links(&Place::Release(self.name, slot).path()))?;
                text.push_str(PHP);
                writeln!(text, "        fastcgi_pass 127.0.0.1:{port};")?;
                writeln!(text, "        fastcgi_read_timeout {longer};\n        fastcgi_send_timeout {longer};\n{FASTCGI}    }}\n}}\n")
            }
        }
    }
}

/// Links in the release may only point to files with the same owner; otherwise anybody who can write there could read
/// every file that nginx can.
fn no_foreign_links(release: &Path) -> String {
    format!("disable_symlinks if_not_owner {};", Quoted(format!("from={}", release.display())))
}

/// User agents of AWS health checks.
///
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html>,
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html>.
const CHECKERS: &str = "^(ELB-HealthChecker/|Amazon-Route53-Health-Check-Service)";

/// Follows `/` in the path of a hidden file, which clients must not get, such as .env or .git/config.
const HIDDEN: &str = r"\.(?!well-known/)";

/// Escapes a path for a regular expression.
fn escaped(path: &str) -> String {
    let special = |letter: char| letter.is_ascii_punctuation() && letter != '/';
    path.chars().flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter])).collect()
}

/// A time in milliseconds, which every nginx directive accepts. Limited to 24 days, since nginx stores milliseconds in
/// 32 bits.
fn seconds(time: Duration) -> String {
    const LONGEST: Duration = Duration::from_secs(24 * 24 * 60 * 60);
    format!("{}ms", time.min(LONGEST).as_millis())
}

/// Common to the front end of every site.
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

/// Request headers for the application. AWS load balancers do not set `X-Forwarded-Host` and `Forwarded`, so these come
/// from the client, and frameworks build links from them. `Proxy` would become HTTP_PROXY in a CGI program.
const FRONT_HEADERS: &str = r#"        proxy_set_header Host $ingot_host;
        proxy_set_header Connection $ingot_connection;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $ingot_forwarded_for;
        proxy_set_header X-Forwarded-Proto $ingot_forwarded_proto;
        proxy_set_header X-Forwarded-Port $ingot_forwarded_port;
        proxy_set_header X-Forwarded-Host "";
        proxy_set_header Forwarded "";
        proxy_set_header Proxy "";
"#;

/// Common to every slot: it passes everything on as the front end sent it, including the headers added there.
pub(super) const SLOT: &str = r#"    access_log off;
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

/// The front end has already read the request, and buffers the response for slow clients. Headers by which an
/// application controls nginx are for the front end.
pub(super) const SLOT_HTTP: &str = r#"        proxy_buffering off;
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

/// Existing files are served as they are, except hidden ones; index.php handles everything else. What follows the name
/// of a script is its path info. A script that does not exist is not passed to php-fpm, which might run another script
/// instead.
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

/// Like `/etc/nginx/fastcgi_params`, but with the values that the client sent instead of those of the front end.
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
mod tests;
