//! Tomcat: one or more wars, or a release that is itself an unpacked war.
//!
//! Each process gets its own `CATALINA_BASE`, so two releases share neither a port nor a work directory: the
//! configuration, which contains the variables, is below `$RUNTIME_DIRECTORY`, and large files are below
//! `$CACHE_DIRECTORY`. A script that ingot writes into the release creates it.

use super::platform::{Launch, Made, Platform, Program};
use crate::steps::application::procfile::{Process, WEB};
use crate::steps::application::release::Release;

/// Tomcat never serves the contents of this directory.
const INSIDE: &str = "WEB-INF";

const TOMCAT: Program = Program {
    name: "catalina.sh",
    or: &["$CATALINA_HOME/bin/catalina.sh", "/usr/share/tomcat*/bin/catalina.sh", "/opt/tomcat/bin/catalina.sh"],
};

const JAVA: Program = Program { name: "java", or: &["$JAVA_HOME/bin/java"] };

pub(super) fn tomcat(release: &Release) -> Option<Platform> {
    let wars: Vec<&str> = release.ending(".war").collect();
    let is_war = release.is_directory(INSIDE);
    let sign = if is_war { INSIDE } else { *wars.first()? };
    let directory = if is_war { "WEB-INF/ingot" } else { ".ingot/tomcat" };
    let context = if is_war { "\n        <Context path=\"\" docBase=\"${ingot.release}\"/>" } else { "" };
    let launch = Launch {
        processes: vec![Process::new(WEB, format!("exec /bin/sh {directory}/start"))],
        programs: vec![TOMCAT, JAVA],
        made: vec![
            Made { path: format!("{directory}/server.xml"), content: SERVER.replace("@CONTEXT@", context), mode: 0o644 },
            Made { path: format!("{directory}/start"), content: start(directory, &wars, is_war), mode: 0o755 },
        ],
        needs_directories: true,
        ..Launch::default()
    };
    let mut platform = Platform::new("Tomcat", sign, Ok(launch));
    platform.port = 8080;
    Some(platform)
}

/// The start script. A single war is deployed at /, whatever its name; of several, ROOT.war is.
fn start(directory: &str, wars: &[&str], is_war: bool) -> String {
    let copy = match wars {
        _ if is_war => String::new(),
        [_] => "cp ./*.war \"$base/webapps/ROOT.war\"\n".into(),
        _ => "cp ./*.war \"$base/webapps/\"\n".into(),
    };
    START.replace("@DIRECTORY@", directory).replace("@COPY@\n", &copy)
}

/// No shutdown port, no AJP, and the client address taken from the proxy.
///
/// Source: <https://tomcat.apache.org/tomcat-10.1-doc/config/>
const SERVER: &str = include_str!("tomcat/server.xml");

/// Environment variables become system properties, as on Elastic Beanstalk. They are written to the file from which
/// Tomcat reads properties, because every user of the machine can read command lines. `jarsToSkip` and the class path
/// are in the installation's own copy of that file.
///
/// Source: <https://tomcat.apache.org/tomcat-10.1-doc/introduction.html>, `RUNNING.txt` of the distribution
const START: &str = include_str!("tomcat/start.sh");

#[cfg(test)]
mod tests {
    use super::*;

    fn launch_of(files: &[(&str, &str)]) -> Launch {
        tomcat(&Release::of(files)).unwrap().launch.unwrap()
    }

    #[test]
    fn an_unpacked_war_is_served_from_the_release_and_hides_what_is_made() {
        let launch = launch_of(&[("WEB-INF/web.xml", ""), ("index.jsp", "")]);
        assert_eq!(launch.processes[0].command, "exec /bin/sh WEB-INF/ingot/start");
        assert!(launch.made[0].content.contains("<Context path=\"\" docBase=\"${ingot.release}\"/>"));
        assert!(launch.made.iter().all(|made| made.path.starts_with("WEB-INF/ingot/")));
        assert!(!launch.made[1].content.contains(".war") && launch.needs_directories);
    }

    #[test]
    fn wars_are_served_by_their_names_and_a_lone_one_at_the_root() {
        let start = |files: &[(&str, &str)]| launch_of(files).made[1].content.clone();
        assert!(start(&[("shop.war", "")]).contains("\ncp ./*.war \"$base/webapps/ROOT.war\"\n"));
        assert!(start(&[("ROOT.war", ""), ("admin.war", "")]).contains("\ncp ./*.war \"$base/webapps/\"\n"));
        assert!(!launch_of(&[("shop.war", "")]).made[0].content.contains("Context"));
    }

    #[test]
    fn what_is_made_holds_no_placeholder() {
        for files in [[("shop.war", "")], [("WEB-INF/web.xml", "")]] {
            for made in launch_of(&files).made {
                assert!(!made.content.contains("@D") && !made.content.contains("@C"), "{}", made.content);
            }
        }
    }
}
