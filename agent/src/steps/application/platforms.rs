//! The platforms that a release can be recognised as: one register of pure functions.
//!
//! A recogniser looks at a [`Release`] and says what it is, how its dependencies get into it, and what it runs by itself.
//! To add a platform: a file here, and a line in [`PLATFORMS`].

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
pub(crate) use platform::{Argv, Launch, Made, PORT, Platform, Program, Speaks};

/// One platform that a release may be of.
type Recogniser = fn(&Release) -> Option<Platform>;

/// In the order in which they are believed. A release may have the signs of several: a Rails or Laravel application has a
/// package.json for its assets, so Node.js is last.
const PLATFORMS: &[Recogniser] = &[tomcat::tomcat, java::java, dotnet::dotnet, go::go, ruby::ruby, python::python, php::php, node::node];

/// The platforms that a release may be of, the most likely first. `by_itself` says that nothing else names its processes.
///
/// A container has its own way to start, so a release with a Procfile is not one: its Dockerfile is for somewhere else.
pub(crate) fn recognise(release: &Release, by_itself: bool) -> Vec<Platform> {
    let container = by_itself.then(|| docker::docker(release)).flatten();
    container.into_iter().chain(PLATFORMS.iter().filter_map(|recogniser| recogniser(release))).collect()
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
    fn a_dockerfile_counts_where_nothing_else_says_what_runs() {
        let files = [("package.json", "{}"), ("Dockerfile", "FROM node\n")];
        assert_eq!(names(&files, true), ["Docker", "Node.js"]);
        assert_eq!(names(&files, false), ["Node.js"]);
    }
}
