//! Docker: a compose file, else a Dockerfile, else the image that a Dockerrun.aws.json (version 1) names.
//!
//! [`container`](crate::steps::application::container) builds, pulls and runs it.

mod compose;
mod dockerrun;

use self::compose::{Services, services};
use self::dockerrun::{DOCKERRUN, Dockerrun, dockerrun};
use super::platform::{Contents, Launch, Platform, Program};
use crate::sorting::Sort as _;
use crate::steps::application::release::Release;
use crate::steps::application::remark::Remark;

/// In order of priority.
///
/// Source: <https://docs.docker.com/compose/intro/compose-application-model/>
const COMPOSE: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

const DOCKERFILE: &str = "Dockerfile";

const ENGINE: Program = Program { name: "docker", or: &["/usr/bin/podman", "/usr/local/bin/podman"] };

/// `runs_otherwise` says that the release also has the signs of another platform that can run it.
pub(super) fn docker(release: &Release, runs_otherwise: bool) -> Option<Platform> {
    if let Some((file, is_for_the_desk)) = compose_file(release, runs_otherwise)
        && !is_for_the_desk
    {
        return Some(composed(file, release));
    }
    let has_dockerfile = release.is_file(DOCKERFILE);
    if !has_dockerfile && !release.is_file(DOCKERRUN) {
        return None;
    }
    let (run, mistake) = match dockerrun(release) {
        Some(Err(mistake)) => (Dockerrun::default(), Some(mistake)),
        Some(Ok(run)) => (run, None),
        None => (Dockerrun::default(), None),
    };
    let sign = if has_dockerfile { DOCKERFILE } else { DOCKERRUN };
    let launch = match (&run.image, has_dockerfile) {
        (_, true) => Ok(image(None, exposed(release).or(run.port), &run, froms(release))),
        (Some(name), false) => Ok(image(Some(name.clone()), run.port, &run, Vec::new())),
        (None, false) => {
            Err(Remark::of(DOCKERRUN, "it names no image, and the release has no Dockerfile", "add `Image: { Name: … }` or a Dockerfile"))
        }
    };
    let mut platform = Platform::new("Docker", sign, launch);
    platform.warnings.extend(run.warnings);
    platform.programs = vec![ENGINE];
    // A mistake of the launch would be a less precise report of the same problem.
    if let Some(mistake) = mistake {
        platform.launch = Err(mistake);
    }
    Some(platform)
}

/// The compose file, and whether it only starts what its author needs in addition to the application, such as a
/// database: in that case it publishes nothing on the port for requests, and another platform can run the release.
fn compose_file(release: &Release, runs_otherwise: bool) -> Option<(&'static str, bool)> {
    let file = COMPOSE.into_iter().find(|name| release.is_file(name))?;
    let text = release.text(file).and_then(Result::ok).unwrap_or_default();
    Some((file, runs_otherwise && !uses_port(text)))
}

fn uses_port(text: &str) -> bool {
    text.contains("${PORT") || text.contains("$PORT")
}

/// The remark about a compose file that is ignored.
pub(super) fn for_the_desk(release: &Release, runs_otherwise: bool, platform: &str) -> Option<Remark> {
    let (file, _) = compose_file(release, runs_otherwise).filter(|(_, is_for_the_desk)| *is_for_the_desk)?;
    let hint = "publish a service as `127.0.0.1:${PORT}:8000` to have it run the release, or leave it out of the bundle";
    Some(Remark::of(file, format!("this is not read: it publishes nothing on $PORT, and {platform} runs the release"), hint))
}

fn image(name: Option<String>, port: Option<u16>, run: &Dockerrun, registries: Vec<String>) -> Launch {
    let command = format!("a container of {}", name.as_deref().unwrap_or(DOCKERFILE));
    let contents = Contents::Image {
        name,
        port,
        volumes: run.volumes.iter().map(|(host, inside)| format!("{host}:{inside}")).collect(),
        entrypoint: run.entrypoint.clone(),
        command: run.command.clone(),
        registries,
    };
    Launch { contents: Some(contents), ..Launch::web(command, &[ENGINE]) }
}

/// The registries of the base images in a Dockerfile.
fn froms(release: &Release) -> Vec<String> {
    let text = release.text(DOCKERFILE).and_then(Result::ok).unwrap_or_default();
    let images = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| word.eq_ignore_ascii_case("FROM") || word.eq_ignore_ascii_case("COPY"))?;
        let mut words = words.map(|word| word.strip_prefix("--from=").unwrap_or(word));
        words.find(|word| !word.starts_with("--"))
    });
    registries(images)
}

