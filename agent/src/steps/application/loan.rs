//! Lends a release that root owns to the user of its processes while it is built, so that no installer runs as root.
//!
//! Whatever root itself runs from a release stays root's: `.platform`, `.ebextensions`, and the targets of links in
//! them. Only root can rename these, because the directory of the release is sticky; and nobody else can create them if
//! the release lacks them, because ingot creates them as root for the duration. Afterwards root owns everything again.
//! Without root, ingot lends nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::generation::Generation;
use super::ground::owner;
use super::judge::Examined;
use crate::host::{Attributes, FileKind, Host, HostError, User};
use crate::text::SecretText;

/// What root runs, or reads to know what to run.
const KEPT: [&str; 2] = [".ebextensions", ".platform"];

/// How deep hooks are nested below these.
const DEEPEST: usize = 2;

/// For what only the build needs: caches, and a home directory for a user without one.
const CACHE: &str = ".ingot/cache";
const HOME: &str = ".ingot/home";

/// npm's global settings, which may name a cache in the image.
const NPM: &str = "/etc/npmrc";

/// Others may create entries in the directory of the release, but remove only their own.
const LENT: u32 = 0o1775;

/// Nobody else can create entries any more, but not everything belongs to root yet.
const ENDING: u32 = 0o1755;

/// A release on loan.
pub(super) struct Loan {
    release: PathBuf,
    /// Its attributes before the loan.
    attributes: Attributes,
    user: User,
}

impl Loan {
    /// The user to whom a release is lent: the user of its processes, if root owns the release but does not run them.
    /// An interrupted loan to another user is ended.
    pub(super) async fn to(user: &str, release: &Path, host: &Host) -> Result<Option<Self>, HostError> {
        let Some(stat) = host.files.stat(release).await? else { return Ok(None) };
        if host.users.own().0 != 0 || stat.attributes.uid != 0 || stat.kind != FileKind::Directory {
            return Ok(None);
        }
        let user = match (host.users.user(user).await, user.parse()) {
            (Err(HostError::NoUser { name }), Ok(uid)) => User { name, uid, gid: uid, home: release.to_owned(), groups: vec![uid] },
            (known, _) => known?,
        };
        // An interrupted loan has left its mode behind.
        let was_lent = [LENT, ENDING].contains(&stat.attributes.mode);
        let (mode, gid) = if was_lent { (0o755, 0) } else { (stat.attributes.mode, stat.attributes.gid) };
        let attributes = Attributes { mode, uid: 0, gid };
        let loan = Self { release: release.to_owned(), attributes, user };
        if loan.user.uid != 0 {
            return Ok(Some(loan));
        }
        if was_lent {
            loan.end(host).await?;
        }
        Ok(None)
    }

    pub(super) fn user(&self) -> &User {
        &self.user
    }

    pub(super) async fn begin(&self, host: &Host) -> Result<(), HostError> {
        for path in KEPT.map(|name| self.release.join(name)) {
            let led = host.files.resolved(&path).await?;
            match host.files.stat(&led).await?.map(|stat| stat.kind) {
                // A dangling link is removed, because the builder could create its target.
                Some(FileKind::Symlink) => host.files.remove(&path).await?,
                None => {}
                Some(_) => continue,
            }
            host.files.create_directory(&path, 0o755).await?;
        }
        let kept = kept(&self.release, host).await?;
        let (uid, gid) = (self.user.uid, self.user.gid);
        for name in host.files.list(&self.release).await?.iter().filter(|name| !kept.contains(*name)) {
            let path = self.release.join(name);
            let Some(stat) = host.files.stat(&path).await? else { continue };
            let attributes = Attributes { mode: stat.attributes.mode, uid, gid };
            match stat.kind {
                FileKind::Directory => host.directories.hand_over(&path, attributes).await?,
                FileKind::File => host.files.set_attributes(&path, attributes).await?,
                // Links cannot be written to.
                FileKind::Symlink | FileKind::Other => {}
            }
        }
        // This comes last, because until then nobody else can add anything.
        host.files.set_attributes(&self.release, Attributes { mode: LENT, uid: 0, gid }).await
    }

    pub(super) async fn end(&self, host: &Host) -> Result<(), HostError> {
        host.files.set_attributes(&self.release, Attributes { mode: ENDING, ..self.attributes }).await?;
        host.directories.hand_over(&self.release, self.attributes).await?;
        for path in KEPT.map(|name| self.release.join(name)) {
            let is_directory = host.files.stat(&path).await?.is_some_and(|stat| stat.kind == FileKind::Directory);
            if is_directory && host.files.list(&path).await?.is_empty() {
                host.directories.remove(&path).await?;
            }
        }
        Ok(())
    }
}

