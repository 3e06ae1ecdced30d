//! Everything that a release says about how it runs, in one value: the step carries it out, and the dry run prints it.
//!
//! The processes come from `run:` of the document, else from the Procfile, else from the platform's default.

use std::collections::BTreeMap;

use super::ebextensions::Extensions;
use super::hooks::Hooks;
use super::platforms::{self, Argv, Contents, Launch, Made, PORT, Platform, Program, Speaks};
use super::procfile::{self, BUILDFILE, PROCFILE, Process, Processes, WEB};
use super::proxy::Snippets;
use super::release::Release;
use super::remark::Remark;

use crate::sorting::Sort as _;

/// What defines the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// `run:`.
    Document,
    Procfile,
    /// The platform's default.
    Platform,
}

/// What a release would run, and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Examined {
    /// `None` if it resembles no known platform; with a Procfile, that is not a mistake.
    pub(crate) platform: Option<Platform>,
    /// Other platforms that it resembles and that could run it.
    pub(crate) others: Vec<&'static str>,
    pub(crate) named_by: NamedBy,
    /// `web` first, then in the order of their definition.
    pub(crate) processes: Vec<Process>,
    /// The port on which it listens, unless the document sets another one.
    pub(crate) port: u16,
    pub(crate) speaks: Speaks,
    /// Files that are written into the release before anything of it runs.
    pub(crate) made: Vec<Made>,
    /// The commands that install dependencies into the release, run one after the other in its directory.
    pub(crate) dependencies: Vec<Argv>,
    /// The lines of the Buildfile, which run after the dependencies.
    pub(crate) build: Vec<Process>,
    /// Variables of the platform, then those of `.ebextensions`; later ones override earlier ones.
    pub(crate) environment: Vec<(String, String)>,
    /// Directories of the release that are put at the front of PATH.
    pub(crate) path: &'static [&'static str],
    /// Programs that the image must contain.
    pub(crate) programs: Vec<Program>,
    /// See [`Launch::needs_directories`].
    pub(crate) needs_directories: bool,
    /// What the processes run in, if not directly on this machine.
    pub(crate) contents: Option<Contents>,
    pub(crate) hooks: Hooks,
    pub(crate) extensions: Extensions,
    /// What it adds to nginx's configuration; empty unless `compatible_with: beanstalk` is set.
    pub(crate) snippets: Snippets,
    /// Ordered by file and line, as are the mistakes.
    pub(crate) warnings: Vec<Remark>,
    pub(crate) mistakes: Vec<Remark>,
}

/// What a document specifies in place of the release.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    /// Its `run:`, with rendered commands.
    pub(crate) run: Option<&'a BTreeMap<String, String>>,
    /// Whether it has `build:`, which makes ingot ignore the Buildfile.
    pub(crate) builds: bool,
    /// Platforms that are ruled out, whatever the release looks like.
    pub(crate) without: &'a [&'static str],
    /// Whether hooks are ignored.
    pub(crate) ignores_hooks: bool,
    /// Whether it is compatible with Elastic Beanstalk, so that `.platform/nginx` is read.
    pub(crate) reads_nginx: bool,
}

