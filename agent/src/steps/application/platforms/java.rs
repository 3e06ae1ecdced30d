//! Java SE: the only jar of the release.

use super::platform::{Launch, Platform, Program, file_name};
use crate::steps::application::procfile::BUILDFILE;
use crate::steps::application::release::Release;
use crate::steps::application::remark::Remark;

const JAVA: Program = Program::new("java");

/// The build files of Maven, Gradle and Ant.
const BUILDS: [&str; 4] = ["pom.xml", "build.gradle", "build.gradle.kts", "build.xml"];

/// An archive that contains this file is itself a jar.
const MANIFEST: &str = "META-INF/MANIFEST.MF";

pub(super) fn java(release: &Release) -> Option<Platform> {
    let jars: Vec<&str> = release.ending(".jar").collect();
    let build = BUILDS.into_iter().find(|name| release.is_file(name));
    let unpacked = (release.is_file(MANIFEST) && !release.is_directory("WEB-INF")).then_some(MANIFEST);
    let sign = jars.first().copied().or(build).or(unpacked)?;
    Some(Platform::new("Java", sign, launch(release, &jars, sign)))
}

/// Most jars are Spring Boot applications, which read their port from `server.port` instead of `PORT`. Properties on
/// the command line override the `SERVER_PORT` that is usually set for applications of Elastic Beanstalk; other
/// programs ignore them.
///
/// Source: <https://docs.spring.io/spring-boot/reference/features/external-config.html>
fn launch(release: &Release, jars: &[&str], sign: &str) -> Result<Launch, Remark> {
    match jars {
        [jar] => Ok(Launch::web(format!("exec java -Dserver.address=127.0.0.1 -Dserver.port=$PORT -jar {}", file_name(jar)), &[JAVA])),
        [first, ..] => {
            let message = format!("there are {} jars and no Procfile: {}", jars.len(), jars.join(", "));
            Err(Remark::new(message, format!("add a Procfile with a line such as `web: java -jar {}`", file_name(first))))
        }
        [] if sign == MANIFEST => {
            let hint = "set `unpack: false` and `file: application.jar` for the bundle";
            Err(Remark::of(MANIFEST, "this is a jar that was unpacked, which java does not run", hint))
        }
        [] if release.is_file(BUILDFILE) => {
            let hint = "add a Procfile with a line such as `web: java -jar target/shop.jar`";
            Err(Remark::of(sign, "nothing says which jar of the build runs", hint))
        }
        [] => {
            let hint = "build the jar before you bundle it, or add a Buildfile and a Procfile";
            Err(Remark::of(sign, "the top level of the release has no jar", hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch_of(files: &[(&str, &str)]) -> Result<Launch, Remark> {
        java(&Release::of(files)).unwrap().launch
    }

    #[test]
    fn one_jar_runs_by_its_own_name() {
        let launch = launch_of(&[("shop-1.2.jar", ""), ("lib/other.jar", "")]).unwrap();
        assert_eq!(launch.processes[0].command, "exec java -Dserver.address=127.0.0.1 -Dserver.port=$PORT -jar shop-1.2.jar");
        assert!(launch_of(&[("it's; $x.jar", "")]).unwrap().processes[0].command.ends_with(r"-jar 'it'\''s; $x.jar'"));
        assert!(launch_of(&[("-x.jar", "")]).unwrap().processes[0].command.ends_with("-jar ./-x.jar"));
    }

    #[test]
    fn several_jars_need_a_procfile() {
        let error = launch_of(&[("b.jar", ""), ("a.jar", "")]).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "there are 2 jars and no Procfile: a.jar, b.jar; add a Procfile with a line such as `web: java -jar a.jar`"
        );
    }

    #[test]
    fn no_jar_is_a_mistake_with_the_way_out() {
        let said = |files: &[(&str, &str)]| format!("{:#}", launch_of(files).unwrap_err());
        assert!(said(&[("META-INF/MANIFEST.MF", "")]).contains("`unpack: false`"));
        assert!(said(&[("pom.xml", "")]).starts_with("pom.xml: the top level of the release has no jar"));
        assert!(said(&[("pom.xml", ""), ("Buildfile", "build: mvn package\n")]).contains("which jar of the build"));
    }
}
