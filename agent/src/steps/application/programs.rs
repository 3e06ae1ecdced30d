//! Checks that the image has the programs a release needs, before anything of the release is started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::judge::{Asked, Examined, examine};
use super::platforms::Program;
use super::procfile::Process;
use super::release::Release;
use super::remark::Remark;
use super::trouble::ApplicationError;
use crate::host::{FileKind, Host, HostError, SEARCH_PATH};

/// The programs that are missing. `environment` is that of the release's processes.
pub(super) async fn lacking(examined: &Examined, environment: &BTreeMap<String, String>, host: &Host) -> Result<Vec<Remark>, HostError> {
    let platform = examined.platform.as_ref().map_or("this release", |platform| platform.name);
    let mut remarks = Vec::new();
    for program in &examined.programs {
        if !is_there(program, environment, host).await? {
            let message = format!("the image has no `{}`, which {platform} needs", program.name);
            let hint = format!("install {} in the image{}", program.name, elsewhere(program));
            remarks.push(Remark::new(message, hint));
        }
    }
    Ok(remarks)
}

/// A process of a release that would run the previous release: `current` points there until this one serves.
pub(super) fn of_before(processes: &[Process], current: &str) -> Option<Remark> {
    let process = processes.iter().find(|process| process.command.contains(current))?;
    let message = format!("`{}` runs {current}, which leads to the release before until this one serves", process.name);
    Some(Remark::new(message, "write the path within the release: a process runs in its directory"))
}

/// Variables that are not secrets.
type Variables = BTreeMap<String, String>;

/// Treats a release as the first matching platform whose programs the image has; if there is none, as the first
/// matching platform. `environment` is that of its processes.
pub(super) async fn fitting(
    release: &Release,
    asked: Asked<'_>,
    environment: &dyn Fn(&Examined) -> Result<Variables, ApplicationError>,
    host: &Host,
) -> Result<Examined, ApplicationError> {
    let first = examine(release, asked);
    if first.others.is_empty() {
        return Ok(first);
    }
    let lacks = async |examined: &Examined| lacking(examined, &environment(examined)?, host).await.map_err(ApplicationError::Host);
    let lacked = lacks(&first).await?;
    let (Some(lacked), Some(platform)) = (lacked.into_iter().next(), &first.platform) else { return Ok(first) };
    let mut without = vec![platform.name];
    while without.len() <= first.others.len() {
        let mut next = examine(release, Asked { without: &without, ..asked });
        let Some(other) = next.platform.as_ref().map(|platform| platform.name) else { break };
        if next.mistakes.is_empty() && lacks(&next).await?.is_empty() {
            let message = format!("{}, so the release is taken for one of {other}", lacked.objection.message);
            next.warnings.push(Remark::of(&platform.sign, message, lacked.objection.hint));
            return Ok(next);
        }
        without.push(other);
    }
    Ok(first)
}

/// The locations searched in addition to the directories of PATH.
fn elsewhere(program: &Program) -> String {
    match program.or {
        [] => ", in a directory of PATH".into(),
        places => format!("; it was looked for in PATH and as {}", places.join(", ")),
    }
}

