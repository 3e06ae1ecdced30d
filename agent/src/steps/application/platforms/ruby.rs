//! Ruby: puma with the release's config.ru; gems in vendor/bundle inside the release.

use super::platform::{Launch, Platform, Program, argv};
use crate::steps::application::release::Release;
use crate::steps::application::remark::Remark;

const GEMFILE: &str = "Gemfile";
const LOCK: &str = "Gemfile.lock";
const RACKUP: &str = "config.ru";

/// `-b` overrides `bind` and `port` of a config/puma.rb, which puma reads by default.
///
/// Source: puma's `UserFileDefaultOptions`, <https://github.com/puma/puma/blob/master/lib/puma/configuration.rb>
const PUMA: &str = "puma -b tcp://127.0.0.1:$PORT";

const RUBY: Program = Program::new("ruby");
const BUNDLE: Program = Program::new("bundle");

pub(super) fn ruby(release: &Release) -> Option<Platform> {
    let sign = [GEMFILE, RACKUP].into_iter().find(|name| release.is_file(name))?;
    let mut platform = Platform::new("Ruby", sign, launch(release));
    platform.environment = vec![("RACK_ENV", "production")];
    if !release.is_file(GEMFILE) {
        return Some(platform);
    }
    // Bundler reads these both during installation and while the application runs, so the gems are found where they
    // were installed.
    // Source: <https://bundler.io/man/bundle-config.1.html>
    platform.environment.extend([("BUNDLE_PATH", "vendor/bundle"), ("BUNDLE_WITHOUT", "test:development")]);
    if release.is_file(LOCK) {
        platform.environment.push(("BUNDLE_DEPLOYMENT", "true"));
    } else {
        let hint = "run `bundle lock` and put Gemfile.lock into the bundle";
        platform.warnings.push(Remark::of(GEMFILE, "Gemfile.lock is missing, so the versions of gems are not pinned", hint));
    }
    if !release.is_directory("vendor/bundle") {
        platform.dependencies.push(argv(&["bundle", "install"]));
    }
    if compiles_assets(release) {
        let compile = "[ \"$RAILS_SKIP_ASSET_COMPILATION\" = true ] || exec bundle exec rake assets:precompile";
        platform.dependencies.push(argv(&["/bin/sh", "-ec", compile]));
    }
    if !platform.dependencies.is_empty() {
        platform.programs = vec![RUBY, BUNDLE];
    }
    Some(platform)
}

/// Whether it is a Rails application with an asset pipeline whose compiled assets are not in the release.
fn compiles_assets(release: &Release) -> bool {
    let has = |gem: &str| text(release, LOCK).lines().any(|line| line.strip_prefix("    ").is_some_and(|line| line.starts_with(gem)));
    let pipeline = has("sprockets-rails (") || has("propshaft (");
    pipeline && release.is_file("config/application.rb") && !release.is_directory("public/assets")
}

fn launch(release: &Release) -> Result<Launch, Remark> {
    if !release.is_file(RACKUP) {
        let hint = "add a config.ru, or a Procfile with a line such as `web: bundle exec ruby app.rb -p $PORT`";
        return Err(Remark::new("there is neither a Procfile nor a config.ru, which puma is started with by itself", hint));
    }
    if !release.is_file(GEMFILE) {
        return Ok(Launch::web(format!("exec {PUMA}"), &[RUBY, Program::new("puma")]));
    }
    match [GEMFILE, LOCK].into_iter().any(|file| text(release, file).contains("puma")) {
        true => Ok(Launch::web(format!("exec bundle exec {PUMA}"), &[RUBY, BUNDLE])),
        false => Err(Remark::of(GEMFILE, "it does not name puma, so bundler would not find it", "add `gem \"puma\"`, or a Procfile")),
    }
}

fn text<'a>(release: &'a Release, file: &str) -> &'a str {
    release.text(file).and_then(Result::ok).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Platform {
        ruby(&Release::of(files)).unwrap()
    }

    fn install(files: &[(&str, &str)]) -> Vec<String> {
        of(files).dependencies.iter().map(|argv| argv.join(" ")).collect()
    }

    #[test]
    fn puma_serves_the_rackup_file() {
        let platform = of(&[("Gemfile", "gem 'sinatra'\ngem 'puma'\n"), ("Gemfile.lock", ""), ("config.ru", "")]);
        assert_eq!(platform.launch.unwrap().processes[0].command, "exec bundle exec puma -b tcp://127.0.0.1:$PORT");
        assert_eq!(of(&[("config.ru", "")]).launch.unwrap().processes[0].command, "exec puma -b tcp://127.0.0.1:$PORT");
    }

    #[test]
    fn gems_go_into_the_release() {
        let platform = of(&[("Gemfile", ""), ("Gemfile.lock", ""), ("config.ru", "")]);
        assert_eq!(install(&[("Gemfile", ""), ("config.ru", "")]), ["bundle install"]);
        assert!(platform.environment.contains(&("BUNDLE_DEPLOYMENT", "true")));
        assert!(platform.environment.contains(&("BUNDLE_PATH", "vendor/bundle")));
        // Deployment mode refuses to install without a lock.
        let without = of(&[("Gemfile", ""), ("config.ru", "")]);
        assert!(!without.environment.contains(&("BUNDLE_DEPLOYMENT", "true")));
        assert_eq!(without.warnings.len(), 1);
        assert!(install(&[("Gemfile", ""), ("Gemfile.lock", ""), ("vendor/bundle/", "")]).is_empty());
    }

    #[test]
    fn assets_of_rails_are_compiled_unless_they_are_there() {
        let lock = "GEM\n  specs:\n    rails (8.0.1)\n    propshaft (1.1.0)\n";
        let rails = [("Gemfile", ""), ("Gemfile.lock", lock), ("config/application.rb", "")];
        assert!(install(&rails)[1].ends_with("bundle exec rake assets:precompile"));
        assert_eq!(install(&[&rails[..], &[("public/assets/", "")]].concat()), ["bundle install"]);
        assert_eq!(install(&[("Gemfile", ""), ("Gemfile.lock", lock)]), ["bundle install"]);
    }

    #[test]
    fn what_puma_lacks_is_named() {
        assert!(of(&[("Gemfile", "gem 'puma'\n")]).launch.unwrap_err().to_string().contains("config.ru"));
        assert_eq!(
            of(&[("Gemfile", "gem 'rack'\n"), ("config.ru", "")]).launch.unwrap_err().to_string(),
            "Gemfile: it does not name puma, so bundler would not find it"
        );
    }
}
