//! The lines of a unit that start, stop and remove a container. Pure.

use std::time::Duration;

use super::Container;
use super::engine::Engine;
use crate::steps::application::platforms::quoted;
use crate::steps::application::procfile::WEB;

/// Path inside the container of the program that reads the environment.
const INSIDE: &str = "/.ingot";

/// How much longer than the grace period stopping may take: the engine starts the container to the end, kills it, and
/// removes it.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// A container of a generation.
pub(in crate::steps::application) struct Run<'a> {
    /// Unique on this machine.
    pub(in crate::steps::application) name: &'a str,
    pub(in crate::steps::application) application: &'a str,
    pub(in crate::steps::application) process: &'a str,
    /// The port of its slot, on which this machine reaches `web`.
    pub(in crate::steps::application) port: u16,
    pub(in crate::steps::application) stop_signal: &'a str,
    pub(in crate::steps::application) grace: Duration,
}

impl Container {
    /// Runs the container in the foreground. Any other container with its name is left over from an interrupted run,
    /// and is removed.
    pub(in crate::steps::application) fn line(&self, run: &Run<'_>) -> String {
        let inside = self.port.unwrap_or(run.port);
        let seconds = run.grace.as_secs().max(1).to_string();
        let global = match self.engine {
            // The journal of the unit already records what happens to the container.
            Engine::Podman => vec!["--events-backend=file".to_owned()],
            Engine::Docker => Vec::new(),
        };
        let mut words: Vec<String> =
            ["run", "--rm", "--interactive", "--log-driver=none", "--no-healthcheck", "--pull=never"].map(str::to_owned).into();
        let mut options = |name: &str, value: String| words.extend([name.to_owned(), value]);
        options("--name", run.name.to_owned());
        options("--label", format!("{}={}", LABEL, run.application));
        options("--stop-signal", run.stop_signal.to_owned());
        options("--stop-timeout", seconds);
        options("--volume", format!("{}:{INSIDE}:ro", self.ingot.display()));
        options("--entrypoint", INSIDE.to_owned());
        if run.process == WEB {
            options("--publish", format!("127.0.0.1:{}:{inside}", run.port));
        }
        if self.engine == Engine::Podman {
            // Split control groups make the limits of the unit apply. With `--http-proxy`, podman would store the proxy
            // variables.
            words.extend(["--replace", "--cgroups=split", "--http-proxy=false", "--sdnotify=ignore"].map(str::to_owned));
        }
        words.extend(self.options.iter().cloned());
        words.extend([self.image.clone(), "contained".to_owned(), format!("--port={inside}"), "--".to_owned()]);
        words.extend(self.programs.get(run.process).into_iter().flatten().cloned());
        let words: Vec<String> = global.iter().chain(&words).map(|word| quoted(word)).collect();
        let clear = match self.engine {
            Engine::Podman => String::new(),
            Engine::Docker => format!("docker rm --force {} >/dev/null 2>&1; ", run.name),
        };
        format!("{clear}exec {} {}", self.engine.program(), words.join(" "))
    }

    /// Properties of its unit: how the container is stopped by its engine, and how its remains are removed, however it
    /// ended.
    pub(in crate::steps::application) fn properties(&self, run: &Run<'_>) -> Vec<String> {
        let (name, seconds) = (run.name, run.grace.as_secs().max(1));
        let shell = |line: String| format!("/bin/sh -c \"{line}\"");
        let (stop, remove) = match self.engine {
            // A `podman run` that is killed before it has recorded the container's network leaves behind a namespace
            // and rules that forward the port to it, and no command of podman removes them. So it is not interrupted
            // until the container has been started.
            Engine::Podman => (
                format!(
                    "while kill -0 $$MAINPID 2>/dev/null; do \
                     case `podman container inspect --format {{{{.State.Status}}}} {name} 2>/dev/null` in \
                     ''|configured|created|initialized) sleep 0.1;; \
                     *) exec podman stop --time {seconds} {name} >/dev/null;; esac; done"
                ),
                format!("podman rm --force --ignore --volumes --time 0 {name} >/dev/null"),
            ),
            // Its containers are processes of the daemon, not of the unit.
            Engine::Docker => {
                (format!("exec docker stop -t {seconds} {name} >/dev/null"), format!("docker rm --force --volumes {name} >/dev/null 2>&1"))
            }
        };
        let mut properties = vec![
            format!("ExecStop=-{}", shell(stop)),
            format!("ExecStopPost=-{}", shell(remove)),
            // Of each of the two, and of the engine's end between them.
            format!("TimeoutStopSec={}ms", (run.grace + KILLED_WITHIN).as_millis()),
        ];
        if self.engine == Engine::Docker {
            properties.push("Wants=docker.service".to_owned());
        }
        properties
    }
}

/// The label of every container of an application.
pub(super) const LABEL: &str = "ingot.application";

#[cfg(test)]
mod tests {
    use super::*;

    fn container(engine: Engine) -> Container {
        Container {
            engine,
            image: "05ab".into(),
            port: Some(8080),
            options: vec!["--user".into(), "app".into()],
            programs: [(WEB.to_owned(), vec!["/bin/shop".to_owned(), "--port=$PORT".to_owned()])].into(),
            entrypoint: None,
            command: None,
            ingot: "/usr/bin/ingot".into(),
        }
    }

    fn run() -> Run<'static> {
        let grace = Duration::from_secs(30);
        Run { name: "shop.web-3", application: "shop", process: WEB, port: 15000, stop_signal: "SIGQUIT", grace }
    }

    #[test]
    fn podman_runs_in_the_unit() {
        let line = container(Engine::Podman).line(&run());
        assert!(line.starts_with("exec podman '--events-backend=file' run --rm --interactive '--log-driver=none' "), "{line}");
        assert!(line.ends_with(" --user app 05ab contained '--port=8080' -- /bin/shop '--port=$PORT'"), "{line}");
        for wanted in
            ["--name shop.web-3", "--publish 127.0.0.1:15000:8080", "'--cgroups=split'", "'--http-proxy=false'", "--stop-signal SIGQUIT"]
        {
            assert!(line.contains(wanted), "{wanted} is missing in {line}");
        }
        let properties = container(Engine::Podman).properties(&run());
        let stopped = "podman container inspect --format {{.State.Status}} shop.web-3 2>/dev/null` in \
                       ''|configured|created|initialized) sleep 0.1;; *) exec podman stop --time 30 shop.web-3 >/dev/null;;";
        assert!(properties[0].contains(stopped), "{properties:?}");
        let cleared = "ExecStopPost=-/bin/sh -c \"podman rm --force --ignore --volumes --time 0 shop.web-3 >/dev/null\"";
        assert_eq!(properties[1..], [cleared, "TimeoutStopSec=40000ms"]);
        // Only `web` is published.
        assert!(!container(Engine::Podman).line(&Run { process: "jobs", ..run() }).contains("--publish"));
    }

    #[test]
    fn docker_is_cleared_away_by_name() {
        let container = container(Engine::Docker);
        assert!(container.line(&run()).starts_with("docker rm --force shop.web-3 >/dev/null 2>&1; exec docker run --rm "));
        let properties = container.properties(&run());
        assert_eq!(properties[0], "ExecStop=-/bin/sh -c \"exec docker stop -t 30 shop.web-3 >/dev/null\"");
        assert_eq!(properties[2..], ["TimeoutStopSec=40000ms", "Wants=docker.service"]);
    }
}
