//! The files of the proxy: how they are put in place, and how nginx checks them beforehand.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::super::memory::Front;
use super::super::proxy::{Place, SITES};
use super::super::slot::Slot;
use super::super::trouble::ApplicationError;
use super::machine::tested;
use crate::host::{Attributes, End, Host, HostError};
use crate::step::Context;
use crate::step::fields::Excerpt;
use crate::steps::install::staged;

/// Size limit in bytes; real configurations are a few kilobytes.
const LIMIT: u64 = 1 << 20;

/// The directory of all proxy files. Below: that in which a copy of the configuration is tested.
const PROXY: &str = "/run/ingot/proxy/";
const TESTED: &str = "/run/ingot/proxy/.tested/";

/// Where nginx buffers request bodies. The nginx unit creates it, and may not have run yet.
const CACHE: &str = "/var/cache/ingot-proxy/";

/// The configuration of an application's proxy, including its secrets.
pub(super) struct Configured {
    pub(super) front: Front,
    /// In the order in which they are written.
    pub(super) files: Vec<File>,
}

/// A file of the proxy with its wanted content.
pub(super) struct File {
    pub(super) path: PathBuf,
    content: Zeroizing<Vec<u8>>,
    mode: u32,
}

impl File {
    pub(super) fn new(path: PathBuf, content: &str, mode: u32) -> Self {
        Self { path, content: Zeroizing::new(content.as_bytes().to_vec()), mode }
    }

    /// Writes the file, unless it already has the wanted content.
    pub(super) async fn write(&self, host: &Host) -> Result<(), HostError> {
        if host.files.read(&self.path, LIMIT).await?.is_some_and(|found| *found == *self.content) {
            return Ok(());
        }
        if let Some(parent) = self.path.parent() {
            host.files.create_directory(parent, 0o755).await?;
        }
        let (uid, gid) = host.users.own();
        host.files.stage(&staged(&self.path), &self.content, Attributes { mode: self.mode, uid, gid }).await?;
        host.files.install(&staged(&self.path), &self.path).await
    }
}

