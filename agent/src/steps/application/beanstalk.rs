//! `compatible_with: beanstalk` — the paths and the program that scripts written for Elastic Beanstalk look for.
//!
//! | path | is |
//! |---|---|
//! | `/var/app/current`, `/var/app/staging` | links to the release that serves, and to the one last prepared |
//! | `/opt/elasticbeanstalk/deployment/env` | a link to the variables, below /run and readable by root only |
//! | `/opt/elasticbeanstalk/bin/get-config` | `ingot get-config`, which reads the same variables |
//! | `/var/log/PROCESS.stdout.log` | the output of `journalctl --follow`, which runs in a unit for each process |
//!
//! All of this is inspected and repaired at every boot. Only the variables change with a release: the links lead
//! through the proxy's own link, which the switch renames.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use zeroize::Zeroizing;

use super::change::Change;
use super::fields::{Application, Compatible};
use super::generation::Generation;
use super::ground::Ground;
use super::part::{Part, log, log_unit};
use super::procfile::WEB;
use super::proxy::{Place, Proxy};
use super::trouble::ApplicationError;
use crate::failure::Explanation;
use crate::host::{Attributes, Host, HostError, Launch, Manner};
use crate::sorting::Sort as _;
use crate::step::{Context, Progress};
use crate::steps::install::staged;
use crate::template::environment_value;

const CURRENT: &str = "/var/app/current";
const STAGING: &str = "/var/app/staging";
const ENV: &str = "/opt/elasticbeanstalk/deployment/env";
const GET_CONFIG: &str = "/opt/elasticbeanstalk/bin/get-config";
const ROTATION: &str = "/etc/logrotate.d/ingot-beanstalk";
/// Where hooks look for the Python virtual environment, according to the guide.
const VENV: &str = "/var/app/venv/staging-LQM1lest";
const NGINX: &str = "/etc/nginx/conf.d/elasticbeanstalk";
const TASKS: [&str; 3] = ["taillogs.d", "bundlelogs.d", "publishlogs.d"];

/// Rotation of the logs that scripts read by name: at 10 MB each, five are kept.
const ROTATE: &str =
    "/var/log/*.stdout.log {\n    size 10M\n    rotate 5\n    compress\n    missingok\n    notifempty\n    copytruncate\n}\n";

/// systemd only has to start a program here, which takes moments.
const WITHIN: Duration = Duration::from_secs(30);

const LIMIT: u64 = 4 << 20;

/// Files in memory that only root can read: the variables for shells and systemd, and everything that `get-config`
/// prints.
fn own(application: &str, end: &str) -> PathBuf {
    format!("/run/ingot/applications/{application}/beanstalk.{end}").into()
}

impl Application {
    pub(super) fn is_for_beanstalk(&self) -> bool {
        self.compatible_with == Some(Compatible::Beanstalk)
    }

    fn parts(&self, name: &str) -> Vec<Part> {
        let link = |at: &str, to: PathBuf| Part::Link { at: at.into(), to };
        let file = |path: PathBuf, mode| Part::File { path, mode };
        let mut parts: Vec<Part> =
            TASKS.iter().map(|tasks| Part::Directory(format!("/opt/elasticbeanstalk/tasks/{tasks}").into())).collect();
        parts.extend([
            file(own(name, "env"), 0o600),
            file(own(name, "json"), 0o600),
            file(GET_CONFIG.into(), 0o755),
            file(ROTATION.into(), 0o644),
            link(ENV, own(name, "env")),
            link(CURRENT, Place::Current(name).path().join("release")),
            link(VENV, Path::new(STAGING).join(".venv")),
        ]);
        if !matches!(self.proxy, Proxy::None) {
            parts.push(link(NGINX, Path::new(CURRENT).join(".platform/nginx/conf.d/elasticbeanstalk")));
        }
        parts
    }

