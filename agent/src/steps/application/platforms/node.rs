//! Node.js: `npm start`, else app.js, else server.js.

use serde_json::Value;

use super::platform::{Argv, Launch, Platform, Program, argv};
use crate::steps::application::ebextensions::Extensions;
use crate::steps::application::release::Release;
use crate::steps::application::remark::Remark;

const MANIFEST: &str = "package.json";

/// `npm ci` requires one of these.
///
/// Source: <https://docs.npmjs.com/cli/commands/npm-ci>
const LOCKS: [&str; 2] = ["package-lock.json", "npm-shrinkwrap.json"];

/// Lock files of other package managers, which npm does not read.
const FOREIGN_LOCKS: [&str; 3] = ["yarn.lock", "pnpm-lock.yaml", "bun.lock"];

/// The fields of package.json that give `npm install` something to do.
const DEPENDENCIES: [&str; 4] = ["dependencies", "optionalDependencies", "peerDependencies", "workspaces"];

/// Scripts that `npm install` runs.
///
/// Source: <https://docs.npmjs.com/cli/using-npm/scripts>
const SCRIPTS: [&str; 4] = ["preinstall", "install", "postinstall", "prepare"];

const NODE: Program = Program::new("node");
const NPM: Program = Program::new("npm");

pub(super) fn node(release: &Release) -> Option<Platform> {
    let sign = [MANIFEST, "app.js", "server.js"].into_iter().find(|name| release.is_file(name))?;
    let (manifest, mistake) = match release.text(MANIFEST).map(|text| text.and_then(parsed)) {
        Some(Ok(manifest)) => (manifest, None),
        Some(Err(mistake)) => (Value::Null, Some(mistake)),
        None => (Value::Null, None),
    };
    let mut platform = Platform::new("Node.js", sign, launch(release, &manifest));
    platform.port = 8080;
    platform.path = &["node_modules/.bin"];
    platform.dependencies = dependencies(release, &manifest);
    if !platform.dependencies.is_empty() {
        platform.programs = vec![NODE, NPM];
        let lock = FOREIGN_LOCKS.into_iter().find(|name| release.is_file(name));
        if let Some(lock) = lock.filter(|_| !LOCKS.iter().any(|lock| release.is_file(lock))) {
            let hint = "add a package-lock.json, or bring node_modules in the bundle";
            platform.warnings.push(Remark::of(lock, "npm does not read this lock, so versions are not pinned", hint));
        }
    }
    platform.mistakes.extend(mistake);
    Some(platform)
}

fn parsed(text: &str) -> Result<Value, Remark> {
    match serde_json::from_str(text) {
        Ok(manifest @ Value::Object(_)) => Ok(manifest),
        Ok(_) => Err(Remark::of(MANIFEST, "this is not a JSON object", "write `{ \"scripts\": { \"start\": \"node app.js\" } }`")),
        Err(error) => {
            Err(Remark::at(MANIFEST, error.line().max(1), format!("this is not JSON: {error}"), "correct the line, or the one before"))
        }
    }
}

fn launch(release: &Release, manifest: &Value) -> Result<Launch, Remark> {
    if manifest["scripts"]["start"].is_string() {
        return Ok(Launch::web("exec npm start", &[NODE, NPM]));
    }
    match ["app.js", "server.js"].into_iter().find(|name| release.is_file(name)) {
        Some(script) => Ok(Launch::web(format!("exec node {script}"), &[NODE])),
        None => {
            let message = "the release has neither a `start` script nor app.js or server.js";
            Err(Remark::of(MANIFEST, message, "add `\"start\": \"node index.js\"` to its `scripts`, or add a Procfile"))
        }
    }
}

fn dependencies(release: &Release, manifest: &Value) -> Vec<Argv> {
    let holds = |value: &Value| match value {
        Value::Object(entries) => !entries.is_empty(),
        Value::Array(entries) => !entries.is_empty(),
        _ => false,
    };
    let is_wanted =
        DEPENDENCIES.iter().any(|key| holds(&manifest[*key])) || SCRIPTS.iter().any(|script| manifest["scripts"][*script].is_string());
    if !is_wanted || release.is_directory("node_modules") {
        return Vec::new();
    }
    let install = if LOCKS.iter().any(|lock| release.is_file(lock)) { "ci" } else { "install" };
    let mut command = argv(&["npm", install]);
    // As on Elastic Beanstalk: code that is compiled after the installation needs the compiler from the dev
    // dependencies.
    let variables = Extensions::of(release).environment;
    if !variables.iter().any(|(name, value)| name == "NPM_USE_PRODUCTION" && value == "false") {
        command.push("--omit=dev".to_owned());
    }
    vec![command]
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPRESS: &str = r#"{ "scripts": { "start": "node index.js" }, "dependencies": { "express": "4" } }"#;

    fn of(files: &[(&str, &str)]) -> Platform {
        node(&Release::of(files)).unwrap()
    }

    fn command(platform: &Platform) -> &str {
        &platform.launch.as_ref().unwrap().processes[0].command
    }

    #[test]
    fn starts_what_beanstalk_starts() {
        assert_eq!(command(&of(&[("package.json", EXPRESS), ("app.js", "")])), "exec npm start");
        assert_eq!(command(&of(&[("package.json", "{}"), ("app.js", ""), ("server.js", "")])), "exec node app.js");
        assert_eq!(command(&of(&[("server.js", "")])), "exec node server.js");
        assert_eq!(of(&[("server.js", "")]).port, 8080);
    }

    #[test]
    fn dependencies_are_installed_where_the_release_does_not_bring_them() {
        let install = |files: &[(&str, &str)]| of(files).dependencies.iter().map(|argv| argv.join(" ")).collect::<Vec<_>>();
        assert_eq!(install(&[("package.json", EXPRESS), ("package-lock.json", "")]), ["npm ci --omit=dev"]);
        assert_eq!(install(&[("package.json", EXPRESS)]), ["npm install --omit=dev"]);
        let options = "option_settings:\n  aws:elasticbeanstalk:application:environment: { NPM_USE_PRODUCTION: false }\n";
        assert_eq!(install(&[("package.json", EXPRESS), (".ebextensions/npm.config", options)]), ["npm install"]);
        assert!(install(&[("package.json", EXPRESS), ("node_modules/", "")]).is_empty());
        assert!(install(&[("package.json", r#"{"dependencies":{}}"#)]).is_empty());
        assert!(install(&[("app.js", "")]).is_empty());
        assert_eq!(install(&[("package.json", r#"{"scripts":{"postinstall":"tsc"}}"#)]), ["npm install --omit=dev"]);
    }

    #[test]
    fn mistakes_name_the_file_and_the_line() {
        let platform = of(&[("package.json", "{\n  \"name\": \"shop\",\n}\n")]);
        assert!(platform.mistakes[0].to_string().starts_with("package.json:3: this is not JSON: "), "{:?}", platform.mistakes);
        let error = of(&[("package.json", r#"{"main":"index.js"}"#)]).launch.unwrap_err();
        assert_eq!(error.to_string(), "package.json: the release has neither a `start` script nor app.js or server.js");
        let warnings = of(&[("package.json", EXPRESS), ("yarn.lock", "")]).warnings;
        assert_eq!(warnings[0].to_string(), "yarn.lock: npm does not read this lock, so versions are not pinned");
    }
}
