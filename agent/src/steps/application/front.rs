//! The proxy of an application on this machine: its configuration as it should be, and what differs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::change::Change;
use super::fields::Application;
use super::ground::Ground;
use super::memory::Front;
use super::platforms::Speaks;
use super::procfile::WEB;
use super::proxy::{FastCgi, Nginx, Place, Proxy, Site, UNIT, Upstream, Version, WORKER_USERS, taken, taken_here};
use super::slot::Slot;
use super::trouble::ApplicationError;
use crate::host::{Attributes, End, Host, HostError, Invocation, SEARCH_PATH};
use crate::step::Context;
use crate::step::fields::Excerpt;
use crate::steps::install::staged;

/// The path of nginx in all distributions, as in the unit.
const NGINX: &str = "/usr/sbin/nginx";

/// `nginx -v` prints a line.
const VERSION_WITHIN: Duration = Duration::from_secs(10);

/// As long as nginx may take to read its configuration, and to bind its ports.
const STARTED_WITHIN: Duration = Duration::from_secs(30);

/// A configuration has kilobytes.
const LIMIT: u64 = 1 << 20;

/// How many last lines of nginx an error shows.
const LINES: usize = 5;

/// What the proxy leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facing {
    /// Where this machine reaches the application.
    pub(super) port: u16,
    pub(super) speaks: Speaks,
}

/// A file of the proxy, as it should be.
struct File {
    path: PathBuf,
    content: Zeroizing<Vec<u8>>,
    mode: u32,
}

impl Application {
    /// What differs of the proxy; nothing where the application has none.
    pub(super) async fn front_changes(&self, site: Facing, ground: &Ground<'_>, cx: &Context<'_>) -> Result<Vec<Change>, ApplicationError> {
        if matches!(self.proxy, Proxy::None) {
            return Ok(Vec::new());
        }
        let mut differs = true;
        if let Some(front) = ground.memory.front() {
            let nginx = nginx(front.version, cx.host()).await.map_err(ApplicationError::Host)?;
            differs = self.differs(&self.front_files(site, &nginx, cx)?, cx).await?;
        }
        let unit = cx.host().units.show(&[UNIT.to_owned()]).await.map_err(ApplicationError::Host)?;
        let is_up = unit.first().is_some_and(|unit| unit.active == "active");
        let mut changes = Vec::new();
        if differs {
            changes.push(Change::Configure { site, ports: self.proxy.ports() });
        }
        if differs || !is_up {
            changes.push(Change::Serve { reload: is_up });
        }
        Ok(changes)
    }

