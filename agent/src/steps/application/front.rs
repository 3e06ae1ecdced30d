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
use super::proxy::{FastCgi, Nginx, Place, Proxy, SITES, Site, Snippets, UNIT, Upstream, Version, WORKER_USERS, origin, taken, taken_here};
use super::remark::Remark;
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facing {
    /// Where this machine reaches the application.
    pub(super) port: u16,
    pub(super) speaks: Speaks,
    /// What the release adds.
    pub(super) snippets: Snippets,
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
            differs = self.differs(&self.front_files(&site, &nginx, cx)?, cx).await?;
        }
        let unit = cx.host().units.show(&[UNIT.to_owned()]).await.map_err(ApplicationError::Host)?;
        let is_up = unit.first().is_some_and(|unit| unit.active == "active");
        let mut changes = Vec::new();
        if differs && !site.snippets.is_empty() {
            changes.push(Change::Check { site: site.clone() });
        }
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
    fn site(&self, name: &str, of: &Facing, has_certificate: bool, nginx: &Nginx) -> String {
        let slots = Slot::BOTH.map(|slot| slot.port(of.port, self.overlap().covers(WEB)));
        let speaks = match of.speaks {
            Speaks::Http => Upstream::Http,
            Speaks::FastCgi { root } => Upstream::FastCgi(FastCgi { root }),
        };
        let site = Site { name, port: of.port, slots, speaks, has_certificate };
        self.proxy.site_with(&of.snippets, &site, nginx).unwrap_or_default()
    }

    fn front_files(&self, site: &Facing, nginx: &Nginx, cx: &Context<'_>) -> Result<Vec<File>, ApplicationError> {
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
    pub(super) async fn configure(&self, site: &Facing, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
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

    /// Has nginx read the configuration as it would be with what the release adds. Nothing that nginx reads is touched.
    pub(super) async fn check(&self, site: &Facing, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let host = cx.host();
        let nginx = nginx(version(host).await?, host).await.map_err(ApplicationError::Host)?;
        let text = self.site(cx.key(), site, false, &nginx);
        let (end, said) = try_out(cx.key(), &text, &nginx, host).await.map_err(ApplicationError::Host)?;
        if end == End::Exited(0) {
            return Ok(());
        }
        let line = said.iter().find(|line| line.contains("[emerg]")).or(said.last()).cloned().unwrap_or_default();
        // After the level, a worker says who it is: `[emerg] 619#619: unknown directive …`.
        let why = line.split("[emerg] ").last().unwrap_or_default();
        let why = why.split_once(": ").filter(|(who, _)| who.contains('#')).map_or(why, |(_, why)| why);
        let at = why.rsplit_once(':').and_then(|(_, line)| origin(&text, line.trim().parse().ok()?));
        let Some((file, line)) = at else {
            return Err(ApplicationError::Proxy { why: cx.redact(why), said: Box::new(said.iter().map(|line| cx.redact(line)).collect()) });
        };
        let message = why.rsplit_once(" in ").map_or(why, |(message, _)| message);
        let mistake = Remark::at(file, line, format!("nginx: {message}"), "correct it, or remove the directive");
        let version = cx.world.known.text(&self.bundle, "version").unwrap_or_default();
        Err(ApplicationError::Release { version, remarks: vec![mistake], kept: None })
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

/// Tells how `nginx -t` ends for a configuration with this one of an application, and what it says.
async fn try_out(name: &str, text: &str, nginx: &Nginx, host: &Host) -> Result<(End, Vec<String>), HostError> {
    // In the same directory, from which nginx reads relative paths.
    let (main, site) = (Place::Conf.path().with_file_name(".tried.conf"), Path::new(SITES).join(format!(".tried.{name}")));
    let own = format!("{name}.conf");
    let others = host.files.list(Path::new(SITES)).await?.into_iter().filter(|other| !other.starts_with('.') && *other != own);
    let all: String = others.chain([format!(".tried.{name}")]).map(|site| format!("include {SITES}/{site};\n")).collect();
    write(&main, nginx.conf().replace(&format!("include {SITES}/*.conf;"), &all).as_bytes(), 0o644, host).await?;
    write(&site, text.as_bytes(), 0o644, host).await?;
    directories(name, host).await?;
    host.files.create_directory(Path::new("/var/cache/ingot-proxy"), 0o755).await?;
    let invocation = Invocation {
        argv: [NGINX, "-t", "-q", "-c", &main.display().to_string()].map(Into::into).to_vec(),
        environment: vec![("PATH".into(), SEARCH_PATH.into())],
        directory: "/".into(),
        user: None,
        timeout: STARTED_WITHIN,
    };
    let mut said = Vec::new();
    let end = host.commands.run(&invocation, &mut |line| said.push(line.to_owned())).await?;
    host.files.remove(&main).await?;
    host.files.remove(&site).await?;
    Ok((end, said))
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
