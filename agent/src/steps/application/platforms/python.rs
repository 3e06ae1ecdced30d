//! Python: gunicorn with the module `application`; dependencies in a virtual environment inside the release.

use super::platform::{Argv, Launch, Platform, Program, argv, quoted};
use crate::steps::application::ebextensions::Extensions;
use crate::steps::application::release::Release;
use crate::steps::application::remark::Remark;

/// Files that list dependencies; the first one found is used.
const REQUIREMENTS: [&str; 3] = ["requirements.txt", "Pipfile.lock", "Pipfile"];

/// Modules that often contain the WSGI application; only the first is started without being configured.
const MODULES: [&str; 5] = ["application", "app", "wsgi", "main", "server"];

/// The same command as on Elastic Beanstalk, with the defaults of its options: one worker with 15 threads.
///
/// Source: <https://docs.gunicorn.org/en/stable/run.html>
fn gunicorn(options: &Extensions, module: &str) -> String {
    let number = |name: &str, default| option(options, name).and_then(|text| text.trim().parse::<u16>().ok()).unwrap_or(default);
    let (workers, threads) = (number("NumProcesses", 1), number("NumThreads", 15));
    format!("exec gunicorn --bind 127.0.0.1:$PORT --workers {workers} --threads {threads} {}", quoted(module))
}

fn option<'a>(options: &'a Extensions, name: &str) -> Option<&'a str> {
    options.python.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The module that `WSGIPath` names; on the older platforms it is a file path.
fn named_module(options: &Extensions) -> Option<String> {
    let path = option(options, "WSGIPath")?.trim();
    Some(path.strip_suffix(".py").map_or_else(|| path.to_owned(), |path| path.replace('/', ".")))
}

/// The directory that an ingot build leaves in a release.
const OWN: &str = ".ingot";

const PYTHON: Program = Program::new("python3");

pub(super) fn python(release: &Release) -> Option<Platform> {
    let sign = REQUIREMENTS.into_iter().find(|name| release.is_file(name)).or_else(|| {
        let names = ["application.py", "pyproject.toml", "manage.py", "app.py", "wsgi.py"];
        names.into_iter().find(|name| release.is_file(name))
    })?;
    let mut platform = Platform::new("Python", sign, launch(release));
    platform.port = 8000;
    platform.path = &[".venv/bin"];
    // Without this, output reaches the journal only when the application's buffer is full.
    platform.environment = vec![("PYTHONUNBUFFERED", "1")];
    platform.dependencies = dependencies(release);
    if !platform.dependencies.is_empty() {
        platform.programs = vec![PYTHON];
    } else if sign == "pyproject.toml" && !brings_environment(release) {
        let hint = "export its dependencies to requirements.txt";
        platform.warnings.push(Remark::of(sign, "the dependencies of this file are not installed", hint));
    }
    Some(platform)
}

/// Whether the release ships a virtual environment, recognized by its directory of programs.
fn brings_environment(release: &Release) -> bool {
    release.is_directory(".venv/bin")
}

/// Nothing is shared with another release, so a failing `pip` does not affect the release that serves.
fn dependencies(release: &Release) -> Vec<Argv> {
    let Some(file) = REQUIREMENTS.into_iter().find(|name| release.is_file(name) && !brings_environment(release)) else {
        return Vec::new();
    };
    let environment = argv(&["python3", "-m", "venv", ".venv"]);
    if file == "requirements.txt" {
        return vec![environment, argv(&[".venv/bin/pip", "install", "-r", file])];
    }
    // pipenv uses a `.venv` next to the Pipfile as its own environment.
    let sync: &[&str] = if file == "Pipfile.lock" { &["sync"] } else { &["install", "--skip-lock"] };
    let pipenv = argv(&["env", "PIPENV_VENV_IN_PROJECT=1", "PIPENV_IGNORE_VIRTUALENVS=1", ".venv/bin/pipenv"]);
    let pipenv = pipenv.into_iter().chain(argv(sync)).collect();
    vec![environment, argv(&[".venv/bin/pip", "install", "pipenv"]), pipenv]
}

fn launch(release: &Release) -> Result<Launch, Remark> {
    let is_module = |name: &str| release.is_file(&format!("{name}.py")) || release.is_file(&format!("{name}/__init__.py"));
    let options = Extensions::of(release);
    let named = named_module(&options);
    if named.is_none() && !is_module(MODULES[0]) {
        let module = MODULES.into_iter().find(|name| is_module(name)).map_or("shop.wsgi".to_owned(), |name| format!("{name}:app"));
        let message = "there is neither a Procfile nor the module `application`, which gunicorn is started with by itself";
        return Err(Remark::new(message, format!("add a Procfile with `web: gunicorn --bind 127.0.0.1:$PORT {module}`")));
    }
    let mut launch = Launch::web(gunicorn(&options, named.as_deref().unwrap_or(MODULES[0])), &[PYTHON]);
    // An environment that ingot made may be that of another application, which runs something else.
    let lacks_gunicorn = match brings_environment(release) {
        true => release.is_directory(OWN) && !release.is_file(".venv/bin/gunicorn"),
        false => true,
    };
    if lacks_gunicorn && !names_gunicorn(release) {
        // A gunicorn of the image would not see what is installed into the release.
        if dependencies(release).is_empty() && !brings_environment(release) {
            launch.dependencies.push(argv(&["python3", "-m", "venv", ".venv"]));
        }
        launch.dependencies.push(argv(&[".venv/bin/pip", "install", "gunicorn"]));
    }
    Ok(launch)
}

