//! nginx as this machine has it.

use std::path::Path;
use std::time::Duration;

use super::super::proxy::{Nginx, Version, WORKER_USERS};
use super::super::trouble::ApplicationError;
use crate::host::{End, Host, HostError, Invocation, SEARCH_PATH};

/// The path of nginx in all distributions, as in the unit.
const NGINX: &str = "/usr/sbin/nginx";

/// `nginx -v` prints a line.
const VERSION_WITHIN: Duration = Duration::from_secs(10);

/// nginx's program as it is now: another one may be of another version.
pub(super) async fn program(host: &Host) -> Result<Option<String>, ApplicationError> {
    let stat = host.files.stat(Path::new(NGINX)).await.map_err(ApplicationError::Host)?;
    Ok(stat.map(|stat| format!("{} {}", stat.inode, stat.changed_ns)))
}

/// The version of nginx. One that does not tell is taken for an old one.
pub(super) async fn version(host: &Host) -> Result<Version, ApplicationError> {
    let mut said = String::new();
    match run(&["-v"], VERSION_WITHIN, &mut |line| said.push_str(line), host).await {
        Ok(End::Exited(0)) => Ok(Version::parse(&said).unwrap_or(Version::OLDEST)),
        Ok(_) => Err(ApplicationError::NoProxy { why: said, kept: None }),
        Err(HostError::Spawn { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(ApplicationError::NoProxy { why: String::new(), kept: None })
        }
        Err(error) => Err(ApplicationError::Host(error)),
    }
}

pub(super) async fn run(arguments: &[&str], timeout: Duration, on_line: &mut dyn FnMut(&str), host: &Host) -> Result<End, HostError> {
    let invocation = Invocation {
        argv: [NGINX].iter().chain(arguments).map(|word| (*word).into()).collect(),
        environment: vec![("PATH".into(), SEARCH_PATH.into())],
        directory: "/".into(),
        user: None,
        timeout,
    };
    host.commands.run(&invocation, on_line).await
}

/// What has to be known of a machine to configure nginx for it.
pub(super) async fn nginx(version: Version, host: &Host) -> Result<Nginx, HostError> {
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
