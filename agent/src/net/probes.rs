//! Probes of services; [`NetProbes`] makes them over this machine's network, without proxy or DNS.
//!
//! Names are resolved from /etc/hosts only, mainly `localhost`. A probe is for a service on this machine, and must not
//! depend on a name server.

use std::cell::OnceCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::fastcgi;
use crate::host::blocking;

const HOSTS: &str = "/etc/hosts";

/// Checks whether a service on this machine is serving.
#[async_trait(?Send)]
pub(crate) trait Probes {
    /// One GET without following redirects. Returns the status code.
    ///
    /// # Errors
    ///
    /// A readable sentence that says what failed.
    async fn http(&self, url: &str, timeout: Duration) -> Result<u16, String>;
    /// One GET over FastCGI, for the scripts below the directory `root`. Returns the status code.
    ///
    /// # Errors
    ///
    /// As [`http`](Probes::http).
    async fn fastcgi(&self, at: SocketAddr, root: &str, path: &str, timeout: Duration) -> Result<u16, String>;
    /// One TCP connection to `host:port`.
    async fn tcp(&self, address: &str, timeout: Duration) -> Result<(), String>;
    /// One TCP connection to a port of this machine that a container engine publishes. The connection has to stay open,
    /// because docker accepts it before anything listens inside the container, and then closes what it cannot forward.
    async fn published(&self, port: u16, timeout: Duration) -> Result<(), String>;
}

/// Probes on this machine. The client is created by the first HTTP probe, because setting up TLS costs a little time.
#[derive(Debug, Default)]
pub(crate) struct NetProbes {
    client: OnceCell<reqwest::Client>,
}

impl NetProbes {
    fn client(&self) -> Result<&reqwest::Client, String> {
        if self.client.get().is_none() {
            let made = client().map_err(|error| format!("cannot create an HTTP client: {error}"))?;
            let _ = self.client.set(made);
        }
        self.client.get().ok_or_else(|| "no HTTP client can be made".to_owned())
    }
}

#[async_trait(?Send)]
impl Probes for NetProbes {
    async fn http(&self, url: &str, timeout: Duration) -> Result<u16, String> {
        let answer = self.client()?.get(url).timeout(timeout).send().await;
        answer.map(|response| response.status().as_u16()).map_err(|error| explained(&error, timeout))
    }

    async fn fastcgi(&self, at: SocketAddr, root: &str, path: &str, timeout: Duration) -> Result<u16, String> {
        let parameters = fastcgi::parameters(root, path);
        let ask = async { fastcgi::ask(&mut TcpStream::connect(at).await?, &parameters).await };
        match tokio::time::timeout(timeout, ask).await {
            Ok(asked) => asked.map_err(|error| in_short(&error)),
            Err(_) => Err(format!("no response within {timeout:?}")),
        }
    }

    async fn tcp(&self, address: &str, timeout: Duration) -> Result<(), String> {
        let (host, port) = split(address).ok_or_else(|| format!("{address} is not host:port"))?;
        let connect = async {
            let addresses = look_up(host).await?;
            let mut refused = String::new();
            for address in addresses {
                match TcpStream::connect(SocketAddr::new(address, port)).await {
                    Ok(_) => return Ok(()),
                    Err(error) => refused = in_short(&error),
                }
            }
            Err(refused)
        };
        tokio::time::timeout(timeout, connect).await.unwrap_or_else(|_| Err(format!("no response within {timeout:?}")))
    }