    async fn differs(&self, files: &[File], cx: &Context<'_>) -> Result<bool, ApplicationError> {
        for file in files {
            let found = cx.host().files.read(&file.path, LIMIT).await.map_err(ApplicationError::Host)?;
            if found.is_none_or(|found| *found != *file.content) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// nginx's configuration of this application.
    fn site(&self, name: &str, of: Facing, has_certificate: bool, nginx: &Nginx) -> String {
        let slots = Slot::BOTH.map(|slot| slot.port(of.port, self.overlap().covers(WEB)));
        let speaks = match of.speaks {
            Speaks::Http => Upstream::Http,
            Speaks::FastCgi { root } => Upstream::FastCgi(FastCgi { root }),
        };
        self.proxy.site(&Site { name, port: of.port, slots, speaks, has_certificate }, nginx).unwrap_or_default()
    }

    fn front_files(&self, site: Facing, nginx: &Nginx, cx: &Context<'_>) -> Result<Vec<File>, ApplicationError> {
        let name = cx.key();
        let plain = |path: Place<'_>, text: String| File { path: path.path(), content: Zeroizing::new(text.into_bytes()), mode: 0o644 };
        let mut files = Vec::new();
        if let Some(tls) = self.proxy.tls() {
            for (place, text, mode) in [(Place::Certificate(name), &tls.certificate, 0o644), (Place::Key(name), &tls.key, 0o600)] {
                let what = || "proxy.tls".to_owned();
                let value = cx.render(text).map_err(|source| ApplicationError::Render { what: what(), source })?;
                let content = Zeroizing::new(value.expose().as_bytes().to_vec());
                files.push(File { path: place.path(), content, mode });
            }
        }
        files.push(plain(Place::Conf, nginx.conf()));
        files.push(plain(Place::Site(name), self.site(name, site, true, nginx)));
        Ok(files)
    }

    /// Writes what differs.
    pub(super) async fn configure(&self, site: Facing, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let listeners = cx.host().sockets.listeners().await.map_err(ApplicationError::Host)?;
        let slots = Slot::BOTH.map(|slot| slot.port(site.port, self.overlap().covers(WEB)));
        let own = (!slots.contains(&site.port)).then(|| taken_here(site.port, &listeners)).flatten();
        if let Some((port, by)) = taken(&self.proxy.ports(), &listeners).or(own.map(|by| (site.port, by))) {
            return Err(ApplicationError::PortTaken { port, by: by.to_string(), kept: None });
        }
        let nginx = nginx(version(cx.host()).await?, cx.host()).await.map_err(ApplicationError::Host)?;
        let front = Front { version: nginx.version, nginx: nginx.conf(), site: self.site(cx.key(), site, false, &nginx) };
        ground.memory.set_front(&front).await.map_err(ApplicationError::Host)?;
        for file in self.front_files(site, &nginx, cx)? {
            write(&file.path, &file.content, file.mode, cx.host()).await.map_err(ApplicationError::Host)?;
        }
        directories(cx.key(), cx.host()).await.map_err(ApplicationError::Host)
    }

    /// Starts nginx, or has it read its configuration.
    pub(super) async fn serve(&self, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let units = &cx.host().units;
        let unit = units.show(&[UNIT.to_owned()]).await.map_err(ApplicationError::Host)?;
        let state = unit.first().map_or("", |unit| unit.active.as_str());
        let within = STARTED_WITHIN.min(cx.time_left());
        let done = match state {
            "active" | "reloading" => units.reload(UNIT, within).await,
            "inactive" | "failed" => units.start(UNIT, within).await,
            // Another application starts it, and it may have read the configuration before ours was there.
            _ => match units.start(UNIT, within).await {
                Ok(()) => units.reload(UNIT, within).await,
                failed => failed,
            },
        };
        match done {
            Ok(()) => Ok(()),
            Err(source) => {
                let said: Excerpt = units.output(UNIT, LINES).await.iter().map(|line| cx.redact(line)).collect();
                Err(ApplicationError::Proxy { why: source.to_string(), said: Box::new(said) })
            }
        }
    }
}

/// Writes what is remembered of a proxy, and starts it.
pub(super) async fn bring_back(front: &Front, application: &str, host: &Host) -> Result<(), HostError> {
    for (place, text) in [(Place::Conf, &front.nginx), (Place::Site(application), &front.site)] {
        write(&place.path(), text.as_bytes(), 0o644, host).await?;
    }
    directories(application, host).await?;
    host.units.start(UNIT, STARTED_WITHIN).await
}

/// nginx binds the sockets of both slots when it starts.
async fn directories(application: &str, host: &Host) -> Result<(), HostError> {
    for slot in Slot::BOTH {
        host.files.create_directory(&Place::Slot(application, slot).path(), 0o755).await?;
    }
    Ok(())
}

async fn write(path: &Path, content: &[u8], mode: u32, host: &Host) -> Result<(), HostError> {
    if host.files.read(path, LIMIT).await?.is_some_and(|found| *found == *content) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        host.files.create_directory(parent, 0o755).await?;
    }
    let (uid, gid) = host.users.own();
    host.files.stage(&staged(path), content, Attributes { mode, uid, gid }).await?;
    host.files.install(&staged(path), path).await
}

/// The version of nginx. One that does not tell is taken for an old one.
async fn version(host: &Host) -> Result<Version, ApplicationError> {
    let invocation = Invocation {
        argv: [NGINX, "-v"].map(Into::into).to_vec(),
        environment: vec![("PATH".into(), SEARCH_PATH.into())],
        directory: "/".into(),
        user: None,
        timeout: VERSION_WITHIN,
    };
    let mut said = String::new();
    match host.commands.run(&invocation, &mut |line| said.push_str(line)).await {
        Ok(End::Exited(0)) => Ok(Version::parse(&said).unwrap_or(Version::OLDEST)),
        Ok(_) => Err(ApplicationError::NoProxy { why: said }),
        Err(HostError::Spawn { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(ApplicationError::NoProxy { why: String::new() })
        }
        Err(error) => Err(ApplicationError::Host(error)),
    }
}

/// What has to be known of a machine to configure nginx for it.
async fn nginx(version: Version, host: &Host) -> Result<Nginx, HostError> {
    let mut user = WORKER_USERS[0];
    for name in WORKER_USERS {
        if host.users.user(name).await.is_ok() {
            user = name;
            break;
        }
    }
    let ipv6 = host.files.stat(Path::new("/proc/net/if_inet6")).await?.is_some();
    Ok(Nginx { version, user, ipv6 })
}
