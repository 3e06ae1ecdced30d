//! Whether the image has the programs that a release needs: asked before anything of it is started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::judge::Examined;
use super::platforms::Program;
use super::remark::Remark;
use crate::host::{FileKind, Host, HostError, SEARCH_PATH};

/// The programs that are not there. `environment` is that of the release's processes.
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

/// Where it was looked for besides the directories of PATH.
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
    // A circle of links is not a program.
    let Ok(real) = host.files.resolved(path).await else { return Ok(false) };
    let stat = host.files.stat(&real).await?;
    Ok(stat.is_some_and(|stat| stat.kind == FileKind::File && stat.attributes.mode & 0o111 != 0))
}

/// What a place may stand for: an absolute path whose names may have wildcards, or one below the directory of a variable.
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
    use crate::steps::application::judge::{Asked, examine};
    use crate::steps::application::release::Release;

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
    async fn a_procfile_needs_what_it_says_and_that_is_not_judged() {
        assert!(lacks(&[("index.php", ""), ("Procfile", "web: php -S 127.0.0.1:$PORT\n")], &[], &[]).await.is_empty());
    }
}
