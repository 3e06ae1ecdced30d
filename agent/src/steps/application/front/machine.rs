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

/// nginx reads a configuration in milliseconds. The sandbox that it does so in takes a few more to set up.
const TESTED_WITHIN: Duration = Duration::from_secs(30);

/// The unit of the proxy.
const UNIT: &str = include_str!("../../../../../systemd/ingot-proxy.service");

/// What of that is about how it is run, and not about what it may do.
const MANNER: [&str; 8] = ["CacheDirectory", "Exec", "Kill", "LogRateLimit", "PIDFile", "Restart", "TimeoutStop", "Type"];

/// nginx's program as it is now: another one may be of another version.
pub(super) async fn program(host: &Host) -> Result<Option<String>, ApplicationError> {
    let stat = host.files.stat(Path::new(NGINX)).await.map_err(ApplicationError::Host)?;
    Ok(stat.map(|stat| format!("{} {}", stat.inode, stat.changed_ns)))
}

/// The version of nginx. One that does not tell is taken for an old one.
pub(super) async fn version(host: &Host) -> Result<Version, ApplicationError> {
    let mut said = String::new();
    match run(&[NGINX.to_owned(), "-v".to_owned()], VERSION_WITHIN, &mut |line| said.push_str(line), host).await {
        Ok(End::Exited(0)) => Ok(Version::parse(&said).unwrap_or(Version::OLDEST)),
        Ok(_) => Err(ApplicationError::NoProxy { why: said, kept: None }),
        Err(HostError::Spawn { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(ApplicationError::NoProxy { why: String::new(), kept: None })
        }
        Err(error) => Err(ApplicationError::Host(error)),
    }
}

/// Has nginx read a configuration in the sandbox of its own unit: to read is to open every log that a release names, to
/// create it, and to make directories for caches, and all that as root.
pub(super) async fn tested(conf: &str, on_line: &mut dyn FnMut(&str), host: &Host) -> Result<End, HostError> {
    run(&in_sandbox(&[NGINX, "-t", "-q", "-c", conf]), TESTED_WITHIN, on_line, host).await
}

/// The call that runs a program as nginx is run, waits for it, and passes on what it says.
fn in_sandbox(argv: &[&str]) -> Vec<String> {
    let mut call: Vec<String> = ["systemd-run", "--quiet", "--no-ask-password", "--wait", "--pipe", "--collect"].map(str::to_owned).into();
    // Should no one wait for it any more.
    call.push(format!("--property=RuntimeMaxSec={}", TESTED_WITHIN.as_secs()));
    call.extend(sandbox().map(|property| format!("--property={property}")));
    call.push("--".to_owned());
    call.extend(argv.iter().map(|word| (*word).to_owned()));
    call
}

/// What nginx may not do, by its unit.
fn sandbox() -> impl Iterator<Item = &'static str> {
    let lines = UNIT.split_once("[Service]\n").map_or("", |(_, lines)| lines).lines();
    lines.filter(|line| line.contains('=') && !line.starts_with('#') && !MANNER.iter().any(|key| line.starts_with(key)))
}

async fn run(argv: &[String], timeout: Duration, on_line: &mut dyn FnMut(&str), host: &Host) -> Result<End, HostError> {
    let invocation = Invocation {
        argv: argv.iter().map(|word| word.as_str().into()).collect(),
        environment: vec![("PATH".into(), SEARCH_PATH.into())],
        directory: "/".into(),
        user: None,
        timeout,
        lease: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_in_the_sandbox_of_the_proxy() {
        let call = in_sandbox(&[NGINX, "-t"]);
        for wanted in [
            "--wait",
            "--pipe",
            "--property=CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_CHOWN CAP_KILL",
            "--property=NoNewPrivileges=yes",
            "--property=ProtectSystem=strict",
            "--property=ReadWritePaths=/run/ingot/proxy",
            "--property=ReadWritePaths=-/var/log/nginx",
            "--property=SystemCallFilter=@system-service",
        ] {
            assert!(call.iter().any(|word| word == wanted), "{wanted} is missing in {call:?}");
        }
        assert!(!call.iter().any(|word| ["=Exec", "=Restart=", "=PIDFile"].iter().any(|key| word.contains(key))), "{call:?}");
        assert_eq!(call[call.len() - 3..], ["--", NGINX, "-t"]);
    }
}