/// The entries of a release that are not lent.
async fn kept(release: &Path, host: &Host) -> Result<BTreeSet<String>, HostError> {
    let real = host.files.resolved(release).await?;
    let mut kept: BTreeSet<String> = KEPT.map(str::to_owned).into();
    let mut open: Vec<(PathBuf, usize)> = KEPT.iter().map(|name| (release.join(name), 0)).collect();
    while let Some((path, depth)) = open.pop() {
        // A cycle of links leads nowhere.
        let Ok(found) = host.files.resolved(&path).await else { continue };
        if let Ok(below) = found.strip_prefix(&real)
            && let Some(first) = below.iter().next()
        {
            kept.insert(first.to_string_lossy().into_owned());
        }
        let is_directory = host.files.stat(&found).await?.is_some_and(|stat| stat.kind == FileKind::Directory);
        if is_directory && depth <= DEEPEST {
            open.extend(host.files.list(&found).await?.iter().map(|name| (path.join(name), depth + 1)));
        }
    }
    Ok(kept)
}

/// A warning if the user of its processes can change what root runs of a release.
pub(super) async fn untrusted(examined: &Examined, generation: &Generation, hooks: bool, host: &Host) -> Result<Option<String>, HostError> {
    let (uid, _) = owner(&generation.release, host).await?;
    let is_owner = async || match host.users.user(&generation.user).await {
        Ok(user) => Ok(user.uid == uid),
        // A numeric ID without a name.
        Err(HostError::NoUser { name }) => Ok(name == uid.to_string()),
        Err(error) => Err(error),
    };
    let extensions = &examined.extensions;
    let what = match (&examined.contents, examined.hooks.hooks.first()) {
        _ if uid == 0 => return Ok(None),
        (Some(_), _) => "its containers".to_owned(),
        (None, Some(hook)) if hooks && is_owner().await? => hook.path.clone(),
        (None, None) if hooks && !(extensions.before.is_empty() && extensions.container_commands.is_empty()) && is_owner().await? => {
            "its .ebextensions".to_owned()
        }
        _ => return Ok(None),
    };
    let version = &generation.version;
    Ok(Some(format!("root runs {what} of {version}, which user {uid} can change: remove `owner` of its bundle, and set `user`")))
}

/// Temporary space next to the build: installers put their caches here instead of into the home of the user, who may
/// have none. It is removed after the build.
pub(super) struct Scratch {
    directories: Vec<PathBuf>,
    /// Whether npm is told where its cache is, which is only done if the image has no npm settings.
    has_npm: bool,
}

/// Creates it. A user whose home does not exist gets one here.
pub(super) async fn scratch(release: &Path, user: &mut User, host: &Host) -> Result<Scratch, HostError> {
    let mut directories = vec![release.join(CACHE)];
    if host.files.stat(&user.home).await?.is_none_or(|stat| stat.kind != FileKind::Directory) {
        user.home = release.join(HOME);
        directories.push(user.home.clone());
    }
    for directory in &directories {
        host.files.create_directory(directory, 0o755).await?;
    }
    let mut has_npm = true;
    for settings in [PathBuf::from(NPM), user.home.join(".npmrc")] {
        has_npm &= host.files.stat(&settings).await?.is_none();
    }
    Ok(Scratch { directories, has_npm })
}

impl Scratch {
    pub(super) fn variables(&self) -> Vec<(String, SecretText)> {
        let cache = self.directories[0].display();
        let npm = self.has_npm.then(|| ("npm_config_cache", format!("{cache}/npm")));
        let variables = [("XDG_CACHE_HOME", cache.to_string())].into_iter().chain(npm);
        variables.map(|(name, value)| (name.to_owned(), value.into())).collect()
    }

    /// Gives it to the building user.
    pub(super) async fn give(&self, (uid, gid): (u32, u32), host: &Host) -> Result<(), HostError> {
        // Other programs also keep files in it, Go for example.
        if let Some(own) = self.directories[0].parent() {
            host.files.set_attributes(own, Attributes { mode: 0o755, uid, gid }).await?;
        }
        for directory in &self.directories {
            host.directories.hand_over(directory, Attributes { mode: 0o755, uid, gid }).await?;
        }
        Ok(())
    }

