//! PHP: php-fpm by FastCGI, with its own configuration.

use super::platform::{Launch, Made, Platform, Program, Speaks, argv};
use crate::steps::application::procfile::{Process, WEB};
use crate::steps::application::release::Release;
use crate::steps::application::remark::Remark;

const COMPOSER: &str = "composer.json";

/// The possible front scripts, each with its directory.
const ROOTS: [(&str, &str); 3] = [("index.php", ""), ("public/index.php", "public"), ("web/index.php", "web")];

/// Debian includes the version in the name, and has no link without it.
const FPM: Program = Program { name: "php-fpm", or: &["/usr/sbin/php-fpm[0-9]*"] };

const CONFIGURATION: &str = ".ingot/php-fpm.conf";

/// Runs the newest php-fpm of the image in the foreground, as systemd requires. php-fpm and its scripts log to stderr,
/// which is a socket to the journal: no configuration can open it by name.
const START: &str = "exec \"$(command -v php-fpm || ls /usr/sbin/php-fpm[0-9]* | sort -V | tail -n 1)\" \
                     --nodaemonize --force-stderr -d fastcgi.logging=0 --fpm-config \"$PWD/.ingot/php-fpm.conf\"";

/// php-fpm replaces `${PORT}` by the variable. The limits are those of Elastic Beanstalk. Processes are started on
/// demand, because the other modes wake up every second.
///
/// Source: <https://www.php.net/manual/en/install.fpm.configuration.php>
const FPM_CONF: &str = include_str!("php/php-fpm.conf");

pub(super) fn php(release: &Release) -> Option<Platform> {
    let roots = ROOTS.iter().map(|(script, _)| *script).filter(|script| release.is_file(script));
    let sign = [COMPOSER].into_iter().filter(|name| release.is_file(name)).chain(roots).next()?;
    let mut platform = Platform::new("PHP", sign, launch(release));
    platform.path = &["vendor/bin"];
    if release.is_file(COMPOSER) && !release.is_file("vendor/autoload.php") {
        platform.programs = vec![Program::new("php"), Program::new("composer")];
        platform.dependencies = vec![argv(&["composer", "install", "--no-dev", "--no-interaction"])];
    }
    Some(platform)
}

fn launch(release: &Release) -> Result<Launch, Remark> {
    let Some((_, root)) = ROOTS.into_iter().find(|(script, _)| release.is_file(script)) else {
        let message = "neither the release nor its public/ or web/ has an index.php";
        return Err(Remark::new(message, "add one of them, or a Procfile"));
    };
    Ok(Launch {
        processes: vec![Process::new(WEB, START)],
        speaks: Speaks::FastCgi { root },
        programs: vec![FPM],
        made: vec![Made { path: CONFIGURATION.into(), content: FPM_CONF.into(), mode: 0o644 }],
        ..Launch::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Platform {
        php(&Release::of(files)).unwrap()
    }

    #[test]
    fn fpm_listens_on_the_port_with_its_own_configuration() {
        let launch = of(&[("index.php", "")]).launch.unwrap();
        assert_eq!(launch.speaks, Speaks::FastCgi { root: "" });
        assert!(START.contains(CONFIGURATION) && launch.made[0].content.contains("\nlisten = 127.0.0.1:${PORT}\n"));
    }

    #[test]
    fn the_document_root_is_where_the_front_script_is() {
        let root = |files: &[(&str, &str)]| of(files).launch.unwrap().speaks;
        assert_eq!(root(&[("composer.json", ""), ("public/index.php", "")]), Speaks::FastCgi { root: "public" });
        assert_eq!(root(&[("composer.json", ""), ("web/index.php", "")]), Speaks::FastCgi { root: "web" });
        assert_eq!(root(&[("index.php", ""), ("public/index.php", "")]), Speaks::FastCgi { root: "" });
        assert!(of(&[("composer.json", "")]).launch.is_err());
    }

    #[test]
    fn composer_installs_what_is_not_there() {
        let install = |files: &[(&str, &str)]| of(files).dependencies.iter().map(|argv| argv.join(" ")).collect::<Vec<_>>();
        assert_eq!(install(&[("composer.json", ""), ("index.php", "")]), ["composer install --no-dev --no-interaction"]);
        assert!(install(&[("composer.json", ""), ("vendor/autoload.php", "")]).is_empty());
        assert!(install(&[("index.php", "")]).is_empty());
    }
}