/// Judges a release.
pub(crate) fn examine(release: &Release, asked: Asked<'_>) -> Examined {
    let procfile = procfile::procfile(release);
    let named_by = match (asked.run, &procfile) {
        (Some(_), _) => NamedBy::Document,
        (None, Some(_)) => NamedBy::Procfile,
        (None, None) => NamedBy::Platform,
    };
    let is_by_itself = named_by == NamedBy::Platform;
    let known = platforms::recognise(release, is_by_itself).into_iter();
    let mut platforms = known.filter(|platform| !asked.without.contains(&platform.name));
    let mut platform = platforms.next();
    let others: Vec<Platform> = platforms.collect();
    let mut warnings = of_names(release);
    warnings.extend(others.iter().filter_map(|other| passed_over(other, platform.as_ref())));
    let others = others.iter().filter(|other| !is_by_itself || other.launch.is_ok()).map(|other| other.name).collect();
    let mut mistakes: Vec<Remark> = release.astray().map(astray).collect();
    let Processes { processes: build, mistakes: of_build } = procfile::buildfile(release).unwrap_or_default();
    mistakes.extend(of_build.into_iter().filter(|_| !asked.builds));
    let (launch, processes) = launched(asked.run, procfile, platform.as_ref(), &mut mistakes);
    if let Some(platform) = &mut platform {
        spare(platform, asked.builds, is_by_itself, &processes);
    }
    let (mut hooks, mut extensions) = (Hooks::of(release), Extensions::of(release));
    if asked.ignores_hooks {
        // The settings in `.ebextensions` still apply.
        (hooks, extensions.before, extensions.container_commands) = (Hooks::default(), Vec::new(), Vec::new());
    }
    let of_platform = platform.iter().flat_map(|platform| &platform.warnings);
    warnings.extend(hooks.warnings.iter().chain(&extensions.warnings).chain(of_platform).cloned());
    let of_platform = platform.iter().flat_map(|platform| &platform.mistakes);
    mistakes.extend(hooks.mistakes.iter().chain(&extensions.mistakes).chain(of_platform).cloned());
    let dependencies = platform.iter().flat_map(|platform| &platform.dependencies).cloned().chain(launch.dependencies).collect();
    let snippets = Snippets::of(release);
    warnings.extend(snippets.unread().filter(|_| !asked.reads_nginx));
    let snippets = if asked.reads_nginx { snippets } else { Snippets::default() };
    mistakes.extend(snippets.mistakes.iter().cloned());
    Examined {
        snippets,
        others,
        named_by,
        processes: web_first(processes),
        port: platform.as_ref().map_or(PORT, |platform| platform.port),
        speaks: launch.speaks,
        made: launch.made,
        dependencies,
        build,
        environment: environment(platform.as_ref(), &extensions),
        path: platform.as_ref().map_or(&[], |platform| platform.path),
        programs: programs(platform.as_ref(), &launch.programs),
        needs_directories: launch.needs_directories,
        contents: launch.contents,
        hooks,
        extensions,
        warnings: in_order(warnings),
        mistakes: in_order(mistakes),
        platform,
    }
}

/// How it is launched, and its processes: those of the document, of its Procfile, or its platform's default.
fn launched(
    run: Option<&BTreeMap<String, String>>,
    procfile: Option<Processes>,
    platform: Option<&Platform>,
    mistakes: &mut Vec<Remark>,
) -> (Launch, Vec<Process>) {
    match (run, procfile) {
        (Some(run), _) => (Launch::default(), run.iter().map(|(name, command)| Process::new(name, command)).collect()),
        (None, Some(Processes { processes, mistakes: wrong })) => {
            mistakes.extend(wrong);
            (Launch::default(), processes)
        }
        (None, None) => {
            let mut launch = launch(platform, mistakes);
            let processes = std::mem::take(&mut launch.processes);
            (launch, processes)
        }
    }
}

/// Drops the steps that make a program which no process runs, or which the document builds in another way.
fn spare(platform: &mut Platform, builds: bool, is_by_itself: bool, processes: &[Process]) {
    let Some(program) = platform.makes else { return };
    if builds || !(is_by_itself || processes.iter().any(|process| process.command.contains(program))) {
        platform.dependencies.clear();
        platform.programs.clear();
    }
}

fn astray(directory: &str) -> Remark {
    Remark::of(directory, "this link points outside the release, or to nothing", "put the directory itself into the bundle")
}

/// What the platform runs by default; if that is unknown, the reason is a mistake.
fn launch(platform: Option<&Platform>, mistakes: &mut Vec<Remark>) -> Launch {
    let why = match platform.map(|platform| &platform.launch) {
        Some(Ok(launch)) => return launch.clone(),
        Some(Err(why)) => why.clone(),
        None => Remark::new(
            "ingot cannot determine what this release runs: it has no Procfile, and does not look like a platform that ingot supports",
            "add a Procfile with a line such as `web: bin/shop --port $PORT`",
        ),
    };
    // An unreadable file cannot say what it would run; one mistake is enough.
    if platform.is_none_or(|platform| platform.mistakes.is_empty()) {
        mistakes.push(why);
    }
    Launch::default()
}