/// The registry hosts of images, without duplicates.
fn registries<'a>(images: impl Iterator<Item = &'a str>) -> Vec<String> {
    let hosts = images.filter_map(|image| image.split_once('/').map(|(host, _)| host.to_owned()));
    let mut hosts: Vec<String> = hosts.filter(|host| host.contains('.')).collect();
    hosts.order();
    hosts.dedup();
    hosts
}

/// The first port that a Dockerfile exposes, if it is a literal.
fn exposed(release: &Release) -> Option<u16> {
    let text = release.text(DOCKERFILE)?.ok()?;
    let ports = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| word.eq_ignore_ascii_case("EXPOSE"))?;
        words.next()
    });
    // Handles `8000/tcp`, and skips `${PORT}`, whose value is unknown here.
    ports.filter_map(|port| port.split('/').next()?.parse().ok()).next()
}

fn composed(file: &'static str, release: &Release) -> Platform {
    let (launch, text) = match release.text(file).unwrap_or(Ok("")) {
        Ok(text) => {
            let Services { images, built } = services(text);
            let registries = registries(images.iter().map(String::as_str));
            let contents = Some(Contents::Services { file: file.to_owned(), registries, images, built });
            (Ok(Launch { contents, ..Launch::web(format!("the services of {file}"), &[ENGINE]) }), text)
        }
        Err(mistake) => (Err(mistake), ""),
    };
    let mut platform = Platform::new("Docker", file, launch);
    if !uses_port(text) {
        let hint = "publish the port as `127.0.0.1:${PORT}:8000`, or set `overlap: false` and `proxy: none`";
        platform.warnings.push(Remark::of(file, "no service is published on $PORT, so two releases cannot run side by side", hint));
    }
    platform
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Platform {
        docker(&Release::of(files), false).unwrap()
    }

    fn contents(platform: &Platform) -> Contents {
        platform.launch.as_ref().unwrap().contents.clone().unwrap()
    }

    #[test]
    fn a_dockerfile_is_built_and_its_first_port_published() {
        let text =
            "FROM 123456789012.dkr.ecr.eu-west-1.amazonaws.com/base AS b\nFROM x\nCOPY --from=r.example/y /a /b\nexpose 8000/tcp 9000\n";
        let platform = of(&[("Dockerfile", text), ("Dockerrun.aws.json", r#"{"AWSEBDockerrunVersion":"1"}"#)]);
        let Contents::Image { name: None, port: Some(8000), registries, .. } = contents(&platform) else { panic!("{platform:?}") };
        assert_eq!(registries, ["123456789012.dkr.ecr.eu-west-1.amazonaws.com", "r.example"]);
        assert!(matches!(contents(&of(&[("Dockerfile", "FROM x\nEXPOSE ${P}\n")])), Contents::Image { port: None, .. }));
    }

    #[test]
    fn a_compose_file_goes_before_a_dockerfile_and_has_to_use_the_port() {
        let platform = of(&[("docker-compose.yml", "services:\n  web:\n    image: 'r.example/web:1'\n"), ("Dockerfile", "")]);
        let Contents::Services { file, registries, .. } = contents(&platform) else { panic!("{platform:?}") };
        assert_eq!((file.as_str(), registries), ("docker-compose.yml", vec!["r.example".to_owned()]));
        let said: Vec<String> = platform.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["docker-compose.yml: no service is published on $PORT, so two releases cannot run side by side"]);
        assert!(of(&[("compose.yaml", "ports: ['127.0.0.1:${PORT}:80']\n")]).warnings.is_empty());
    }

    #[test]
    fn an_image_of_dockerrun_is_pulled_and_run() {
        let text = r#"{ "AWSEBDockerrunVersion": "1", "Image": { "Name": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop:1.2" },
            "Ports": [ { "ContainerPort": "8000" } ], "Volumes": [ { "HostDirectory": "/srv", "ContainerDirectory": "/data" } ],
            "Command": "serve --all" }"#;
        let platform = of(&[("Dockerrun.aws.json", text)]);
        assert_eq!(platform.mistakes.len(), 0);
        let Contents::Image { name: Some(name), port: Some(8000), volumes, command, .. } = contents(&platform) else {
            panic!("{platform:?}")
        };
        assert_eq!((name.as_str(), volumes[0].as_str()), ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop:1.2", "/srv:/data"));
        assert_eq!(command.as_deref(), Some("serve --all"));
    }

    #[test]
    fn a_dockerrun_that_is_not_understood_is_a_mistake() {
        let said = |text: &str| of(&[("Dockerrun.aws.json", text)]).launch.unwrap_err().to_string();
        assert_eq!(said(r#"{"AWSEBDockerrunVersion":1}"#), "Dockerrun.aws.json: it names no image, and the release has no Dockerfile");
        assert!(said("{").starts_with("Dockerrun.aws.json:1: this is not JSON"));
        assert!(said(r#"{"AWSEBDockerrunVersion":2}"#).contains("version 2"));
    }
}
