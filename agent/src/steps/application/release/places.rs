//! The paths of a release that are examined, and the files that are read. Pure.

/// Directories whose entries are examined, in addition to the top level.
const ENTERED: [&str; 7] = [
    ".ebextensions",
    ".platform",
    ".platform/hooks",
    ".platform/confighooks",
    ".platform/nginx",
    ".platform/nginx/conf.d",
    ".platform/nginx/conf.d/elasticbeanstalk",
];

/// The directories of hooks, with one subdirectory for each moment.
const HOOKS: [&str; 2] = [".platform/hooks", ".platform/confighooks"];

/// Paths below the top level whose existence is significant.
pub(super) const PROBED: [&str; 12] = [
    ".venv/bin",
    ".venv/bin/gunicorn",
    "META-INF/MANIFEST.MF",
    "application/__init__.py",
    "bin/application",
    "config/application.rb",
    "public/assets",
    "public/index.php",
    "vendor/autoload.php",
    "vendor/bundle",
    "web/index.php",
    "wsgi/__init__.py",
];

/// The top-level files that are read.
const READ: [&str; 13] = [
    "Buildfile",
    "Dockerfile",
    "Dockerrun.aws.json",
    "Gemfile",
    "Gemfile.lock",
    "Procfile",
    "compose.yaml",
    "compose.yml",
    "cron.yaml",
    "docker-compose.yaml",
    "docker-compose.yml",
    "package.json",
    "requirements.txt",
];

/// Further top-level names whose existence is significant. Below: endings of such names.
const SIGNS: [&str; 28] = [
    "Pipfile",
    "Pipfile.lock",
    "WEB-INF",
    "app.js",
    "app.py",
    "application",
    "application.go",
    "application.py",
    "build.gradle",
    "build.gradle.kts",
    "build.xml",
    "bun.lock",
    "composer.json",
    "config.ru",
    "go.mod",
    "index.php",
    "main.py",
    "manage.py",
    "node_modules",
    "npm-shrinkwrap.json",
    "package-lock.json",
    "pnpm-lock.yaml",
    "pom.xml",
    "pyproject.toml",
    "server.js",
    "server.py",
    "wsgi.py",
    "yarn.lock",
];
const ENDS: [&str; 3] = [".jar", ".war", ".runtimeconfig.json"];

/// Whether a top-level entry determines what runs, so that it is recorded regardless of the limit.
pub(in crate::steps::application) fn tells(name: &str) -> bool {
    let is_of = |paths: &[&str]| paths.iter().any(|path| path.split('/').next() == Some(name));
    SIGNS.contains(&name) || ENDS.iter().any(|end| name.ends_with(end)) || is_of(&READ) || is_of(&ENTERED) || is_of(&PROBED)
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

pub(super) fn is_entered(path: &str) -> bool {
    ENTERED.contains(&path) || HOOKS.contains(&parent(path))
}

pub(super) fn is_read(path: &str) -> bool {
    let is_extension = parent(path) == ".ebextensions" && path.ends_with(".config");
    let is_of_nginx = path.starts_with(".platform/nginx/conf.d/") && path.ends_with(".conf");
    READ.contains(&path) || is_extension || is_of_nginx || HOOKS.contains(&parent(parent(path)))
}