    pub(super) async fn clear(&self, host: &Host) -> Result<(), HostError> {
        for directory in &self.directories {
            host.directories.remove(directory).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::machine::FakeMachine;

    const RELEASE: &str = "/opt/shop/releases/1";

    #[tokio::test(start_paused = true)]
    async fn what_root_runs_is_not_lent() {
        let machine = FakeMachine::new_instance();
        machine.add_user("shop", 1001);
        for path in ["package.json", "src/app.js", "deploy/migrate.sh", ".platform/hooks/predeploy/1", ".ebextensions/a.config"] {
            machine.add_file(&format!("{RELEASE}/{path}"), "");
        }
        machine.add_link(&format!("{RELEASE}/.platform/hooks/predeploy/2"), "../../../deploy/migrate.sh");
        let host = machine.host();
        let loan = Loan::to("shop", Path::new(RELEASE), &host).await.unwrap().unwrap();
        loan.begin(&host).await.unwrap();
        let owner = async |path: &str| host.files.stat(&Path::new(RELEASE).join(path)).await.unwrap().unwrap().attributes.uid;
        for (path, uid) in [
            ("package.json", 1001),
            ("src/app.js", 1001),
            ("", 0),
            (".platform", 0),
            (".platform/hooks/predeploy/1", 0),
            (".ebextensions/a.config", 0),
            ("deploy/migrate.sh", 0),
        ] {
            assert_eq!(owner(path).await, uid, "{path}");
        }
        let mode = host.files.stat(Path::new(RELEASE)).await.unwrap().unwrap().attributes.mode;
        assert_eq!(mode, LENT);
        // The next run ends an interrupted loan.
        let again = Loan::to("shop", Path::new(RELEASE), &host).await.unwrap().unwrap();
        again.end(&host).await.unwrap();
        assert_eq!((owner("package.json").await, owner("src/app.js").await), (0, 0));
        assert_eq!(host.files.stat(Path::new(RELEASE)).await.unwrap().unwrap().attributes.mode, 0o755);
    }

    /// What the user created there would run as root at the next boot.
    #[tokio::test(start_paused = true)]
    async fn what_root_would_run_cannot_be_made_either() {
        let machine = FakeMachine::new_instance();
        machine.add_user("shop", 1001);
        machine.add_file(&format!("{RELEASE}/package.json"), "");
        machine.add_link(&format!("{RELEASE}/.ebextensions"), "deploy");
        let host = machine.host();
        let loan = Loan::to("shop", Path::new(RELEASE), &host).await.unwrap().unwrap();
        loan.begin(&host).await.unwrap();
        for name in KEPT {
            let stat = host.files.stat(&Path::new(RELEASE).join(name)).await.unwrap().unwrap();
            let found = (stat.kind, stat.attributes.uid, stat.attributes.mode & 0o22);
            assert_eq!(found, (FileKind::Directory, 0, 0), "{name}");
        }
        loan.end(&host).await.unwrap();
        assert_eq!(host.files.list(Path::new(RELEASE)).await.unwrap(), ["package.json"]);
    }

    /// The document names another user by now.
    #[tokio::test(start_paused = true)]
    async fn a_loan_that_was_cut_off_is_ended_for_roots_processes_too() {
        let machine = FakeMachine::new_instance();
        machine.add_user("shop", 1001);
        machine.add_file(&format!("{RELEASE}/app.js"), "");
        let host = machine.host();
        Loan::to("shop", Path::new(RELEASE), &host).await.unwrap().unwrap().begin(&host).await.unwrap();
        assert!(Loan::to("root", Path::new(RELEASE), &host).await.unwrap().is_none());
        let stat = async |path: &str| host.files.stat(&Path::new(RELEASE).join(path)).await.unwrap().unwrap().attributes;
        assert_eq!((stat("app.js").await.uid, stat("").await.mode), (0, 0o755));
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_of_another_user_or_of_roots_processes_is_not_lent() {
        let machine = FakeMachine::new_instance();
        machine.add_user("shop", 1001);
        machine.add_file(&format!("{RELEASE}/app.js"), "");
        let host = machine.host();
        assert!(Loan::to("0", Path::new(RELEASE), &host).await.unwrap().is_none());
        let attributes = Attributes { mode: 0o755, uid: 1001, gid: 1001 };
        host.directories.hand_over(Path::new(RELEASE), attributes).await.unwrap();
        assert!(Loan::to("shop", Path::new(RELEASE), &host).await.unwrap().is_none());
    }
}