async fn is_there(program: &Program, environment: &BTreeMap<String, String>, host: &Host) -> Result<bool, HostError> {
    let own = environment.get("PATH").map_or("", String::as_str);
    for directory in SEARCH_PATH.split(':').chain(own.split(':')).filter(|directory| directory.starts_with('/')) {
        if is_program(&Path::new(directory).join(program.name), host).await? {
            return Ok(true);
        }
    }
    for place in program.or {
        for path in matching(place, environment, host).await? {
            if is_program(&path, host).await? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

async fn is_program(path: &Path, host: &Host) -> Result<bool, HostError> {
    // A cycle of links is not a program.
    let Ok(real) = host.files.resolved(path).await else { return Ok(false) };
    let stat = host.files.stat(&real).await?;
    Ok(stat.is_some_and(|stat| stat.kind == FileKind::File && stat.attributes.mode & 0o111 != 0))
}

/// The paths that a pattern matches: an absolute path with wildcards in its names, or a path below the directory that a
/// variable names.
async fn matching(place: &str, environment: &BTreeMap<String, String>, host: &Host) -> Result<Vec<PathBuf>, HostError> {
    let (begin, names) = match place.strip_prefix('$').and_then(|place| place.split_once('/')) {
        Some((variable, names)) => (environment.get(variable).filter(|value| value.starts_with('/')).map(PathBuf::from), names),
        None => (Some(PathBuf::from("/")), place),
    };
    let mut found: Vec<PathBuf> = begin.into_iter().collect();
    for name in names.split('/').filter(|name| !name.is_empty()) {
        let pattern = glob::Pattern::new(name).ok().filter(|_| name.contains(['*', '[']));
        let mut next = Vec::new();
        for directory in found {
            match &pattern {
                Some(pattern) => {
                    let names = host.files.list(&directory).await?;
                    next.extend(names.iter().filter(|name| pattern.matches(name)).map(|name| directory.join(name)));
                }
                None => next.push(directory.join(name)),
            }
        }
        found = next;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::machine::FakeMachine;
    use crate::host::Attributes;

    async fn machine(programs: &[&str]) -> Host {
        let machine = FakeMachine::new_instance();
        let host = machine.host();
        for path in programs {
            machine.add_file(path, "");
            host.files.set_attributes(Path::new(path), Attributes { mode: 0o755, uid: 0, gid: 0 }).await.unwrap();
        }
        host
    }

    async fn lacks(files: &[(&str, &str)], environment: &[(&str, &str)], programs: &[&str]) -> Vec<String> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let remarks = lacking(&examine(&Release::of(files), Asked::default()), &environment, &machine(programs).await).await.unwrap();
        remarks.iter().map(|remark| format!("{remark:#}")).collect()
    }

    const EXPRESS: (&str, &str) = ("package.json", r#"{"scripts":{"start":"node ."},"dependencies":{"express":"5"}}"#);

    #[tokio::test(start_paused = true)]
    async fn a_program_that_is_missing_is_named() {
        let said = lacks(&[EXPRESS], &[], &["/usr/bin/node"]).await;
        assert_eq!(said, ["the image has no `npm`, which Node.js needs; install npm in the image, in a directory of PATH"]);
        assert!(lacks(&[EXPRESS], &[], &["/usr/bin/node", "/usr/local/bin/npm"]).await.is_empty());
        let said = lacks(&[("index.php", "")], &[], &[]).await;
        let wanted = "install php-fpm in the image; it was looked for in PATH and as /usr/sbin/php-fpm[0-9]*";
        assert!(said[0].ends_with(wanted), "{said:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_may_be_where_a_pattern_or_a_variable_leads() {
        assert!(lacks(&[("index.php", "")], &[], &["/usr/sbin/php-fpm8.2"]).await.is_empty());
        let war = [("shop.war", "")];
        assert!(lacks(&war, &[], &["/usr/share/tomcat10/bin/catalina.sh", "/usr/bin/java"]).await.is_empty());
        let own = [("CATALINA_HOME", "/srv/tomcat"), ("JAVA_HOME", "/srv/jdk")];
        assert!(lacks(&war, &own, &["/srv/tomcat/bin/catalina.sh", "/srv/jdk/bin/java"]).await.is_empty());
        assert_eq!(lacks(&war, &[], &["/srv/tomcat/bin/catalina.sh", "/srv/jdk/bin/java"]).await.len(), 2);
        assert!(lacks(&[("a.jar", "")], &[("PATH", "/srv/jdk/bin:/bin")], &["/srv/jdk/bin/java"]).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_platform_without_its_programs_gives_way_to_one_that_has_them() {
        let files = [EXPRESS, ("requirements.txt", ""), ("application.py", "")];
        let taken = async |programs: &[&str]| {
            let host = machine(programs).await;
            let fitting = fitting(&Release::of(&files), Asked::default(), &|_| Ok(BTreeMap::new()), &host).await.unwrap();
            (fitting.platform.unwrap().name, fitting.warnings.last().map(ToString::to_string).unwrap_or_default())
        };
        let node = ["/usr/bin/node", "/usr/bin/npm"];
        let said = "requirements.txt: the image has no `python3`, which Python needs, so the release is taken for one of Node.js";
        assert_eq!(taken(&node).await, ("Node.js", said.to_owned()));
        assert_eq!(taken(&["/usr/bin/python3", node[0], node[1]]).await.0, "Python");
        assert_eq!(taken(&[]).await.0, "Python", "the first is the one to install");
    }

    #[tokio::test(start_paused = true)]
    async fn a_procfile_needs_what_it_says_and_that_is_not_judged() {
        assert!(lacks(&[("index.php", ""), ("Procfile", "web: php -S 127.0.0.1:$PORT\n")], &[], &[]).await.is_empty());
    }
}
