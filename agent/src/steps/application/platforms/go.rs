//! Go, or any prebuilt program: `bin/application` or `application`, else the result of `go build`.

use super::platform::{Launch, Platform, Program, argv};
use crate::steps::application::procfile::BUILDFILE;
use crate::steps::application::release::Release;
use crate::steps::application::remark::Remark;

/// Paths of the program, prebuilt or to be built.
const PROGRAMS: [&str; 2] = ["bin/application", "application"];

const SOURCES: [&str; 2] = ["application.go", "go.mod"];

pub(super) fn go(release: &Release) -> Option<Platform> {
    let program = PROGRAMS.into_iter().find(|name| release.is_program(name));
    let source = SOURCES.into_iter().find(|name| release.is_file(name));
    // Archives made on Windows lose the executable bits.
    let without_bit = PROGRAMS.into_iter().find(|name| release.is_file(name)).filter(|_| program.or(source).is_none());
    if let Some(name) = without_bit {
        let hint = format!("run `chmod +x {name}` before you bundle it, or add a Procfile with `web: sh {name}` if it is a script");
        return Some(Platform::new("Go", name, Err(Remark::of(name, "it has no run bit, so it cannot be started", hint))));
    }
    let sign = program.or(source)?;
    let launch = Launch::web(format!("exec ./{}", program.unwrap_or(PROGRAMS[0])), &[]);
    let mut platform = Platform::new("Go", sign, Ok(launch));
    if program.is_none() && !release.is_file(BUILDFILE) {
        platform.programs = vec![Program::new("go")];
        platform.dependencies = vec![argv(&["/bin/sh", "-ec", &build(release)])];
        platform.makes = Some(PROGRAMS[0]);
    }
    Some(platform)
}

/// Go needs a directory for its caches, and service users often have no home. A cache inside the release is not shared
/// with other releases, and is removed once the program is built. (`-modcacherw`: by default, Go makes its cache
/// read-only.)
///
/// Source: <https://go.dev/ref/mod#environment-variables>
fn build(release: &Release) -> String {
    let what = if release.is_file(SOURCES[0]) { SOURCES[0] } else { "." };
    format!(
        "GOPATH=\"$PWD/.ingot/go\" GOCACHE=\"$PWD/.ingot/go/build\" GOFLAGS=\"-modcacherw $GOFLAGS\" \
         go build -o {} {what}; rm -rf .ingot/go",
        PROGRAMS[0]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Platform {
        go(&Release::of(files)).unwrap()
    }

    #[test]
    fn a_program_that_is_there_is_not_built() {
        for program in PROGRAMS {
            let platform = of(&[(&format!("+{program}"), "\x7fELF"), ("go.mod", "")]);
            assert_eq!(platform.launch.unwrap().processes[0].command, format!("exec ./{program}"));
            assert_eq!((platform.dependencies.len(), platform.programs.len()), (0, 0));
        }
    }

    #[test]
    fn source_is_built_into_the_release() {
        let build = |files: &[(&str, &str)]| of(files).dependencies[0][2].clone();
        assert!(build(&[("application.go", "")]).contains("go build -o bin/application application.go;"));
        assert!(build(&[("go.mod", ""), ("main.go", "")]).contains("go build -o bin/application .;"));
        assert_eq!(of(&[("go.mod", ""), ("Buildfile", "x: y\n")]).dependencies.len(), 0);
    }

    #[test]
    fn a_program_without_a_run_bit_is_named() {
        let error = of(&[("bin/application", "\x7fELF")]).launch.unwrap_err();
        assert_eq!(error.to_string(), "bin/application: it has no run bit, so it cannot be started");
        assert!(of(&[("bin/application", ""), ("application.go", "")]).launch.is_ok(), "it is built anew");
    }
}