    /// What differs from these paths and programs.
    pub(super) async fn compatible(
        &self,
        generation: &Generation,
        port: u16,
        ground: &Ground<'_>,
        cx: &Context<'_>,
    ) -> Result<Vec<Change>, ApplicationError> {
        let (name, host) = (cx.key(), cx.host());
        let logged = ground.memory.compatible();
        let mut parts = Vec::new();
        if self.is_for_beanstalk() {
            for part in self.parts(name) {
                if self.differs_from(&part, generation, port, cx).await? {
                    parts.push(part);
                }
            }
            let units: Vec<String> = generation.processes.keys().map(|process| log_unit(name, process)).collect();
            let shown = host.units.show(&units).await.map_err(ApplicationError::Host)?;
            let down = generation.processes.keys().zip(shown).filter(|(_, unit)| matches!(unit.active.as_str(), "inactive" | "failed"));
            parts.extend(down.map(|(process, _)| Part::Log(process.clone(), log_unit(name, process))));
            let gone = logged.into_iter().flatten().filter(|process| !generation.processes.contains_key(process));
            parts.extend(gone.map(|process| Part::NoLog(process.clone(), log_unit(name, &process))));
        } else if logged.is_some() {
            let mut paths = Vec::new();
            for part in self.parts(name) {
                match part {
                    Part::File { path, .. } => paths.push(path),
                    Part::Link { at, to } if host.directories.link(&at).await.map_err(ApplicationError::Host)?.as_ref() == Some(&to) => {
                        paths.push(at)
                    }
                    _ => {}
                }
            }
            parts.push(Part::Nothing(paths));
        }
        Ok(parts.into_iter().map(|part| Change::Provide { part, generation: Box::new(generation.clone()), port }).collect())
    }

    async fn differs_from(&self, part: &Part, generation: &Generation, port: u16, cx: &Context<'_>) -> Result<bool, ApplicationError> {
        let host = cx.host();
        Ok(match part {
            Part::Directory(path) => host.files.stat(path).await.map_err(ApplicationError::Host)?.is_none(),
            Part::Link { at, to } => host.directories.link(at).await.map_err(ApplicationError::Host)?.as_ref() != Some(to),
            Part::File { path, mode } => {
                let stat = host.files.stat(path).await.map_err(ApplicationError::Host)?;
                let found = host.files.read(path, LIMIT).await.map_err(ApplicationError::Host)?;
                let wanted = self.content(path, generation, port, cx)?;
                stat.is_none_or(|stat| stat.attributes.mode != *mode) || found.is_none_or(|found| *found != *wanted)
            }
            Part::Log(..) | Part::NoLog(..) | Part::Nothing(_) => true,
        })
    }

    pub(super) async fn provide(
        &self,
        part: &Part,
        generation: &Generation,
        port: u16,
        ground: &Ground<'_>,
        cx: &Context<'_>,
    ) -> Result<(), ApplicationError> {
        let content = match part {
            Part::File { path, .. } => self.content(path, generation, port, cx)?,
            _ => Zeroizing::default(),
        };
        put(part, &content, ground).await.map_err(ApplicationError::Host)
    }

    /// Points `/var/app/staging` at a release in which programs are about to run.
    pub(super) async fn point_staging(&self, release: &Path, host: &Host) -> Result<(), HostError> {
        if !self.is_for_beanstalk() || host.directories.link(Path::new(STAGING)).await?.as_deref() == Some(release) {
            return Ok(());
        }
        host.files.create_directory(Path::new("/var/app"), 0o755).await?;
        host.directories.switch(Path::new(STAGING), release).await
    }

    /// The variables as the scripts of a release find them, to detect whether a script changes them.
    pub(super) async fn handed_over(&self, release: &Path, cx: &Context<'_>) -> Result<HandedOver, ApplicationError> {
        let (host, mut links) = (cx.host(), Vec::new());
        let own = own(cx.key(), "env");
        for at in [PathBuf::from(ENV), release.join(".env")] {
            let to = host.directories.link(&at).await.map_err(ApplicationError::Host)?;
            let is_ours = |to: &PathBuf| to.starts_with(own.parent().unwrap_or(&own));
            links.extend(to.filter(is_ours).map(|to| (at, to)));
        }
        let content = match self.is_for_beanstalk() {
            true => host.files.read(&own, LIMIT).await.map_err(ApplicationError::Host)?,
            false => None,
        };
        Ok(HandedOver { content, links })
    }