/// Files whose names suggest that another name was meant.
fn of_names(release: &Release) -> Vec<Remark> {
    let mut warnings: Vec<Remark> = [PROCFILE, BUILDFILE]
        .into_iter()
        .filter(|wanted| !release.is_file(wanted))
        .filter_map(|wanted| Some((procfile::misnamed(release, wanted)?, wanted)))
        .map(|(found, wanted)| {
            Remark::of(found, format!("this file is ignored: the name must be `{wanted}`"), format!("rename it to {wanted}"))
        })
        .collect();
    warnings.extend(release.cut.iter().map(|directory| {
        Remark::of(directory, "there are more than 2000 entries here; the rest was not checked", "bundle only what the release needs")
    }));
    warnings
}

/// Another platform that the release resembles, and whose dependencies are not installed.
fn passed_over(other: &Platform, taken: Option<&Platform>) -> Option<Remark> {
    let taken = taken.filter(|_| !other.dependencies.is_empty())?;
    let message = format!("this looks like {} as well; {} identifies the release as {}", other.name, taken.sign, taken.name);
    Some(Remark::of(&other.sign, message, "if both are needed, install the rest with a Buildfile"))
}

fn web_first(mut processes: Vec<Process>) -> Vec<Process> {
    if let Some(at) = processes.iter().position(|process| process.name == WEB) {
        processes[..=at].rotate_right(1);
    }
    processes
}

fn environment(platform: Option<&Platform>, extensions: &Extensions) -> Vec<(String, String)> {
    let of_platform = platform.into_iter().flat_map(|platform| &platform.environment);
    let of_platform = of_platform.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    of_platform.chain(extensions.environment.iter().cloned()).collect()
}

fn programs(platform: Option<&Platform>, of_launch: &[Program]) -> Vec<Program> {
    let mut programs: Vec<Program> = platform.into_iter().flat_map(|platform| &platform.programs).chain(of_launch).copied().collect();
    programs.order();
    programs.dedup();
    programs
}

