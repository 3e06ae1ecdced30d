//! `/run/ingot/proxy/sites/APP.conf`: the front, which clients ask, and the slots behind it.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fields::{Fields, is_release_path};
use super::nginx::Nginx;
use super::place::Place;
use crate::steps::application::slot::Slot;
use crate::steps::drain::LEAVING;

/// An application as its proxy sees it. What is passed to is always written out, never an `upstream`: of those nginx
/// keeps connections since 1.29.7, whatever it says to the other end (seen with 1.30.6). None of it changes with a
/// release, so that nginx is not reloaded for one.
#[derive(Debug, Clone)]
pub(crate) struct Site<'a> {
    /// Its name, without anything wrong with it by [`name_objection`](super::name_objection).
    pub(crate) name: &'a str,
    /// Its own port. Where no slot has it, nginx listens there, on loopback, for what else runs on this machine.
    pub(crate) port: u16,
    /// What is passed to, in slot a and in slot b.
    pub(crate) slots: [Behind; 2],
    /// What certificate and key are called by, in their places. Without them nginx would not start: after a reboot they
    /// come back with the document.
    pub(crate) certificate: Option<&'a str>,
    /// The path that says whether it is ready: load balancers ask for it, too.
    pub(crate) health: Option<&'a str>,
}

/// The release behind a slot, as nginx has to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Behind {
    /// The port that it listens on.
    pub(crate) port: u16,
    /// Where it speaks FastCGI: the directory of the release that has index.php, such as `public`; empty for the release
    /// itself.
    #[serde(default)]
    pub(crate) php: Option<String>,
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
            // nginx would listen on port 80.
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

    /// Has load balancers send no more requests while the machine is drained. nginx looks at the file when they ask: it is
    /// not reloaded for that.
    fn write_leaving(&self, text: &mut String) -> fmt::Result {
        // What follows a question mark is not part of what is compared.
        let path = self.health.map(|path| path.split('?').next().unwrap_or(path)).filter(|path| !path.contains('$'));
        let Some(path) = path else { return Ok(()) };
        writeln!(text, "    set $ingot_leaving \"\";")?;
        // nginx knows a path decoded, and without what is double in it.
        match path.contains('%') || path.contains("//") {
            true => write!(text, "    if ($request_uri ~ {})", Quoted(format!("^{}([?]|$)", escaped(path))))?,
            false => write!(text, "    if ($uri = {})", Quoted(path))?,
        }
        writeln!(text, " {{ set $ingot_leaving {LEAVING}; }}")?;
        if path == "/" {
            // Everybody comes here.
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
                // What leaves the release is not served. It was refused before, with its reason.
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

/// A link in the release leads to what its own owner has: else whoever can write there reads all that nginx can.
fn no_foreign_links(release: &Path) -> String {
    format!("disable_symlinks if_not_owner {};", Quoted(format!("from={}", release.display())))
}

/// Health checks of AWS.
///
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html>,
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html>.
const CHECKERS: &str = "^(ELB-HealthChecker/|Amazon-Route53-Health-Check-Service)";

/// What follows `/` in the path of a file that is not for clients, such as .env or .git/config.
const HIDDEN: &str = r"\.(?!well-known/)";

/// A path in a regular expression.
fn escaped(path: &str) -> String {
    let special = |letter: char| letter.is_ascii_punctuation() && letter != '/';
    path.chars().flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter])).collect()
}

/// In a unit that nginx reads everywhere; it keeps milliseconds in 32 bits, and 24 days are for ever.
fn seconds(time: Duration) -> String {
    const LONGEST: Duration = Duration::from_secs(24 * 24 * 60 * 60);
    format!("{}ms", time.min(LONGEST).as_millis())
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

/// What an application is told. Of `X-Forwarded-Host` and `Forwarded` no balancer of AWS knows, so they are a client's:
/// frameworks make links of them. `Proxy` would be HTTP_PROXY to a CGI program.
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

/// What every slot has: it lets everything pass as the front has sent it, which has added some headers.
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

/// The front has read the request, and keeps the answer for slow clients. What an application tells nginx is for the
/// front.
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
mod tests;
