//! The platforms that a release can be recognized as: one list of pure functions.
//!
//! A recognizer examines a [`Release`] and returns its platform: how its dependencies are installed, and what it runs
//! by default.
//! To add a platform, add a file here and an entry in [`PLATFORMS`].

mod docker;
mod dotnet;
mod go;
mod java;
mod node;
mod php;
mod platform;
mod python;
mod ruby;
mod tomcat;

use super::release::Release;
pub(crate) use platform::{Argv, Contents, Launch, Made, PORT, Platform, Program, Speaks, quoted};

/// Recognizes one platform.
type Recogniser = fn(&Release) -> Option<Platform>;

/// In order of priority. A release may have the signs of several platforms: a Rails or Laravel application has a
/// package.json for its assets, so Node.js comes last.
const PLATFORMS: &[Recogniser] = &[tomcat::tomcat, java::java, dotnet::dotnet, go::go, ruby::ruby, python::python, php::php, node::node];

/// The platforms of a release, the most likely first. `by_itself` says that nothing else defines its processes.
///
/// A release with a Procfile does not count as a container, since a container defines its own start command: the
/// Dockerfile is for use elsewhere.
pub(crate) fn recognise(release: &Release, by_itself: bool) -> Vec<Platform> {
    let others: Vec<Platform> = PLATFORMS.iter().filter_map(|recogniser| recogniser(release)).collect();
    let runs_otherwise = others.iter().any(|platform| platform.launch.is_ok());
    let container = by_itself.then(|| docker::docker(release, runs_otherwise)).flatten();
    let mut found: Vec<Platform> = container.into_iter().chain(others).collect();
    if let Some(first) = found.first_mut().filter(|_| by_itself) {
        let warning = docker::for_the_desk(release, runs_otherwise, first.name);
        first.warnings.extend(warning);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[(&str, &str)], by_itself: bool) -> Vec<&'static str> {
        recognise(&Release::of(files), by_itself).iter().map(|platform| platform.name).collect()
    }

    #[test]
    fn each_platform_is_known_by_its_signs() {
        for (file, name) in [
            ("package.json", "Node.js"),
            ("server.js", "Node.js"),
            ("requirements.txt", "Python"),
            ("Pipfile", "Python"),
            ("application.py", "Python"),
            ("Gemfile", "Ruby"),
            ("config.ru", "Ruby"),
            ("shop.jar", "Java"),
            ("pom.xml", "Java"),
            ("shop.war", "Tomcat"),
            ("WEB-INF/web.xml", "Tomcat"),
            ("application.go", "Go"),
            ("go.mod", "Go"),
            ("+bin/application", "Go"),
            ("Shop.runtimeconfig.json", ".NET"),
            ("composer.json", "PHP"),
            ("index.php", "PHP"),
            ("Dockerfile", "Docker"),
            ("compose.yaml", "Docker"),
            ("Dockerrun.aws.json", "Docker"),
        ] {
            assert_eq!(names(&[(file, "")], true), [name], "{file}");
        }
        assert!(names(&[("README.md", ""), ("bin/shop", ""), ("src/index.php", "")], true).is_empty());
    }

    #[test]
    fn assets_do_not_make_an_application_of_node() {
        assert_eq!(names(&[("package.json", "{}"), ("Gemfile", "")], true)[0], "Ruby");
        assert_eq!(names(&[("package.json", "{}"), ("composer.json", "{}")], true)[0], "PHP");
    }

    #[test]
    fn a_compose_file_that_publishes_no_port_is_for_the_desk() {
        let node = ("package.json", r#"{"scripts":{"start":"node ."}}"#);
        let desk = ("docker-compose.yml", "services: { db: { image: postgres } }\n");
        assert_eq!(names(&[node, desk], true), ["Node.js"]);
        let said = recognise(&Release::of(&[node, desk]), true)[0].warnings[0].to_string();
        assert_eq!(said, "docker-compose.yml: this file is ignored: it publishes nothing on $PORT, and Node.js runs the release");
        assert_eq!(names(&[node, ("docker-compose.yml", "ports: ['127.0.0.1:${PORT}:80']\n")], true)[0], "Docker");
        assert_eq!(names(&[("package.json", "{}"), desk], true)[0], "Docker", "nothing else can run it");
        let found = recognise(&Release::of(&[node, desk, ("Dockerfile", "FROM node\n")]), true);
        assert_eq!((found[0].name, found[0].sign.as_str()), ("Docker", "Dockerfile"));
    }

    #[test]
    fn what_says_what_runs_counts_wherever_it_is_in_the_list() {
        for sign in
            ["app.py", "server.js", "config.ru", "go.mod", "index.php", "pom.xml", "a.jar", "a.war", "WEB-INF", "Dockerfile", "public"]
        {
            assert!(crate::steps::application::release::tells(sign), "{sign}");
        }
        assert!(!crate::steps::application::release::tells("upload-1.jpg"));
    }

    #[test]
    fn a_dockerfile_counts_where_nothing_else_says_what_runs() {
        let files = [("package.json", "{}"), ("Dockerfile", "FROM node\n")];
        assert_eq!(names(&files, true), ["Docker", "Node.js"]);
        assert_eq!(names(&files, false), ["Node.js"]);
    }
}