    /// Fails if a script has changed the variables since, because no process would read the change. `sed -i` replaces a
    /// link with a file that contains every secret.
    pub(super) async fn is_unchanged(
        &self,
        before: &HandedOver,
        release: &Path,
        what: &str,
        cx: &Context<'_>,
    ) -> Result<(), ApplicationError> {
        if self.handed_over(release, cx).await? == *before {
            return Ok(());
        }
        for (at, to) in &before.links {
            cx.host().directories.switch(at, to).await.map_err(ApplicationError::Host)?;
        }
        Err(ApplicationError::Appended { what: what.to_owned(), kept: None })
    }

    /// After a failure, points scripts back at the variables of the generation that serves.
    pub(super) async fn hand_back(&self, ground: &Ground<'_>, cx: &Context<'_>) {
        let Some((slot, placed)) = ground.serving().filter(|_| self.is_for_beanstalk()) else { return };
        let port = slot.reached_at(placed.port, self.overlap().covers(WEB));
        for path in [own(cx.key(), "env"), own(cx.key(), "json")] {
            let part = Part::File { path, mode: 0o600 };
            if let Err(error) = self.provide(&part, &placed.generation, port, ground, cx).await {
                let error = Explanation::of(&error);
                cx.progress(Progress::Warning(format!("scripts do not find the variables of {placed}: {}", error.message)));
            }
        }
    }

    fn content(&self, path: &Path, generation: &Generation, port: u16, cx: &Context<'_>) -> Result<Zeroizing<Vec<u8>>, ApplicationError> {
        let plain = |text: String| Ok(Zeroizing::new(text.into_bytes()));
        if path == Path::new(GET_CONFIG) {
            return plain(format!("#!/bin/sh\nexec /usr/bin/ingot get-config --from {} \"$@\"\n", own(cx.key(), "json").display()));
        }
        if path == Path::new(ROTATION) {
            return plain(ROTATE.to_owned());
        }
        let mut variables = self.variables(generation, cx)?;
        variables.retain(|(name, _)| name != "PATH");
        variables.push(("PORT".to_owned(), port.to_string().as_str().into()));
        variables.order_by(|(one, _), (other, _)| one.cmp(other));
        // The full size is allocated at once: growing the buffer would leave copies of a secret in memory.
        let longest: usize = variables.iter().map(|(name, value)| 6 * (name.len() + value.expose().len()) + 16).sum();
        let mut out = Zeroizing::new(Vec::with_capacity(longest + 1024));
        if path.extension().is_some_and(|end| end == "env") {
            for (name, value) in &variables {
                let quoted = environment_value(value.expose()).map_err(|why| ApplicationError::Variable { name: name.clone(), why })?;
                // Writing to a Vec cannot fail.
                let _ = writeln!(out, "{name}={}", quoted.expose());
            }
            return Ok(out);
        }
        let proxy = if matches!(self.proxy, Proxy::None) { "none" } else { "nginx" };
        let port = port.to_string();
        let plain = json!({
            "addons": {},
            "container": { "application_port": port, "instance_port": "80", "proxy_server": proxy },
            "optionsettings": { "aws:elasticbeanstalk:environment:proxy": { "ProxyServer": proxy } },
            "platformconfig": {
                "AppDeployDir": format!("{CURRENT}/"),
                "AppStagingDir": format!("{STAGING}/"),
                "AppUser": generation.user,
                "ApplicationPort": port,
                "ProxyServer": proxy,
            },
        });
        let plain = plain.to_string();
        out.extend_from_slice(&plain.as_bytes()[..plain.len() - 1]);
        out.extend_from_slice(b",\"environment\":{");
        for (number, (name, value)) in variables.iter().enumerate() {
            out.extend_from_slice(if number == 0 { b"" } else { b"," });
            let _ = serde_json::to_writer(&mut *out, name);
            out.push(b':');
            let _ = serde_json::to_writer(&mut *out, value.expose());
        }
        out.extend_from_slice(b"}}\n");
        Ok(out)
    }
}