    async fn published(&self, port: u16, timeout: Duration) -> Result<(), String> {
        let late = || format!("no response within {timeout:?}");
        let connect = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let mut stream = tokio::time::timeout(timeout, connect).await.map_err(|_| late())?.map_err(|error| in_short(&error))?;
        match tokio::time::timeout(STAYS, stream.read(&mut [0; 1])).await {
            Ok(Ok(0) | Err(_)) => Err("the connection was closed at once: nothing is listening inside yet".to_owned()),
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }
}

/// How long a connection to a published port has to stay open. If nothing listens in the container, docker's proxy is
/// refused immediately.
///
/// Source: moby's cmd/docker-proxy/tcp_proxy_linux.go, `clientLoop`.
const STAYS: Duration = Duration::from_millis(200);

fn client() -> Result<reqwest::Client, Box<dyn std::error::Error>> {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .dns_resolver(HostsFile)
        // Each probe must show that the service accepts a new connection.
        .pool_max_idle_per_host(0)
        .user_agent(concat!("ingot/", env!("CARGO_PKG_VERSION")))
        .build()?;
    Ok(client)
}

/// The innermost cause is the useful part; the rest only says "error sending request".
fn explained(error: &reqwest::Error, timeout: Duration) -> String {
    if error.is_builder() {
        return format!("it is not a URL: {}", innermost(error));
    }
    if error.is_timeout() {
        return format!("no response within {timeout:?}");
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(known) = cause {
        if let Some(io) = known.downcast_ref::<std::io::Error>().filter(|io| io.raw_os_error().is_some()) {
            return in_short(io);
        }
        cause = known.source();
    }
    let why = innermost(error);
    match why.contains("certificate") {
        true => format!("{why} (certificates are verified: probe http:// or tcp if this one is self-signed)"),
        false => why,
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// "connection refused", without the error number.
fn in_short(error: &std::io::Error) -> String {
    if error.raw_os_error().is_none() {
        return error.to_string();
    }
    let text = error.to_string().to_lowercase();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// The addresses of a host. /etc/hosts is read only if it could add something, and on a separate thread, because its
/// disk may hang.
async fn look_up(host: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(found) = addresses(host, "") {
        return Ok(found);
    }
    let read = || Ok(std::fs::read_to_string(HOSTS).unwrap_or_default());
    let hosts = blocking::work("read", Path::new(HOSTS), read).await.unwrap_or_default();
    addresses(host, &hosts)
}

/// Whether an HTTP probe of this text is possible at all.
pub(crate) fn is_url(text: &str) -> bool {
    (text.starts_with("http://") || text.starts_with("https://")) && reqwest::Url::parse(text).is_ok()
}

/// Splits `host:port`, `[::1]:port` and the common short form `:port`.
pub(crate) fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if bare.is_none() && host.contains(':') {
        return None;
    }
    let host = bare.unwrap_or(if host.is_empty() { "localhost" } else { host });
    Some((host, port.parse().ok()?))
}

fn addresses(host: &str, hosts: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let host = host.trim_end_matches('.');
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let line = |line: &str| -> Option<IpAddr> {
        let mut fields = line.split('#').next()?.split_whitespace();
        let address = fields.next()?.parse().ok()?;
        fields.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
    };
    let found: Vec<IpAddr> = hosts.lines().filter_map(line).collect();
    if found.is_empty() { Err(format!("{host} is not in /etc/hosts: probe an address, such as 127.0.0.1")) } else { Ok(found) }
}

/// Resolves names for the HTTP client from /etc/hosts, as for all probes.
struct HostsFile;

impl Resolve for HostsFile {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = look_up(name.as_str()).await?;
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    /// Answers one connection with `answer`.
    async fn server(answer: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        port
    }

    #[tokio::test]
    async fn tells_the_status_and_follows_no_redirect() {
        let port = server("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(NetProbes::default().http(&format!("http://localhost:{port}/health"), SOON).await, Ok(302));
    }

    /// Imitates docker's proxy.
    #[tokio::test]
    async fn a_published_port_behind_which_nobody_listens_does_not_serve() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let probes = NetProbes::default();
        let accepted = async { drop(listener.accept().await.unwrap()) };
        let (probed, ()) = tokio::join!(probes.published(port, SOON), accepted);
        assert_eq!(probed, Err("the connection was closed at once: nothing is listening inside yet".to_owned()));
        assert_eq!(probes.tcp(&format!("127.0.0.1:{port}"), SOON).await, Ok(()));
        // Services that wait for a request keep the connection open.
        assert_eq!(NetProbes::default().published(server("").await, SOON).await, Ok(()));
        drop(listener);
        assert_eq!(probes.published(port, SOON).await, Err("connection refused".to_owned()));
    }

    #[tokio::test]
    async fn says_what_did_not_work() {
        let probes = NetProbes::default();
        // Bound, so that nothing else uses the port, but not listening.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let closed = socket.local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hanging = listener.local_addr().unwrap();

        let refused = Err("connection refused".to_owned());
        assert_eq!(probes.http(&format!("http://{closed}/"), SOON).await, refused);
        assert_eq!(probes.tcp(&closed.to_string(), SOON).await, refused.map(|_: u16| ()));
        assert_eq!(probes.tcp(&hanging.to_string(), SOON).await, Ok(()));
        let late = probes.http(&format!("http://{hanging}/"), Duration::from_millis(50)).await;
        assert_eq!(late, Err("no response within 50ms".into()));
        let name = probes.http("http://shop.example.com/", SOON).await;
        assert_eq!(name, Err("shop.example.com is not in /etc/hosts: probe an address, such as 127.0.0.1".into()));
        assert!(probes.http("no url", SOON).await.unwrap_err().starts_with("it is not a URL"));
    }

    #[test]
    fn splits_addresses() {
        assert_eq!(split("127.0.0.1:80"), Some(("127.0.0.1", 80)));
        assert_eq!(split("[::1]:80"), Some(("::1", 80)));
        assert_eq!(split(":80"), Some(("localhost", 80)));
        assert_eq!((split("::1"), split("x"), split("x:99999")), (None, None, None));
    }

    #[test]
    fn reads_etc_hosts() {
        let hosts = "# 10.0.0.9 db\n10.0.0.7\tdb.internal DB # the database\n::7 db\nnonsense db\n";
        let found = addresses("db", hosts).unwrap();
        assert_eq!(found, ["10.0.0.7".parse::<IpAddr>().unwrap(), "::7".parse().unwrap()]);
        assert!(addresses("database", hosts).is_err());
    }
}
