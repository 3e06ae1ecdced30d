//! Docker: a compose file, else a Dockerfile, else the image that a Dockerrun.aws.json (version 1) names.
//!
//! The commands work with podman as well, which takes the same arguments.

mod dockerrun;

use self::dockerrun::{DOCKERRUN, Dockerrun, dockerrun};
use super::platform::{Launch, Platform, Program, argv, quoted};
use crate::steps::application::release::Release;
use crate::steps::application::remark::Remark;

/// In the order in which they are believed.
///
/// Source: <https://docs.docker.com/compose/intro/compose-application-model/>
const COMPOSE: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

const DOCKERFILE: &str = "Dockerfile";

const ENGINE: Program = Program { name: "docker", or: &["podman"] };

/// Whichever the image has.
const RUN: &str = "engine=$(command -v docker || command -v podman)";

/// The image of this release: the name of its directory, as far as a tag may hold it.
const IMAGE: &str = "\"ingot:$(basename \"$PWD\" | tr -c 'A-Za-z0-9_.\\n-' _)\"";

pub(super) fn docker(release: &Release) -> Option<Platform> {
    if let Some(file) = COMPOSE.into_iter().find(|name| release.is_file(name)) {
        return Some(compose(file, release));
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
        (_, true) => Ok(container(IMAGE, exposed(release).or(run.port), &run)),
        (Some(image), false) => Ok(container(&quoted(image), run.port, &run)),
        (None, false) => {
            Err(Remark::of(DOCKERRUN, "it names no image, and there is no Dockerfile", "add `Image: { Name: … }` or a Dockerfile"))
        }
    };
    let mut platform = Platform::new("Docker", sign, launch);
    platform.warnings.extend(run.warnings);
    platform.programs = vec![ENGINE];
    if has_dockerfile {
        platform.dependencies = vec![argv(&["/bin/sh", "-c", &format!("{RUN}; exec \"$engine\" build --tag {IMAGE} .")])];
    } else if let Some(image) = run.image.filter(|_| run.update) {
        platform.dependencies = vec![argv(&["/bin/sh", "-c", &format!("{RUN}; exec \"$engine\" pull {}", quoted(&image))])];
    }
    // One of the launch is the same mistake, less exactly.
    if let Some(mistake) = mistake {
        platform.launch = Err(mistake);
    }
    Some(platform)
}

/// Publishes the port of the container on that of the slot. A container without a port of its own gets `$PORT`.
fn container(image: &str, port: Option<u16>, run: &Dockerrun) -> Launch {
    let port = port.map_or_else(|| "$PORT".to_owned(), |port| port.to_string());
    let volumes: String = run.volumes.iter().map(|(host, inside)| format!(" --volume {}", quoted(&format!("{host}:{inside}")))).collect();
    let entrypoint = run.entrypoint.as_ref().map_or_else(String::new, |entrypoint| format!(" --entrypoint {}", quoted(entrypoint)));
    let command = run.command.as_ref().map_or_else(String::new, |command| format!(" {command}"));
    let options = format!("--rm --init --publish 127.0.0.1:$PORT:{port} --env PORT={port}{volumes}{entrypoint}");
    Launch::web(format!("{RUN}; exec \"$engine\" run {options} {image}{command}"), &[ENGINE])
}

/// The first port that a Dockerfile exposes.
fn exposed(release: &Release) -> Option<u16> {
    let text = release.text(DOCKERFILE)?.ok()?;
    let ports = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| word.eq_ignore_ascii_case("EXPOSE"))?;
        words.next()
    });
    // `8000/tcp`, and `${PORT}` that nobody knows here.
    ports.filter_map(|port| port.split('/').next()?.parse().ok()).next()
}

