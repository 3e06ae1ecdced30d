//! `dry-run --release DIR`: typical releases for Elastic Beanstalk.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::program::{Ingot, Ran, write};
use super::{Desk, pretty};

/// A document with nothing to show in a plan.
fn desk(files: &[(&str, &str)]) -> Desk {
    let desk = Desk::new("version: 1\n");
    for (path, content) in files {
        write(&desk.path("shop").join(path), content);
    }
    desk
}

fn run_bit(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn examine(desk: &Desk) -> Ingot {
    desk.dry_run().args(["--release", "shop"])
}

/// The part of the output that is about the release.
fn shown(ran: &Ran) -> String {
    let at = ran.stdout.find("Release shop").expect("a release is shown");
    format!("{}--- exit code {} ---\n", &ran.stdout[at..], ran.code.unwrap())
}

const EXPRESS: [(&str, &str); 7] = [
    ("package.json", "{ \"scripts\": { \"start\": \"node app.js\" }, \"dependencies\": { \"express\": \"5.1.0\" } }\n"),
    ("package-lock.json", "{}\n"),
    ("app.js", "require('express')().listen(process.env.PORT)\n"),
    (".platform/hooks/prebuild/01_build.sh", "#!/bin/bash\nnpm run build\n"),
    (".platform/hooks/predeploy/01_migrate.sh", "#!/bin/bash\nnpx knex migrate:latest\n"),
    (".platform/confighooks/predeploy/01_migrate.sh", "#!/bin/bash\nnpx knex migrate:latest\n"),
    (
        ".ebextensions/01_app.config",
        "option_settings:\n  aws:elasticbeanstalk:application:environment:\n    LOG_LEVEL: info\n\
         container_commands:\n  01_seed: { command: node seed.js, leader_only: true }\npackages:\n  yum: { git: [] }\n",
    ),
];

fn express() -> Desk {
    let desk = desk(&EXPRESS);
    run_bit(&desk.path("shop/.platform/hooks/prebuild/01_build.sh"));
    desk
}

#[test]
fn shows_what_a_release_would_run() {
    insta::assert_snapshot!("release_express", shown(&examine(&express()).run().exits(0)));
}

/// Fields of the document override those of the release.
#[test]
fn fields_of_the_document_count_for_a_release() {
    let document = "version: 1
bundles: { app: { s3: s3://shop-releases/shop-1.zip, into: /opt/shop } }
applications:
  shop:
    bundle: bundles.app
    run: { web: node other.js --port $PORT, jobs: node jobs.js }
    build: [[npm, run, build]]
    hooks: false
    port: 7000
";
    let desk = Desk::new(document);
    for (path, content) in EXPRESS.into_iter().chain([("Buildfile", "b: make\n"), (".platform/hooks/predeploy/02_wrong", "no hook\n")]) {
        write(&desk.path("shop").join(path), content);
    }
    insta::assert_snapshot!(shown(&examine(&desk).run().exits(0)), @r"
    Release shop of applications.shop: Node.js (package.json)

      processes     web   node other.js --port $PORT
                    jobs  node jobs.js
                    (from run: of the document)
      port          7000 (HTTP)
      dependencies  npm ci --omit=dev
      build         build: npm run build
      environment   LOG_LEVEL
      PATH          node_modules/.bin
      needs         node, npm

    .ebextensions/01_app.config:6: warning: `packages` is not read
      hint: install it in the image

    2 steps: 2 to change
    --- exit code 0 ---
    ");
}

#[test]
fn json_of_a_release_has_one_shape() {
    let ran = examine(&express()).args(["--json"]).run().exits(0);
    insta::assert_snapshot!("release_express_as_json", pretty(&ran.json()["release"]));
    let without = express().dry_run().args(["--json"]).run().exits(0);
    assert!(without.json().get("release").is_none());
}

#[test]
fn every_mistake_of_a_release_is_shown_with_its_place() {
    let desk = desk(&[
        ("Procfile", "web: gunicorn shop.wsgi\r\nworker celery\r\n"),
        ("requirements.txt", "django\n"),
        (".platform/hooks/predeploy/01_migrate.sh", "#!/bin/bash\r\npython manage.py migrate\r\n"),
        (".platform/hooks/postdeploy/warm", "curl localhost\n"),
        (".ebextensions/django.config", "container_commands:\n  01_migrate:\n    commmand: python manage.py migrate\n"),
    ]);
    insta::assert_snapshot!("release_mistakes", shown(&examine(&desk).run().exits(78)));
    let json = examine(&desk).args(["--json"]).run().exits(78).json();
    let mistakes = json["release"]["mistakes"].as_array().unwrap();
    let places: Vec<String> = mistakes.iter().map(|mistake| format!("{}:{}", mistake["file"].as_str().unwrap(), mistake["line"])).collect();
    assert_eq!(
        places,
        [
            ".ebextensions/django.config:2",
            ".platform/hooks/postdeploy/warm:1",
            ".platform/hooks/predeploy/01_migrate.sh:1",
            "Procfile:1",
            "Procfile:2"
        ]
    );
}

#[test]
fn a_release_of_php_is_spoken_to_by_fastcgi() {
    let desk = desk(&[("public/index.php", "<?php\n"), ("composer.json", "{}\n")]);
    insta::assert_snapshot!(shown(&examine(&desk).run().exits(0)), @r#"
    Release shop: PHP (composer.json)

      processes     web  exec "$(command -v php-fpm || ls /usr/sbin/php-fpm[0-9]* | sort -V | tail -n 1)" --nodaemonize --force-stderr -d fastcgi.logging=0 --fpm-config "$PWD/.ingot/php-fpm.conf"
                    (from the platform)
      port          5000 (FastCGI, for public/)
      dependencies  composer install --no-dev --no-interaction
      writes        .ingot/php-fpm.conf (mode 0644)
      PATH          vendor/bin
      needs         composer, php, php-fpm
    --- exit code 0 ---
    "#);
}

#[test]
fn a_release_is_left_by_no_link() {
    let desk = desk(&[("app.js", "")]);
    write(&desk.path("secret.txt"), "web: hunter2\n");
    write(&desk.path("outside/hooks/prebuild/a.sh"), "hunter2\n");
    symlink("../secret.txt", desk.path("shop/Procfile")).unwrap();
    symlink("../outside", desk.path("shop/.platform")).unwrap();
    let ran = examine(&desk).run().exits(78);
    assert!(!ran.to_string().contains("hunter2") && !ran.to_string().contains("prebuild"), "{ran}");
    for file in [".platform", "Procfile"] {
        assert!(ran.stdout.contains(&format!("\n{file}: this link leads out of the release, or nowhere\n")), "{ran}");
    }
}

#[test]
fn a_directory_that_is_not_there_is_a_wrong_command_line() {
    let ran = Desk::new("version: 1\n").dry_run().args(["--release", "nowhere"]).run().exits(2);
    insta::assert_snapshot!(ran, @r"
    --- stderr ---
    nowhere is not a directory
      hint: name the directory of an unpacked release
    --- exit code 2 ---
    ");
}