fn in_order(mut remarks: Vec<Remark>) -> Vec<Remark> {
    remarks.order_by(|one, other| (&one.file, one.line).cmp(&(&other.file, other.line)));
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Examined {
        examine(&Release::of(files), Asked::default())
    }

    fn lines(examined: &Examined) -> Vec<String> {
        examined.processes.iter().map(|process| format!("{}: {}", process.name, process.command)).collect()
    }

    const EXPRESS: (&str, &str) = ("package.json", r#"{"scripts":{"start":"node ."},"dependencies":{"express":"5"}}"#);

    #[test]
    fn processes_come_from_the_document_else_the_procfile_else_the_platform() {
        let release = Release::of(&[EXPRESS, ("Procfile", "jobs: node jobs.js\nweb: node web.js\n")]);
        let run = BTreeMap::from([("web".to_owned(), "node other.js".to_owned())]);
        let examined = examine(&release, Asked { run: Some(&run), ..Asked::default() });
        assert_eq!((examined.named_by, lines(&examined)), (NamedBy::Document, vec!["web: node other.js".to_owned()]));
        let examined = examine(&release, Asked::default());
        assert_eq!(
            (examined.named_by, lines(&examined)),
            (NamedBy::Procfile, vec!["web: node web.js".into(), "jobs: node jobs.js".into()])
        );
        let examined = of(&[EXPRESS]);
        assert_eq!((examined.named_by, lines(&examined)), (NamedBy::Platform, vec!["web: exec npm start".to_owned()]));
    }

    #[test]
    fn a_procfile_keeps_the_rest_of_its_platform() {
        let examined = of(&[EXPRESS, ("Procfile", "web: node web.js\n"), ("Buildfile", "b: npm run build\n")]);
        assert_eq!((examined.port, examined.dependencies.len(), examined.build.len()), (8080, 1, 1));
        assert_eq!(examined.path, ["node_modules/.bin"]);
        assert_eq!(examined.programs.iter().map(|program| program.name).collect::<Vec<_>>(), ["node", "npm"]);
        // PHP speaks FastCGI only if php-fpm runs it.
        assert_eq!(of(&[("index.php", ""), ("Procfile", "web: php -S 127.0.0.1:$PORT\n")]).speaks, Speaks::Http);
        assert_eq!(of(&[("index.php", "")]).speaks, Speaks::FastCgi { root: "" });
    }

    #[test]
    fn what_only_matters_by_itself_is_no_mistake_beside_a_procfile() {
        let two = [("a.jar", ""), ("b.jar", "")];
        assert_eq!(of(&two).mistakes.len(), 1);
        assert_eq!(of(&[two[0], two[1], ("Procfile", "web: java -jar a.jar\n")]).mistakes, []);
        let unknown = of(&[("README.md", "")]);
        assert!(unknown.mistakes[0].to_string().starts_with("ingot cannot determine what this release runs"));
        assert_eq!((unknown.port, unknown.platform), (5000, None));
        assert_eq!(of(&[("run.sh", ""), ("Procfile", "web: ./run.sh\n")]).mistakes, []);
    }

    #[test]
    fn mistakes_of_all_parts_are_in_the_order_of_files_and_lines() {
        let examined = of(&[
            ("package.json", "{"),
            ("Procfile", "web: a\nb\n"),
            ("Buildfile", "c\n"),
            (".platform/hooks/prebuild/a.sh", "echo\n"),
            (".ebextensions/a.config", "a: [\n"),
        ]);
        let places: Vec<String> = examined.mistakes.iter().map(|mistake| format!("{:?}:{:?}", mistake.file, mistake.line)).collect();
        insta::assert_snapshot!(places.join("\n"), @r#"
        Some(".ebextensions/a.config"):Some(2)
        Some(".platform/hooks/prebuild/a.sh"):Some(1)
        Some("Buildfile"):Some(1)
        Some("Procfile"):Some(2)
        Some("package.json"):Some(1)
        "#);
        assert_eq!(examined.warnings.iter().filter(|warning| warning.to_string().contains("executable bit")).count(), 1);
    }

    #[test]
    fn a_second_platform_is_named_where_it_would_have_installed_something() {
        let examined = of(&[EXPRESS, ("Gemfile", "gem 'puma'\n"), ("Gemfile.lock", ""), ("config.ru", "")]);
        assert_eq!(
            examined.warnings[0].to_string(),
            "package.json: this looks like Node.js as well; Gemfile identifies the release as Ruby"
        );
        assert_eq!(
            of(&[("procfile", "web: x\n"), ("server.js", "")]).warnings[0].to_string(),
            "procfile: this file is ignored: the name must be `Procfile`"
        );
    }

    #[test]
    fn source_of_go_is_built_where_its_program_runs() {
        let built = |procfile: &str, asked: Asked<'_>| {
            let release = Release::of(&[("go.mod", ""), ("main.go", ""), ("Procfile", procfile)]);
            let examined = examine(&release, asked);
            (examined.dependencies.len(), examined.programs.len())
        };
        assert_eq!(built("web: bin/application --port $PORT\n", Asked::default()), (1, 1));
        assert_eq!(built("web: bin/shop\n", Asked::default()), (0, 0));
        assert_eq!(built("web: bin/application\n", Asked { builds: true, ..Asked::default() }), (0, 0));
        assert_eq!(of(&[("go.mod", ""), ("main.go", "")]).dependencies.len(), 1);
    }

    #[test]
    fn a_platform_that_is_left_out_leaves_the_next() {
        let release = Release::of(&[EXPRESS, ("requirements.txt", ""), ("application.py", "")]);
        let examined = examine(&release, Asked::default());
        assert_eq!((examined.platform.map(|platform| platform.name), examined.others), (Some("Python"), vec!["Node.js"]));
        let examined = examine(&release, Asked { without: &["Python"], ..Asked::default() });
        assert_eq!((examined.platform.map(|platform| platform.name), examined.others), (Some("Node.js"), vec![]));
    }

    #[test]
    fn variables_of_the_release_come_after_those_of_the_platform() {
        let settings = "option_settings: { 'aws:elasticbeanstalk:application:environment': { RACK_ENV: staging } }\n";
        let examined = of(&[("config.ru", ""), (".ebextensions/a.config", settings)]);
        let values: Vec<&str> = examined.environment.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["production", "staging"]);
    }
}