fn compose(file: &'static str, release: &Release) -> Platform {
    let command = format!("{RUN}; exec \"$engine\" compose --file {file} up --abort-on-container-exit");
    let (launch, text) = match release.text(file).unwrap_or(Ok("")) {
        Ok(text) => (Ok(Launch::web(command, &[ENGINE])), text),
        Err(mistake) => (Err(mistake), ""),
    };
    let mut platform = Platform::new("Docker", file, launch);
    if !text.contains("${PORT") && !text.contains("$PORT") {
        let hint = "publish the port as `127.0.0.1:${PORT}:8000`, or set `overlap: false` and `proxy: none`";
        platform.warnings.push(Remark::of(file, "no service is published on $PORT, so two releases cannot run side by side", hint));
    }
    let line = text.lines().position(|line| line.contains("env_file") && line.contains(".env"));
    if let Some(line) = line.filter(|_| !release.is_file(".env")) {
        let hint = "name the variables under `environment:` of the service, without values";
        platform.warnings.push(Remark::at(file, line + 1, "ingot writes no .env: the environment would lie on disk", hint));
    }
    platform
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Platform {
        docker(&Release::of(files)).unwrap()
    }

    fn command(platform: &Platform) -> String {
        platform.launch.as_ref().unwrap().processes[0].command.replace(IMAGE, "IMAGE").replace(RUN, "RUN")
    }

    #[test]
    fn a_dockerfile_is_built_and_its_first_port_published() {
        let platform = of(&[("Dockerfile", "FROM x\nexpose 8000/tcp 9000\n"), ("Dockerrun.aws.json", r#"{"AWSEBDockerrunVersion":"1"}"#)]);
        assert_eq!(command(&platform), "RUN; exec \"$engine\" run --rm --init --publish 127.0.0.1:$PORT:8000 --env PORT=8000 IMAGE");
        assert!(platform.dependencies[0][2].ends_with(&format!("build --tag {IMAGE} .")));
        assert!(
            command(&of(&[("Dockerfile", "FROM x\nEXPOSE ${P}\n")])).contains("--publish 127.0.0.1:$PORT:$PORT --env PORT=$PORT IMAGE")
        );
    }

    #[test]
    fn a_compose_file_goes_before_a_dockerfile_and_has_to_use_the_port() {
        let platform = of(&[("docker-compose.yml", "services:\n  web:\n    env_file: .env\n"), ("Dockerfile", "")]);
        assert_eq!(command(&platform), "RUN; exec \"$engine\" compose --file docker-compose.yml up --abort-on-container-exit");
        let said: Vec<String> = platform.warnings.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        docker-compose.yml: no service is published on $PORT, so two releases cannot run side by side
        docker-compose.yml:3: ingot writes no .env: the environment would lie on disk
        ");
        assert!(of(&[("compose.yaml", "ports: ['127.0.0.1:${PORT}:80']\n")]).warnings.is_empty());
    }

    #[test]
    fn an_image_of_dockerrun_is_pulled_and_run() {
        let text = r#"{ "AWSEBDockerrunVersion": "1", "Image": { "Name": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop:1.2" },
            "Ports": [ { "ContainerPort": "8000" } ], "Volumes": [ { "HostDirectory": "/srv", "ContainerDirectory": "/data" } ],
            "Command": "serve --all" }"#;
        let platform = of(&[("Dockerrun.aws.json", text)]);
        assert_eq!(platform.mistakes.len(), 0);
        let expected = "RUN; exec \"$engine\" run --rm --init --publish 127.0.0.1:$PORT:8000 --env PORT=8000 \
                        --volume /srv:/data 123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop:1.2 serve --all";
        assert_eq!(command(&platform), expected);
        assert!(platform.dependencies[0][2].contains("pull 123456789012"));
    }

    #[test]
    fn a_dockerrun_that_is_not_understood_is_a_mistake() {
        let said = |text: &str| of(&[("Dockerrun.aws.json", text)]).launch.unwrap_err().to_string();
        assert_eq!(said(r#"{"AWSEBDockerrunVersion":1}"#), "Dockerrun.aws.json: it names no image, and there is no Dockerfile");
        assert!(said("{").starts_with("Dockerrun.aws.json:1: this is not JSON"));
        assert!(said(r#"{"AWSEBDockerrunVersion":2}"#).contains("version 2"));
    }
}