fn names_gunicorn(release: &Release) -> bool {
    let requirements = release.text("requirements.txt").and_then(Result::ok).unwrap_or_default();
    requirements.lines().any(|line| {
        let line = line.trim_start().to_ascii_lowercase();
        line.strip_prefix("gunicorn")
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || "-_".contains(next)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Platform {
        python(&Release::of(files)).unwrap()
    }

    fn lines(commands: &[Argv]) -> Vec<String> {
        commands.iter().map(|argv| argv.join(" ")).collect()
    }

    #[test]
    fn gunicorn_starts_the_module_application() {
        let platform = of(&[("application.py", ""), ("requirements.txt", "flask\nGunicorn==23\n")]);
        let launch = platform.launch.unwrap();
        assert_eq!(launch.processes[0].command, "exec gunicorn --bind 127.0.0.1:$PORT --workers 1 --threads 15 application");
        assert_eq!((platform.port, platform.path, launch.dependencies.len()), (8000, [".venv/bin"].as_slice(), 0));
        assert!(of(&[("application/__init__.py", ""), ("requirements.txt", "")]).launch.is_ok());
    }

    #[test]
    fn options_of_elastic_beanstalk_name_another_module() {
        let with = |options: &str| {
            let options = format!("option_settings:\n  aws:elasticbeanstalk:container:python:\n{options}");
            of(&[("requirements.txt", ""), (".ebextensions/django.config", &options)])
                .launch
                .map(|launch| launch.processes[0].command.clone())
        };
        let wanted = "exec gunicorn --bind 127.0.0.1:$PORT --workers 3 --threads 20 shop.wsgi:application";
        assert_eq!(with("    WSGIPath: shop.wsgi:application\n    NumProcesses: 3\n    NumThreads: 20\n").unwrap(), wanted);
        assert!(with("    WSGIPath: shop/wsgi.py\n").unwrap().ends_with("--workers 1 --threads 15 shop.wsgi"));
        assert!(with("    WSGIPath: a; b\n").unwrap().ends_with("'a; b'"));
        assert!(with("    NumThreads: 20\n").is_err());
    }

    #[test]
    fn gunicorn_is_installed_where_nothing_names_it() {
        for requirements in ["flask\n", "gunicorn-thrift\n", "# gunicorn\n"] {
            let launch = of(&[("application.py", ""), ("requirements.txt", requirements)]).launch.unwrap();
            assert_eq!(lines(&launch.dependencies), [".venv/bin/pip install gunicorn"], "{requirements}");
        }
        let launch = of(&[("application.py", "")]).launch.unwrap();
        assert_eq!(lines(&launch.dependencies), ["python3 -m venv .venv", ".venv/bin/pip install gunicorn"]);
        let brought = [("application.py", ""), (".venv/bin/", "")];
        assert!(of(&brought).launch.unwrap().dependencies.is_empty());
        let launch = |more| of(&[brought[0], (".ingot/cache/", ""), (".venv/bin/python3", ""), more]).launch.unwrap();
        assert_eq!(lines(&launch(("a", "")).dependencies), [".venv/bin/pip install gunicorn"], "for another application");
        assert!(launch((".venv/bin/gunicorn", "")).dependencies.is_empty());
    }

    #[test]
    fn dependencies_are_of_this_release_alone() {
        let install = |files: &[(&str, &str)]| lines(&of(files).dependencies);
        assert_eq!(
            install(&[("requirements.txt", ""), ("Pipfile", "")]),
            ["python3 -m venv .venv", ".venv/bin/pip install -r requirements.txt"]
        );
        assert!(install(&[("Pipfile", ""), ("Pipfile.lock", "")])[2].ends_with(".venv/bin/pipenv sync"));
        assert!(install(&[("requirements.txt", ""), (".venv/bin/", "")]).is_empty());
        assert_eq!(of(&[("pyproject.toml", "")]).warnings.len(), 1);
    }

    #[test]
    fn a_release_without_the_module_is_told_which_line_to_write() {
        let error = of(&[("requirements.txt", ""), ("app.py", "")]).launch.unwrap_err();
        assert!(format!("{error:#}").ends_with("add a Procfile with `web: gunicorn --bind 127.0.0.1:$PORT app:app`"), "{error:#}");
        let error = of(&[("manage.py", "")]).launch.unwrap_err();
        assert!(format!("{error:#}").ends_with("$PORT shop.wsgi`"), "{error:#}");
    }
}