/// Whether any of the files differs from its wanted content.
pub(super) async fn differ(files: &[File], host: &Host) -> Result<bool, ApplicationError> {
    for file in files {
        let found = host.files.read(&file.path, LIMIT).await.map_err(ApplicationError::Host)?;
        if found.is_none_or(|found| *found != *file.content) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Creates the directories of both slots, in which nginx binds its sockets when it starts.
pub(super) async fn directories(application: &str, host: &Host) -> Result<(), HostError> {
    for slot in Slot::BOTH {
        host.files.create_directory(&Place::Slot(application, slot).path(), 0o755).await?;
    }
    Ok(())
}

/// The text of a site on disk.
pub(super) async fn on_disk(application: &str, host: &Host) -> Result<Option<String>, HostError> {
    let found = host.files.read(&Place::Site(application).path(), LIMIT).await?;
    Ok(found.map(|found| String::from_utf8_lossy(&found).into_owned()))
}

/// The part of a site that describes its slots.
pub(super) fn without_front(site: &str) -> &str {
    site.find("server {\n    listen \"unix:").map_or("", |at| &site[at..])
}

/// The site of a configuration, without TLS while its key is missing.
pub(super) fn site(front: &Front, has_tls: bool) -> &str {
    front.tls.as_ref().filter(|_| !has_tls).map_or(&front.site, |tls| &tls.without)
}

/// Writes a recorded configuration.
pub(super) async fn write(front: &Front, site: &str, application: &str, host: &Host) -> Result<(), HostError> {
    directories(application, host).await?;
    File::new(Place::Conf.path(), &front.nginx, 0o644).write(host).await?;
    File::new(Place::Site(application).path(), site, 0o644).write(host).await
}

/// Removes the certificates and keys of an application, except those that one of its sites may still need.
pub(super) async fn sweep(application: &str, needed: &[&str], host: &Host) -> Result<(), HostError> {
    let tls = Path::new(PROXY).join("tls");
    let own = format!("{application}.");
    for name in host.files.list(&tls).await? {
        let called = name.rsplit_once('.').map_or("", |(called, _)| called);
        if name.starts_with(&own) && !needed.contains(&called) {
            host.files.remove(&tls.join(&name)).await?;
        }
    }
    Ok(())
}

/// Lets nginx check a configuration before any part of it is put in place: tests a copy of all sites, without the front
/// ends of those that are `leaving`.
pub(super) async fn accepted(configured: &Configured, leaving: &[String], cx: &Context<'_>) -> Result<(), ApplicationError> {
    let host = cx.host();
    let judged = judged(configured, leaving, host).await;
    let removed = host.directories.remove(Path::new(TESTED)).await;
    let (end, said) = judged.map_err(ApplicationError::Host)?;
    removed.map_err(ApplicationError::Host)?;
    match end {
        End::Exited(0) => Ok(()),
        _ => {
            let hint = hint(&said);
            let said: Excerpt = said.iter().map(|line| cx.redact(&line.replace(TESTED, PROXY))).collect();
            Err(ApplicationError::Rejected { hint, kept: None, said: Box::new(said) })
        }
    }
}

async fn judged(configured: &Configured, leaving: &[String], host: &Host) -> Result<(End, Vec<String>), HostError> {
    host.directories.remove(Path::new(TESTED)).await?;
    host.files.create_directory(Path::new(TESTED), 0o700).await?;
    let elsewhere = |path: &Path| PathBuf::from(path.to_string_lossy().replacen(PROXY, TESTED, 1));
    for name in host.files.list(Path::new(SITES)).await? {
        let path = Path::new(SITES).join(&name);
        let Some(application) = name.strip_suffix(".conf").filter(|name| !name.starts_with('.')) else { continue };
        if let Some(mut content) = host.files.read(&path, LIMIT).await? {
            if leaving.iter().any(|left| left == application) {
                content = Zeroizing::new(without_front(&String::from_utf8_lossy(&content)).as_bytes().to_vec());
            }
            File { path: elsewhere(&path), content, mode: 0o600 }.write(host).await?;
        }
    }
    for file in &configured.files {
        // Only copied files get a new path. Sockets keep theirs, and nginx ignores those that it cannot bind again.
        let content = if file.path == Place::Conf.path() {
            replaced(&file.content, &[(PROXY, TESTED), (CACHE, TESTED)])
        } else {
            let called = configured.front.tls.as_ref().map_or("", |tls| &tls.certificate);
            let tls = [".crt", ".key"].map(|end| (format!("{PROXY}tls/{called}{end}"), format!("{TESTED}tls/{called}{end}")));
            replaced(&file.content, &[(&tls[0].0, &tls[0].1), (&tls[1].0, &tls[1].1)])
        };
        File { path: elsewhere(&file.path), content, mode: 0o600 }.write(host).await?;
    }
    let conf = host.files.located(&elsewhere(&Place::Conf.path()));
    let mut said = Vec::new();
    let end = tested(&conf.to_string_lossy(), &mut |line| said.push(line.to_owned()), host).await?;
    Ok((end, said))
}

/// The same content with other paths. Content that is not text, which no key is, stays unchanged.
fn replaced(content: &[u8], paths: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(content) else { return Zeroizing::new(content.to_vec()) };
    let mut text = Zeroizing::new(text.to_owned());
    for (from, to) in paths {
        if text.contains(from) {
            text = Zeroizing::new(text.replace(from, to));
        }
    }
    Zeroizing::new(text.as_bytes().to_vec())
}

/// What to do about nginx's error.
fn hint(said: &[String]) -> &'static str {
    let is_about = |words: &[&str]| said.iter().any(|line| words.iter().any(|word| line.contains(word)));
    match () {
        () if is_about(&["key values mismatch"]) => "give `proxy.tls` a certificate and the key that it was made for",
        () if is_about(&["certificate", "PEM", "SSL"]) => {
            "check `proxy.tls`: its certificate and its key in PEM, the key without a passphrase"
        }
        () if is_about(&["Read-only file system"]) => "have the release write its logs below /var/log/nginx, and nothing else",
        () if is_about(&["listen", "bind()"]) => "check `proxy.listen` and `port`",
        () => "check the fields of `proxy`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nginx_rejects_is_told_by_the_field_to_correct() {
        let hint = |line: &str| hint(&[line.to_owned()]);
        assert!(
            hint("SSL_CTX_use_PrivateKey(\"a.key\") failed (SSL: error:05800074:x509 certificate routines::key values mismatch)")
                .contains("the key that")
        );
        assert!(hint("cannot load certificate \"/run/a.crt\": PEM_read_bio_X509_AUX() failed").contains("`proxy.tls`"));
        assert!(hint("unknown directive \"lisn\"").contains("fields of `proxy`"));
        assert!(hint("open() \"/etc/cron.d/a\" failed (30: Read-only file system)").contains("/var/log/nginx"));
    }
}
