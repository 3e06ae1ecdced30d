//! nginx as installed on this machine.

use std::path::Path;
use std::time::Duration;

use super::super::proxy::{Nginx, Version, WORKER_USERS};
use super::super::trouble::ApplicationError;
use crate::host::{End, Host, HostError, Invocation, SEARCH_PATH};

/// The path of nginx on all supported distributions, as in the unit.
const NGINX: &str = "/usr/sbin/nginx";

/// Limit for `nginx -v`, which only prints one line.
const VERSION_WITHIN: Duration = Duration::from_secs(10);

/// Limit for a configuration test. nginx takes milliseconds to read a configuration, and its sandbox a few more to set
/// up.
const TESTED_WITHIN: Duration = Duration::from_secs(30);

/// The unit of the proxy.
const UNIT: &str = include_str!("../../../../../systemd/ingot-proxy.service");

/// The settings in it that define how nginx is run, rather than what it may do.
const MANNER: [&str; 8] = ["CacheDirectory", "Exec", "Kill", "LogRateLimit", "PIDFile", "Restart", "TimeoutStop", "Type"];

/// Identifies nginx's current program file: a replaced file may be another version.
pub(super) async fn program(host: &Host) -> Result<Option<String>, ApplicationError> {
    let stat = host.files.stat(Path::new(NGINX)).await.map_err(ApplicationError::Host)?;
    Ok(stat.map(|stat| format!("{} {}", stat.inode, stat.changed_ns)))
}

/// The version of nginx. If it cannot be determined, the oldest is assumed.
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

/// Lets nginx read a configuration in the sandbox of its own unit, because reading it opens and creates every log that
/// a release names, and creates cache directories, all as root.
pub(super) async fn tested(conf: &str, on_line: &mut dyn FnMut(&str), host: &Host) -> Result<End, HostError> {
    run(&in_sandbox(&[NGINX, "-t", "-q", "-c", conf]), TESTED_WITHIN, on_line, host).await
}

/// The command line that runs a program like nginx, waits for it, and forwards its output.
fn in_sandbox(argv: &[&str]) -> Vec<String> {
    let mut call: Vec<String> = ["systemd-run", "--quiet", "--no-ask-password", "--wait", "--pipe", "--collect"].map(str::to_owned).into();
    // Limits the run in case nothing waits for it any more.
    call.push(format!("--property=RuntimeMaxSec={}", TESTED_WITHIN.as_secs()));
    call.extend(sandbox().map(|property| format!("--property={property}")));
    call.push("--".to_owned());
    call.extend(argv.iter().map(|word| (*word).to_owned()));
    call
}

/// The restrictions on nginx in its unit.
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

/// What has to be known about a machine to configure nginx for it.
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