/// What scripts find: the variables, and the links that lead to them.
#[derive(PartialEq, Eq)]
pub(super) struct HandedOver {
    content: Option<Zeroizing<Vec<u8>>>,
    links: Vec<(PathBuf, PathBuf)>,
}

impl Ground<'_> {
    /// Removes what was written for the scripts of an application that no longer exists, unless another application has
    /// taken its place.
    pub(super) async fn clear_compatible(&self) -> Result<(), HostError> {
        let (files, directories) = (&self.host.files, &self.host.directories);
        for process in self.memory.compatible().into_iter().flatten() {
            self.host.units.stop(&log_unit(self.application, &process), WITHIN).await?;
        }
        let current = Place::Current(self.application).path().join("release");
        if directories.link(Path::new(CURRENT)).await? == Some(current) {
            for path in [CURRENT, STAGING, VENV, NGINX, GET_CONFIG, ROTATION, ENV] {
                files.remove(Path::new(path)).await?;
            }
        }
        Ok(())
    }
}

async fn put(part: &Part, content: &[u8], ground: &Ground<'_>) -> Result<(), HostError> {
    let (files, directories, units) = (&ground.host.files, &ground.host.directories, &ground.host.units);
    let mut logged = ground.memory.compatible().unwrap_or_default();
    match part {
        Part::Directory(path) => files.create_directory(path, 0o755).await?,
        Part::Link { at, to } => {
            files.create_directory(at.parent().unwrap_or(at), 0o755).await?;
            directories.switch(at, to).await?;
        }
        Part::File { path, mode } => {
            files.create_directory(path.parent().unwrap_or(path), if path.starts_with("/run") { 0o700 } else { 0o755 }).await?;
            let (uid, gid) = ground.host.users.own();
            files.stage(&staged(path), content, Attributes { mode: *mode, uid, gid }).await?;
            files.install(&staged(path), path).await?;
        }
        Part::Log(process, unit) => {
            // A failed unit keeps its name until it is reset.
            units.reset_failed(unit).await.ok();
            units.launch(&follower(ground.application, process), WITHIN).await?;
            logged.retain(|known| known != process);
            logged.push(process.clone());
        }
        Part::NoLog(process, unit) => {
            units.stop(unit, WITHIN).await?;
            logged.retain(|known| known != process);
        }
        Part::Nothing(paths) => {
            for process in &logged {
                units.stop(&log_unit(ground.application, process), WITHIN).await?;
            }
            for path in paths.iter().map(PathBuf::as_path).chain([Path::new(STAGING)]) {
                files.remove(path).await?;
            }
            return ground.memory.set_compatible(None).await;
        }
    }
    ground.memory.set_compatible(Some(&logged)).await
}

/// Follows the journal of a process, starting with what the process has printed earlier in this boot.
fn follower(application: &str, process: &str) -> Launch {
    let tag = format!("{application}.{process}");
    Launch {
        manner: Manner::Program,
        unit: log_unit(application, process),
        description: format!("{} for what reads it by this name", log(process)),
        identifier: "ingot-log".into(),
        command: format!("exec journalctl --quiet --boot --no-tail --follow --output=short --identifier={tag} >>{}", log(process)),
        directory: "/".into(),
        user: "root".into(),
        environment_file: "/dev/null".into(),
        stop_signal: "SIGTERM".into(),
        stop_grace: Duration::from_secs(5),
        // In a container, these protections would make journalctl see a different boot, whose journal is empty.
        properties: ["Clock", "ControlGroups", "KernelLogs", "KernelModules", "KernelTunables"]
            .map(|what| format!("Protect{what}=no"))
            .into(),
    }
}
